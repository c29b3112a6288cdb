"""The routes of annotation on a running server: what is given to whom, and what is told of it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from PIL import Image

from llava_chat.store import ConversationStore
from tests.web.conftest import OwnerOf

FORM = [
    {
        "name": "grounded",
        "type": "scale",
        "label": "Grounded?",
        "min": 1,
        "max": 5,
        "required": True,
    },
    {"name": "why", "type": "text", "label": "Why?"},
    {"name": "better", "type": "correction", "label": "What it should say"},
]


def data_url(colour: str) -> str:
    file = io.BytesIO()
    Image.new("RGB", (30, 20), colour).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


class Visitor:
    """A browser with a session of its own."""

    def __init__(self, server: str, owner_of: OwnerOf) -> None:
        self.client = httpx2.Client(base_url=server)
        self.client.get("/")
        owner = owner_of(dict(self.client.cookies))
        assert owner is not None
        self.owner = owner

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        headers = {"content-type": "application/json", **headers}
        return self.client.post(f"/annotate/{path}", content=json.dumps(body), headers=headers)

    def agree(self) -> None:
        answer = self.client.post("/feedback/consent", json={"keep": True})
        assert answer.status_code == 200

    def project(self, **more: Any) -> str:
        body = {"name": "Circles", "guidelines": "Be **fair**.", "form": FORM, **more}
        answer = self.post("create", body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def filled(self, items: int = 3, **more: Any) -> str:
        """A project with items about a red picture."""
        project = self.project(**more)
        row = {"question": "What is it?", "picture": "red.png", "reply": "A circle."}
        text = "\n".join([json.dumps(row)] * items)
        body = {"project": project, "format": "jsonl", "text": text}
        answer = self.post("add", {**body, "pictures": {"red.png": data_url("red")}})
        assert answer.json() == {"added": items}
        return project

    def next(self, project: str) -> dict[str, Any]:
        answer = self.post("next", {"project": project})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def submit(self, item: str, **more: Any) -> httpx2.Response:
        body = {"item": item, "id": uuid4().hex, "values": {"grounded": 4}, "lead_time_s": 1.5}
        return self.post("submit", {**body, **more})


@pytest.fixture
def ada(server: str, owner_of: OwnerOf, store: ConversationStore) -> Iterator[Visitor]:
    visitor = Visitor(server, owner_of)
    yield visitor
    visitor.client.close()


@pytest.fixture
def bob(server: str, owner_of: OwnerOf) -> Iterator[Visitor]:
    visitor = Visitor(server, owner_of)
    yield visitor
    visitor.client.close()


def test_a_project_is_judged_from_its_first_item_to_its_code(ada: Visitor) -> None:
    project = ada.filled(2, completion_code="C0DE")
    ada.agree()
    told = ada.post("project", {"project": project}).json()
    assert told["guidelines"] == "<p>Be <strong>fair</strong>.</p>\n"
    assert [field["name"] for field in told["form"]] == ["grounded", "why", "better"]
    assert told["completion"] is None

    first = ada.next(project)
    item = first["item"]
    assert (first["mine"], first["left"], first["completion"]) == (0, 2, None)
    assert (item["number"], item["total"]) == (1, 2)
    assert item["turns"] == [{"role": "user", "text": "What is it?", "pictures": [0]}]
    assert item["replies"] == [{"text": "A circle."}]
    assert item["pictures"][0] == {
        "url": f"/annotate/pictures/{item['id']}/0", "width": 30, "height": 20,
    }  # fmt: skip
    picture = ada.client.get(item["pictures"][0]["url"])
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    assert "private" in picture.headers["cache-control"]

    draft = {"item": item["id"], "values": {"why": "beca"}, "lead_time_s": 0.5}
    assert ada.post("draft", draft).json() == {"saved": True, "lease_s": 1800}
    again = ada.next(project)["item"]
    assert again["id"] == item["id"]
    assert again["draft"] == {"values": {"why": "beca"}, "lead_time_s": 0.5}

    assert ada.submit(item["id"]).status_code == 200
    second = ada.next(project)
    assert (second["mine"], second["left"], second["item"]["number"]) == (1, 1, 2)
    assert ada.submit(second["item"]["id"]).status_code == 200
    assert ada.next(project) == {
        "item": None, "mine": 2, "left": 0, "later": False, "completion": "C0DE",
    }  # fmt: skip
    mine = ada.post("mine", {"project": project, "limit": 10}).json()["annotations"]
    assert [(one["number"], one["outcome"]) for one in mine] == [(2, "answered"), (1, "answered")]
    opened = ada.post("open", {"item": item["id"]}).json()["item"]
    assert opened["annotation"]["values"] == {"grounded": 4}
    listed = {one["id"]: one for one in ada.post("projects", {}).json()["projects"]}
    assert (listed[project]["mine"], listed[project]["done"], listed[project]["left"]) == (2, 2, 0)
