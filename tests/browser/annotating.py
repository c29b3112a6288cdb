"""Browsers in the Annotate tab: of who judges, and of who leads."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Server, Visitors

SCALE = {"name": "good", "type": "scale", "label": "How good?", "min": 1, "max": 5,
         "labels": {"1": "bad"}, "required": True}  # fmt: skip
CHIPS = {"name": "wrong", "type": "chips", "label": "What is wrong?",
         "options": ["count", "colour", "place"]}  # fmt: skip
CHOICE = {"name": "right", "type": "choice", "label": "Right?", "options": ["yes", "no"]}
TEXT = {"name": "why", "type": "text", "label": "Why?"}
FIX = {"name": "better", "type": "correction", "label": "What should it say?"}
SPANS = {"name": "marks", "type": "spans", "label": "Mark it", "labels": ["invented", "vague"]}
BOXES = {"name": "where", "type": "boxes", "label": "Where?", "labels": ["circle", "square"]}
RANK = {"name": "order", "type": "best_of", "label": "Best first", "required": True}
REPLY = "Two \N{SLIGHTLY SMILING FACE} red circles."


def red_png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "PNG")
    return file.getvalue()


class Lead:
    """Somebody else's browser, which leads: this server is for its own machine."""

    def __init__(self, server: Server) -> None:
        self.client = httpx2.Client(base_url=server.url, timeout=60)
        self.client.get("/")

    def post(self, path: str, body: Any) -> dict[str, Any]:
        answer = self.client.post(f"/annotate/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def project(self, form: list[Any], items: int = 1, replies: int = 1, **more: Any) -> str:
        id = self.post("create", {"name": "Circles", "form": form, **more})["id"]
        rows = [
            {
                "question": f"What is it? ({number})",
                "picture": "red.png",
                "replies": [REPLY, "A square.", "I cannot tell."][:replies],
            }
            for number in range(1, items + 1)
        ]
        url = "data:image/png;base64," + base64.b64encode(red_png(400, 200)).decode()
        text = "\n".join(map(json.dumps, rows))
        body = {"project": id, "format": "jsonl", "text": text, "pictures": {"red.png": url}}
        assert self.post("add", body) == {"added": items}
        return str(id)

    def results(self, project: str) -> list[dict[str, Any]]:
        answer = self.client.get(f"/annotate/results.jsonl?project={project}")
        return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture(scope="module")
def lead(server: Server) -> Iterator[Lead]:
    lead = Lead(server)
    yield lead
    lead.client.close()


class Bench:
    """A page of the Annotate tab."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page, self.server, self.keys = page, server, page.keyboard

    def open(self, project: str = "", more: str = "") -> None:
        place = f"&project={project}" if project else ""
        self.page.goto(f"{self.server.url}?tab=annotate{place}{more}")

    def begin(self, project: str, more: str = "") -> None:
        self.open(project, more)
        self.page.get_by_role("button", name="Yes, keep it").click()
        self.item(1)

    def item(self, number: int) -> None:
        expect(self.page.locator("#annotate .far")).to_contain_text(f"Item {number} ")
        expect(self.page.locator("#annotate .work")).to_be_focused()

    def state(self, text: str) -> None:
        expect(self.page.locator("#annotate .actions .state")).to_have_text(text)

    def field(self, name: str) -> Locator:
        return self.page.locator(f'#annotate .field[data-name="{name}"]')


NewBench = Callable[..., Bench]


@pytest.fixture
def new_bench(visitors: Visitors, server: Server) -> Iterator[NewBench]:
    with visitors.visiting(server.url) as new_page:
        yield lambda **options: Bench(new_page(**options), server)


@pytest.fixture
def bench(new_bench: NewBench) -> Bench:
    return new_bench()
