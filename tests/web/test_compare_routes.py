"""Votes over HTTP on a running server, and that nothing there tells who answers before one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from llava_chat.engine.generation import GenerationSettings
from llava_chat.feedback import Comparisons
from llava_chat.image import picture_from_image
from llava_chat.store import ChatOptions, Comparison, ConversationStore, ReplyRecord
from tests.web.conftest import OwnerOf
from tests.web.test_feedback import Visitor

LEFT, RIGHT = "the-left-model", "the-right-model"


@pytest.fixture
def visitor(server: str, owner_of: OwnerOf, store: ConversationStore) -> Iterator[Visitor]:
    visitor = Visitor(server, owner_of, store)
    yield visitor
    visitor.client.close()


@pytest.fixture
def somebody(server: str, owner_of: OwnerOf, store: ConversationStore) -> Iterator[Visitor]:
    somebody = Visitor(server, owner_of, store)
    yield somebody
    somebody.client.close()


def compared(visitor: Visitor) -> Comparison:
    """A comparison of the visitor's with a reply on each side."""
    kept = Comparisons.of(visitor.store).begin(visitor.owner, LEFT, RIGHT)
    red = picture_from_image(Image.new("RGB", (30, 20), "red"))
    sides = visitor.store.sides()
    for id, model in ((kept.left_id, LEFT), (kept.right_id, RIGHT)):
        settings = asdict(GenerationSettings()) | {"model": model}
        options = ChatOptions(f"You are {model}", None, settings)
        asked = sides.add_user(visitor.owner, id, "What is it?", [red], options=options)
        record = ReplyRecord(
            model_id=model, revision=f"of {model}", template="vicuna_v1", system=f"You are {model}",
            settings=settings, prompt_tokens=1, generated_tokens=1, first_token_s=0.1, total_s=0.2,
            app_version="0",
        )  # fmt: skip
        sides.add_reply(visitor.owner, id, asked.id, "A circle.", [5], "stop", record)
    return kept


def vote(kept: Comparison, **changes: Any) -> dict[str, Any]:
    given = {"comparison": kept.id, "id": uuid4().hex, "turn": 1, "choice": "left"}
    return given | {"lead_time_s": 1.5} | changes


def test_a_vote_tells_the_names_and_is_one_however_often_it_is_sent(visitor: Visitor) -> None:
    kept = compared(visitor)
    body = vote(kept)
    refused = visitor.post("choose", body)
    assert (refused.status_code, refused.json()["consent"]) == (403, None)
    assert LEFT not in refused.text and RIGHT not in refused.text
    visitor.agree()
    for _ in range(2):
        told = {"saved": body["id"], "left": LEFT, "right": RIGHT}
        assert visitor.post("choose", body).json() == told
    why = {"comparison": kept.id, "id": body["id"], "reasons": ["style"], "comment": "<b>"}
    for _ in range(2):
        assert visitor.post("explain", why).json() == {"saved": body["id"]}
    (said,) = visitor.client.get("/feedback/mine.json").json()["comparisons"]
    (only,) = said["votes"]
    assert (only["choice"], only["blind"], only["lead_time_s"]) == ("left", True, 1.5)
    assert (only["reasons"], only["comment"]) == (["style"], "<b>")


def test_nothing_tells_who_answers_before_the_vote(visitor: Visitor) -> None:
    kept = compared(visitor)
    visitor.agree()
    paths = [f"/?compare={kept.id}", "/config", "/feedback/mine.json", "/v1/models", "/metrics"]
    for side in (kept.left_id, kept.right_id):
        paths += [
            f"/?c={side}",
            *(f"/conversations/{side}/export.{form}" for form in ("json", "md")),
        ]
    for path in paths:
        answer = visitor.client.get(path)
        told = answer.text + str(answer.headers)
        assert LEFT not in told and RIGHT not in told, path
    for side in (kept.left_id, kept.right_id):
        assert visitor.client.get(f"/conversations/{side}/export.json").status_code == 404
        rated = {"conversation": side, "message": side, "id": uuid4().hex, "liked": True}
        assert visitor.post("rate", rated).status_code == 404
    for wrong in ({"turn": 2}, {"choice": "middle"}, {"id": "x"}):
        refused = visitor.post("choose", vote(kept, **wrong))
        assert refused.status_code == 422
        assert LEFT not in refused.text and RIGHT not in refused.text
    assert visitor.post("choose", vote(kept)).status_code == 200
    assert LEFT in visitor.client.get("/feedback/mine.json").text


def test_a_choice_stays(visitor: Visitor) -> None:
    kept = compared(visitor)
    visitor.agree()
    assert visitor.post("choose", vote(kept)).status_code == 200
    refused = visitor.post("choose", vote(kept, choice="right"))
    assert (refused.status_code, "it stays" in refused.json()["error"]) == (422, True)


def test_somebody_else_has_no_part_in_it(visitor: Visitor, somebody: Visitor) -> None:
    kept = compared(visitor)
    somebody.agree()
    assert somebody.post("choose", vote(kept)).status_code == 404
    why = {"comparison": kept.id, "id": uuid4().hex, "reasons": [], "comment": ""}
    assert somebody.post("explain", why).status_code == 404
    assert kept.id not in somebody.client.get("/feedback/mine.json").text


@pytest.mark.parametrize(
    "changes",
    [
        {"comparison": None},
        {"comparison": "../x"},
        {"turn": "1"},
        {"turn": 0},
        {"choice": ["left"]},
        {"lead_time_s": "soon"},
        {"lead_time_s": True},
    ],
)
def test_what_is_no_vote_is_refused(visitor: Visitor, changes: dict[str, Any]) -> None:
    kept = compared(visitor)
    visitor.agree()
    refused = visitor.post("choose", vote(kept, **changes))
    assert (refused.status_code, next(iter(changes)) in refused.json()["error"]) == (422, True)


def test_all_of_it_is_deleted_with_the_rest(visitor: Visitor) -> None:
    kept = compared(visitor)
    visitor.agree()
    visitor.post("choose", vote(kept))
    deleted = visitor.post("delete", {"everything": True}).json()["deleted"]
    assert (deleted["comparisons"], deleted["comparison_votes"], deleted["messages"]) == (1, 1, 4)
    assert visitor.client.get("/feedback/mine.json").json()["conversations"] == []
