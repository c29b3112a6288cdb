"""The routes of feedback on a running server: whose it is, consent, repeats, what fails."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.testclient import TestClient

from llava_chat.feedback import Feedback
from llava_chat.image import picture_from_image
from llava_chat.store import ConversationStore, Message
from llava_chat.web.allowances import Allowances
from llava_chat.web.chat.replies import Replies
from llava_chat.web.feedback import FeedbackDesk, feedback_routes
from llava_chat.web.json_routes import MAX_BODY_BYTES
from llava_chat.web.people import Person
from llava_chat.web.session import COOKIE_NAME, Sessions
from llava_chat.web.thumbnails import Thumbnails
from tests.web.conftest import OwnerOf


class Visitor:
    """A browser with a session of its own, and one conversation with a reply."""

    def __init__(self, server: str, owner_of: OwnerOf, store: ConversationStore) -> None:
        self.client = httpx2.Client(base_url=server)
        self.client.get("/")
        owner = owner_of(dict(self.client.cookies))
        assert owner is not None
        self.owner, self.store = owner, store

    def reply(self, *, kept: bool = True) -> Message:
        red = picture_from_image(Image.new("RGB", (30, 20), "red"))
        asked = self.store.add_user(self.owner, None, "What is it?", [red], kept=kept)
        to = self.owner, asked.conversation_id, asked.id
        return self.store.add_reply(*to, "A circle.", [5], "stop", None)

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        # As ASCII: a lone surrogate can stand in JSON, and in no UTF-8.
        headers = {"content-type": "application/json", **headers}
        return self.client.post(f"/feedback/{path}", content=json.dumps(body), headers=headers)

    def agree(self, keep: bool = True) -> None:
        assert self.post("consent", {"keep": keep}).json() == {"keep": keep}


def place(reply: Message, **more: Any) -> dict[str, Any]:
    return {"conversation": reply.conversation_id, "message": reply.id, **more}


def down(reply: Message, **more: Any) -> dict[str, Any]:
    return place(reply, id=reply.id, liked=False, reasons=["style"], comment="Too short", **more)


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


@pytest.fixture
def feedback(store: ConversationStore) -> Feedback:
    return Feedback.of(store)


def test_nothing_is_kept_before_somebody_agreed(visitor: Visitor, feedback: Feedback) -> None:
    reply = visitor.reply()
    assert visitor.client.get("/feedback/consent").json() == {"keep": None}
    refused = visitor.post("rate", down(reply))
    assert (refused.status_code, refused.json()["consent"]) == (403, None)
    visitor.agree(False)
    refused = visitor.post("rate", down(reply))
    assert (refused.status_code, refused.json()["consent"]) == (403, False)
    assert feedback.of_conversation(visitor.owner, reply.conversation_id) == {}


def test_a_vote_sent_twice_is_one_and_can_be_taken_back(
    visitor: Visitor, feedback: Feedback
) -> None:
    reply = visitor.reply()
    visitor.agree()
    for _ in range(2):
        assert visitor.post("rate", down(reply)).json() == {"saved": reply.id}
    said = feedback.of_conversation(visitor.owner, reply.conversation_id)[reply.id].rating
    assert said is not None
    assert (said.liked, said.reasons, said.comment) == (False, ("style",), "Too short")
    assert len(feedback.mine(visitor.owner)["ratings"]) == 1
    assert visitor.post("take-back", place(reply)).json() == {"saved": None}
    assert feedback.mine(visitor.owner)["ratings"] == []


def test_a_correction_is_withdrawn_and_no_earlier_one_comes_back(
    visitor: Visitor, somebody: Visitor, feedback: Feedback
) -> None:
    reply = visitor.reply()
    visitor.agree()
    for number in range(2):
        body = place(reply, id=f"{number}{reply.id}", text=f"A square {number}.")
        assert visitor.post("correct", body).status_code == 200
    assert somebody.post("withdraw", place(reply)).status_code == 404
    for _ in range(2):
        assert visitor.post("withdraw", place(reply)).json() == {"saved": None}
    assert feedback.of_conversation(visitor.owner, reply.conversation_id) == {}


def test_versions_are_told_to_be_ranked(visitor: Visitor, somebody: Visitor) -> None:
    reply = visitor.reply()
    visitor.agree()
    to = visitor.owner, reply.conversation_id, reply.parent_id or ""
    other = visitor.store.add_reply(*to, "A <b>disc</b>.", [6], "stop", None)
    query = place(reply)
    told = visitor.client.get("/feedback/versions", params=query).json()
    assert told == {
        "asked": reply.parent_id,
        "replies": [
            {"id": reply.id, "text": "A circle."},
            {"id": other.id, "text": "A <b>disc</b>."},
        ],
        "ranking": None,
    }
    ranking = {**query, "message": reply.parent_id, "id": reply.id, "replies": [other.id, reply.id]}
    assert visitor.post("rank", ranking).status_code == 200
    told = visitor.client.get("/feedback/versions", params=query).json()
    assert told["ranking"] == [other.id, reply.id]
    assert somebody.client.get("/feedback/versions", params=query).status_code == 404
    for wrong in ({**query, "message": "no id!"}, {**query, "message": reply.parent_id}):
        assert visitor.client.get("/feedback/versions", params=wrong).status_code == 422


def test_a_correction_stands_beside_the_reply(visitor: Visitor, feedback: Feedback) -> None:
    reply = visitor.reply()
    visitor.agree()
    for _ in range(2):
        answer = visitor.post("correct", place(reply, id=reply.id, text="A <b>square</b>."))
        assert answer.json() == {"saved": reply.id}
    kept = feedback.of_conversation(visitor.owner, reply.conversation_id)[reply.id].correction
    assert kept is not None and kept.text == "A <b>square</b>."
    path = visitor.store.load(visitor.owner, reply.conversation_id).path
    assert path[-1].text == "A circle."
    assert len(feedback.mine(visitor.owner)["corrections"]) == 1


def test_versions_are_ranked(visitor: Visitor, feedback: Feedback) -> None:
    first = visitor.reply()
    assert first.parent_id is not None
    to = visitor.owner, first.conversation_id, first.parent_id
    second = visitor.store.add_reply(*to, "A square.", [6], "stop", None)
    visitor.agree()
    body = {"conversation": first.conversation_id, "message": first.parent_id, "id": first.id}
    assert visitor.post("rank", {**body, "replies": [second.id, first.id]}).status_code == 200
    said = feedback.of_conversation(visitor.owner, first.conversation_id)[first.parent_id]
    assert said.ranking is not None and said.ranking.reply_ids == (second.id, first.id)


@pytest.mark.parametrize("path", ["rate", "correct", "take-back"])
def test_somebody_elses_reply_looks_like_none(
    visitor: Visitor, somebody: Visitor, feedback: Feedback, path: str
) -> None:
    reply = somebody.reply()
    visitor.agree()
    theirs = visitor.post(path, down(reply, text="Mine"))
    none = visitor.post(path, {**down(reply, text="Mine"), "conversation": "0" * 32})
    assert (theirs.status_code, theirs.json()) == (none.status_code, none.json())
    assert theirs.status_code == 404
    assert feedback.of_conversation(somebody.owner, reply.conversation_id) == {}


def test_a_chat_that_is_not_kept_is_not_judged(visitor: Visitor, feedback: Feedback) -> None:
    reply = visitor.reply(kept=False)
    visitor.agree()
    refused = visitor.post("rate", down(reply))
    assert refused.status_code == 503
    assert "not kept" in refused.json()["error"]
    assert feedback.of_conversation(visitor.owner, reply.conversation_id) == {}


@pytest.mark.parametrize(
    "body",
    [
        {"id": "x"},
        {"liked": 1},
        {"liked": None},
        {"reasons": ["ugly"]},
        {"reasons": "style"},
        {"reasons": [["style"]]},
        {"comment": "x" * 2001},
        {"comment": None},
        {"message": "../x"},
        {"conversation": ["a"]},
        {"conversation": "\ud800"},
    ],
)
def test_what_is_no_vote_is_refused(visitor: Visitor, body: dict[str, Any]) -> None:
    reply = visitor.reply()
    visitor.agree()
    refused = visitor.post("rate", {**down(reply), **body})
    assert refused.status_code == 422
    assert refused.json()["error"].startswith(f"{next(iter(body))}: ")


def test_only_the_page_itself_may_say_it(visitor: Visitor) -> None:
    reply = visitor.reply()
    visitor.agree()
    for headers in (
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.test"},
        {"origin": "null"},
    ):
        assert visitor.post("rate", down(reply), **headers).status_code == 403, headers
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert visitor.post("rate", down(reply), **form).status_code == 415
    host = visitor.client.base_url.netloc.decode()
    assert visitor.post("rate", down(reply), origin=f"http://{host}").status_code == 200


def test_without_a_session_nothing_is_said(server: str, visitor: Visitor) -> None:
    reply = visitor.reply()
    with httpx2.Client(base_url=server) as stranger:
        assert stranger.post("/feedback/rate", json=down(reply)).status_code == 401
        assert stranger.get("/feedback/mine.json").status_code == 401
        assert stranger.post("/feedback/delete", json={"everything": True}).status_code == 401


def test_a_body_that_is_too_long_or_no_object_is_refused(visitor: Visitor) -> None:
    visitor.agree()
    assert visitor.post("rate", {"comment": "x" * MAX_BODY_BYTES}).status_code == 413
    assert visitor.post("rate", [1]).status_code == 422
    broken = visitor.client.post(
        "/feedback/rate", content=b"{", headers={"content-type": "application/json"}
    )
    assert broken.status_code == 422
    reply = visitor.reply()
    longest = place(reply, id=reply.id, text="\U0001f600" * 20_000)
    assert visitor.post("correct", longest).status_code == 200


def test_a_database_that_is_held_is_told_of_and_the_same_write_repeats(
    visitor: Visitor, feedback: Feedback, data_dir: Path
) -> None:
    reply = visitor.reply()
    visitor.agree()
    with closing(sqlite3.connect(data_dir / "chat.db")) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON ratings BEGIN SELECT RAISE(FAIL, 'full'); END"
        )
        other.commit()
        failed = visitor.post("rate", down(reply))
        other.execute("DROP TRIGGER full")
        other.commit()
    assert failed.status_code == 503
    assert failed.json()["error"].startswith("Not saved.")
    assert feedback.mine(visitor.owner)["ratings"] == []
    assert visitor.post("rate", down(reply)).status_code == 200
    assert len(feedback.mine(visitor.owner)["ratings"]) == 1


def test_a_person_takes_their_data_along_and_deletes_it(
    visitor: Visitor, somebody: Visitor
) -> None:
    reply, theirs = visitor.reply(), somebody.reply()
    visitor.agree()
    visitor.post("rate", down(reply))
    picture_id = visitor.store.load(visitor.owner, reply.conversation_id).path[0].picture_ids[0]
    assert visitor.client.get(f"/pictures/{picture_id}/thumbnail").status_code == 200
    answer = visitor.client.get("/feedback/mine.json")
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.headers["cache-control"] == "no-store"
    mine = answer.json()
    assert [one["id"] for one in mine["conversations"]] == [reply.conversation_id]
    assert mine["ratings"][0]["comment"] == "Too short"

    assert visitor.post("delete", {}).status_code == 422
    deleted = visitor.post("delete", {"everything": True}).json()["deleted"]
    assert (deleted["conversations"], deleted["ratings"], deleted["consents"]) == (1, 1, 1)
    empty = visitor.client.get("/feedback/mine.json").json()
    assert empty["conversations"] == empty["ratings"] == []
    assert visitor.client.get("/feedback/consent").json() == {"keep": None}
    assert visitor.client.get(f"/pictures/{picture_id}/thumbnail").status_code == 404
    assert len(somebody.store.load(somebody.owner, theirs.conversation_id).path) == 2


def test_who_says_too_much_is_told_when_there_is_more(store: ConversationStore) -> None:
    sessions = Sessions(b"a key that only this test knows")
    allowances = Allowances(judgements_per_minute=1)
    desk = FeedbackDesk(store, Replies(), Thumbnails(Path("nowhere")))

    def count(request: Request) -> None:
        allowances.judge(Person(sessions.owner_of(request)))

    client = TestClient(
        Starlette(routes=feedback_routes(sessions, desk, count)),
        cookies={COOKIE_NAME: sessions.new_cookie()},
    )
    first, second = (client.post("/feedback/consent", json={"keep": True}) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 429)
    assert "the next one is kept in" in second.json()["error"]
