"""The routes of annotation on a running server: what is given to whom, and what is told of it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.testclient import TestClient

from benchmarks.annotators import Browser, judge
from llava_chat.feedback.annotation import Leading
from llava_chat.image import PictureLimits
from llava_chat.store import ConversationStore, Member
from llava_chat.web.allowances import Allowances
from llava_chat.web.annotating import AnnotationDesk, annotation_routes
from llava_chat.web.leading import LeadDesk, lead_routes
from llava_chat.web.people import People, Person
from llava_chat.web.roles import Roles
from llava_chat.web.session import COOKIE_NAME, Sessions
from llava_chat.web.thumbnails import Thumbnails
from tests.web.conftest import SECRET, OwnerOf

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


def test_fifty_annotators_at_once_are_given_each_item_as_often_as_it_shall_be(
    server: str, ada: Visitor
) -> None:
    """Over HTTP: no error, no lease given twice, no item over its overlap, every answer once."""
    ada.agree()
    lead = Browser(server)
    overlap, items = 3, 20
    project = lead.project(items, overlap)
    seen = judge(server, project, people=50)
    kept = lead.results(project)
    lead.close()
    assert seen.problems(kept, overlap) == []
    assert len(kept) == len(seen.acknowledged) == overlap * items
    assert len({number for people in seen.given.values() for number in people}) > 10


def test_nobody_sees_anothers_draft_answers_or_items(ada: Visitor, bob: Visitor) -> None:
    project = ada.filled(1, overlap=2)
    ada.agree()
    bob.agree()
    item = ada.next(project)["item"]
    secret = {"item": item["id"], "values": {"why": "Ada's words"}, "lead_time_s": 1}
    assert ada.post("draft", secret).status_code == 200
    refused = [
        bob.post("open", {"item": item["id"]}),
        bob.post("draft", {**secret, "values": {}}),
        bob.post("release", {"item": item["id"]}),
        bob.submit(item["id"]),
    ]
    assert [answer.status_code for answer in refused] == [404] * 4
    theirs = bob.post("next", {"project": project})
    assert theirs.json()["item"]["draft"] is None and "Ada" not in theirs.text
    assert ada.submit(item["id"], values={"grounded": 1, "why": "Ada's words"}).status_code == 200
    assert bob.submit(item["id"]).status_code == 200
    for path, body in (("open", {"item": item["id"]}), ("mine", {"project": project, "limit": 9})):
        answer = bob.post(path, body)
        assert answer.status_code == 200 and "Ada" not in answer.text
        assert ada.owner not in answer.text


def test_consent_is_asked_before_an_item_is_given(ada: Visitor) -> None:
    project = ada.filled(1)
    refused = ada.post("next", {"project": project})
    assert (refused.status_code, refused.json()["consent"]) == (403, None)
    ada.agree()
    assert ada.next(project)["item"] is not None


def test_what_prolific_sent_is_kept_and_told_to_leads_alone(ada: Visitor, bob: Visitor) -> None:
    project = ada.filled(2)
    bob.agree()
    study = {"PROLIFIC_PID": "5f1a", "STUDY_ID": "77", "SESSION_ID": "x9", "theme": "dark"}
    item = bob.post("next", {"project": project, "study": study}).json()["item"]
    assert bob.submit(item["id"]).status_code == 200
    bob.next(project)  # without it: what is kept stays
    answer = ada.client.get(f"/annotate/results.jsonl?project={project}")
    assert "attachment" in answer.headers["content-disposition"]
    (row,) = map(json.loads, answer.text.splitlines())
    assert row["study"] == {"PROLIFIC_PID": "5f1a", "STUDY_ID": "77", "SESSION_ID": "x9"}
    assert (row["annotator"], row["values"]) == ("annotator 1", {"grounded": 4})
    assert bob.owner not in answer.text and "127.0.0.1" not in answer.text
    told = ada.post("progress", {"project": project}).json()
    assert (told["finished"], told["per_annotator"][0]["study"]["STUDY_ID"]) == (1, "77")
    assert "5f1a" not in ada.post("mine", {"project": project, "limit": 5}).text
    for wrong in ({"PROLIFIC_PID": "a b"}, {"STUDY_ID": 7}, [1]):
        answer = bob.post("next", {"project": project, "study": wrong})
        assert answer.status_code == 422 and answer.json()["error"].startswith("study")


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("project", {}, "project: "),
        ("next", {"project": "../x"}, "project: "),
        ("mine", {"limit": 0}, "limit: "),
        ("mine", {"limit": 201}, "limit: "),
        ("mine", {"before": "yesterday"}, "before: "),
        ("submit", {"id": "x"}, "id: "),
        ("submit", {"values": {}}, "values, grounded: "),
        ("submit", {"values": {"grounded": 9}}, "values, grounded: "),
        ("submit", {"values": {"more": 1}}, "values, more: "),
        ("submit", {"lead_time_s": -1}, "lead_time_s: "),
        ("submit", {"item": ["a"]}, "item: "),
        ("skip", {"note": "x" * 2001}, "note: "),
        ("draft", {"values": []}, "values: "),
        ("settings", {"overlap": 0}, "overlap: "),
        ("settings", {"form": []}, "form: "),
        ("add", {"format": "yaml"}, "format: "),
        ("add", {"format": "jsonl", "text": 1}, "text: "),
        ("add", {"format": "jsonl", "text": "{}", "file": "a.jsonl"}, "a.jsonl, row 0, question: "),
        ("add-kept", {"limit": 0}, "limit: "),
        ("add-kept", {"filter": {"owner": "x"}}, "filter, owner: "),
    ],
)
def test_what_is_not_as_it_must_be_is_named(
    ada: Visitor, path: str, body: dict[str, Any], told: str
) -> None:
    project = ada.filled(1)
    ada.agree()
    item = ada.next(project)["item"]["id"]
    usual: dict[str, Any] = {
        "submit": {"item": item, "id": uuid4().hex, "values": {"grounded": 1}, "lead_time_s": 1},
        "skip": {"item": item, "id": uuid4().hex},
        "draft": {"item": item},
        "project": {},
    }.get(path, {"project": project})
    answer = ada.post(path, {**usual, **body})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(told)


def test_only_the_page_itself_may_ask(server: str, ada: Visitor) -> None:
    project = ada.filled(1)
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "http://evil.test"}):
        assert ada.post("next", {"project": project}, **headers).status_code == 403
        assert ada.post("create", {"name": "x", "form": FORM}, **headers).status_code == 403
    with httpx2.Client(base_url=server) as stranger:
        assert stranger.post("/annotate/projects", json={}).status_code == 401
        assert stranger.post("/annotate/create", json={}).status_code == 401
        assert stranger.get(f"/annotate/results.jsonl?project={project}").status_code == 401
    assert ada.post("next", {"project": "0" * 32}).status_code == 404
    assert ada.client.get("/annotate/results.jsonl?project=none").status_code == 404


def test_pictures_of_items_are_for_those_who_were_given_them(
    server: str, data_dir: Path, store: ConversationStore, ada: Visitor
) -> None:
    """Here with roles as on a public page, where a session is an annotator's."""
    project = ada.filled(1)
    sessions = Sessions(SECRET.encode())
    roles = Roles(People(sessions), public=True)
    desk = AnnotationDesk(store, Thumbnails(data_dir / "thumbnails"))
    leads = LeadDesk(Leading.of(store), PictureLimits())
    allowances = Allowances(annotations_per_minute=12)

    def count(request: Request) -> None:
        allowances.annotate(Person(sessions.owner_of(request)))

    routes = [*annotation_routes(roles, desk, count), *lead_routes(roles, leads, count)]
    client = TestClient(
        Starlette(routes=routes), cookies={COOKIE_NAME: ada.client.cookies[COOKIE_NAME]}
    )
    ada.agree()
    listed = client.post("/annotate/projects", json={}).json()
    assert listed["role"] == "annotator"
    assert not any(one["leads"] for one in listed["projects"])
    for path in ("create", "add", "add-kept", "settings", "progress"):
        refused = client.post(f"/annotate/{path}", json={"project": project})
        assert (refused.status_code, refused.json()) == (
            403, {"error": "This is for those who lead projects: ask the host for it."},
        )  # fmt: skip
    assert client.get(f"/annotate/results.jsonl?project={project}").status_code == 403

    item = store_item(store, project)
    assert client.get(f"/annotate/pictures/{item}/0").status_code == 404
    client.post("/annotate/next", json={"project": project})
    assert client.get(f"/annotate/pictures/{item}/0").status_code == 200
    for index in ("1", "-1", "0x0", "99999999"):
        assert client.get(f"/annotate/pictures/{item}/{index}").status_code == 404
    answers = [client.post("/annotate/mine", json={"project": project}) for _ in range(12)]
    assert answers[-1].status_code == 429
    assert "requests came from you" in answers[-1].json()["error"]
    assert int(answers[-1].headers["retry-after"]) > 0


def store_item(store: ConversationStore, project: str) -> str:
    """The id of a project's first item."""
    items = Leading.of(store).standing(Member("", "", "host"), project).items
    return items[0][0]
