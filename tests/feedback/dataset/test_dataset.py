"""What is said survives a disk that does not: the real CommitScheduler against a Hub of our own."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from llava_chat.feedback import Correction, Feedback, Ranking, Rating
from llava_chat.image import Picture
from llava_chat.store import ConversationStore, ReplyRecord, everything_of
from tests.feedback.conftest import Talk, begin_talk, new_id
from tests.feedback.dataset.conftest import NAME, Begin
from tests.feedback.dataset.hub_server import Hub

# huggingface_hub 2.4 uploads files in a way that httpx2 will not take for ever.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def say_everything(store: ConversationStore, talk: Talk) -> None:
    feedback, place = Feedback.of(store), (talk.owner, talk.id)
    feedback.rate(*place, talk.reply.id, Rating(new_id(), False, ("wrong_count",), "Three, no?"))
    feedback.correct(*place, talk.reply.id, Correction(new_id(), "Two circles — 二つ."))
    feedback.correct(*place, talk.reply.id, Correction(new_id(), "Three circles."))
    ids = tuple(reply.id for reply in reversed(talk.replies))
    feedback.rank(*place, talk.asked.id, Ranking(new_id(), ids))


@pytest.fixture
def told(space: Begin, record: ReplyRecord, red: Picture) -> tuple[Any, Talk]:
    """A server where Ann said everything that can be said of a reply, and has pushed it."""
    first = space()
    first.feedback.decide("ann", True)
    talk = begin_talk(first.store, "ann", record, red)
    say_everything(first.store, talk)
    first.push()
    return first, talk


def test_a_new_disk_has_all_that_was_said_as_its_owner_left_it(
    told: tuple[Any, Talk], space: Begin, hub: Hub, red: Picture
) -> None:
    first, talk = told
    before = everything_of(first.store, "ann")
    first.end()
    again = space()
    assert everything_of(again.store, "ann") == before
    assert again.store.load("ann", talk.id).path[0].picture_ids == (red.id,)
    assert again.store.picture(red.id).id == red.id
    assert hub.datasets[NAME].private
    # The files of before are one now, and the picture was not sent again.
    names = [name for name in hub.datasets[NAME].files if name.startswith("journal/")]
    assert len(names) == 1
    assert sum(one.startswith("PUT /uploads/") for one in hub.asked) == 1
    third = space()
    assert everything_of(third.store, "ann") == before


def test_only_kept_chats_of_those_who_agreed_that_something_was_said_of_are_pushed(
    space: Begin, hub: Hub, record: ReplyRecord, red: Picture, blue: Picture
) -> None:
    one = space()
    one.feedback.decide("bob", False)
    one.feedback.decide("ann", True)
    begin_talk(one.store, "bob", record, blue, text="bob's question")
    begin_talk(one.store, "ann", record, text="of which nothing was said")
    begin_talk(one.store, "ann", record, text="not to be kept", kept=False)
    talk = begin_talk(one.store, "ann", record, red, text="said of")
    one.feedback.rate("ann", talk.id, talk.reply.id, Rating(new_id(), True))
    one.push()
    pushed = hub.datasets[NAME].everything()
    assert b"said of" in pushed
    for unsaid in (b"bob", b"nothing was said", b"not to be kept", blue.id.encode()):
        assert unsaid not in pushed
    assert [name for name in hub.datasets[NAME].files if name.endswith(".png")] == [
        f"pictures/{red.id}.png"
    ]


def test_a_person_s_deletion_reaches_the_dataset_its_history_and_its_pictures(
    told: tuple[Any, Talk], space: Begin, hub: Hub
) -> None:
    first, _ = told
    assert b"Three circles." in hub.datasets[NAME].everything()
    first.feedback.delete_mine("ann")
    first.push()
    left = hub.datasets[NAME].everything()
    for gone in (b"Three", b"circles", b"What is it?", b"wrong_count"):
        assert gone not in left
    assert not [name for name in hub.datasets[NAME].files if name.endswith(".png")]
    again = space()
    assert everything_of(again.store, "ann")["conversations"] == []
    assert again.feedback.consent("ann") is None


@pytest.mark.parametrize("how", ["no", "unkept", "vote", "deleted chat"])
def test_what_is_taken_back_does_not_return(
    how: str, told: tuple[Any, Talk], space: Begin, hub: Hub
) -> None:
    first, talk = told
    if how == "no":
        first.feedback.decide("ann", False)
    elif how == "unkept":
        first.store.keep("ann", talk.id, False)
    elif how == "vote":
        first.feedback.take_back("ann", talk.id, talk.reply.id)
    else:
        first.store.delete("ann", talk.id)
    first.push()
    assert b"Three, no?" not in hub.datasets[NAME].everything()
    again = everything_of(space().store, "ann")
    assert again["ratings"] == []
    assert len(again["corrections"]) == (2 if how == "vote" else 0)


def test_two_servers_at_once_lose_nothing_of_each_other_and_bring_nothing_back(
    told: tuple[Any, Talk], space: Begin, hub: Hub, record: ReplyRecord, blue: Picture
) -> None:
    old, talk = told
    new = space()  # has read in what the old one said, and taken its file away
    new.feedback.decide("bob", True)
    bobs = begin_talk(new.store, "bob", record, blue, text="bob's")
    new.feedback.rate("bob", bobs.id, bobs.reply.id, Rating(new_id(), True))
    late = begin_talk(old.store, "ann", record, text="late")
    old.feedback.rate("ann", late.id, late.reply.id, Rating(new_id(), True))
    new.feedback.take_back("ann", talk.id, talk.reply.id)
    new.push()
    old.end()  # its whole file comes once more, the vote with it
    assert any(b"Three, no?" in content for content in hub.datasets[NAME].files.values())
    third = space()
    ann = everything_of(third.store, "ann")
    assert {row["id"] for row in ann["conversations"]} == {talk.id, late.id}
    assert [row["message_id"] for row in ann["ratings"]] == [late.reply.id]
    assert everything_of(third.store, "bob")["ratings"]
    assert third.store.picture(blue.id).id == blue.id
    assert b"Three, no?" not in hub.datasets[NAME].everything()


def test_lines_that_cannot_be_used_are_named_skipped_and_left(
    told: tuple[Any, Talk], space: Begin, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = told
    first.end()
    files = hub.datasets[NAME].files
    name = next(name for name in files if name.endswith(".jsonl"))
    half = b'{"at": 1, "table": "ratings", "key": "0123'
    wrong = {"at": 2**60, "table": "ratings", "key": "x", "row": {"id": "x", "liked": "yes"}}
    hub.datasets[NAME].add({**files, name: files[name] + json.dumps(wrong).encode() + b"\n" + half})
    number = files[name].count(b"\n")
    with caplog.at_level(logging.WARNING):
        again = space()
    assert f"{name}, line {number + 1}: ratings, message_id: it is missing." in caplog.text
    assert f"{name}, line {number + 2}: it was cut off." in caplog.text
    assert again.dataset.skipped == 2
    assert len(everything_of(again.store, "ann")["ratings"]) == 1
    assert hub.datasets[NAME].files[name] == json.dumps(wrong).encode() + b"\n" + half


def test_a_hub_that_is_away_stops_nothing_and_is_tried_again(
    hub: Hub, space: Begin, record: ReplyRecord
) -> None:
    hub.away = True
    one = space(wait=False)
    one.feedback.decide("ann", True)
    talk = begin_talk(one.store, "ann", record)
    one.feedback.rate("ann", talk.id, talk.reply.id, Rating(new_id(), True))
    while one.dataset.trouble is None:
        assert not one.dataset.wait(0.02)
    assert "cannot be reached" in one.dataset.trouble
    assert "What was said since" in one.dataset.loss
    hub.away = False
    assert one.dataset.wait(60)
    one.push()
    assert one.dataset.trouble is None
    assert talk.id.encode() in hub.datasets[NAME].everything()
    hub.away = True
    one.feedback.take_back("ann", talk.id, talk.reply.id)
    with pytest.raises(Exception, match="cannot be reached"):
        one.push()
    assert "is lost when this Space restarts" in one.dataset.loss
    hub.away = False
    one.push()
    assert "last 600 minutes may be lost when this Space restarts" in one.dataset.loss
    left = hub.datasets[NAME].lines()
    assert [line["table"] for line in left if line["row"] is not None] == ["consents"]


def test_nothing_is_written_to_a_dataset_that_everybody_can_read(hub: Hub, space: Begin) -> None:
    dataset = hub.make(NAME, private=False)
    one = space(wait=False)
    while one.dataset.trouble is None:
        assert not one.dataset.wait(0.02)
    assert f"The dataset {NAME} is public" in one.dataset.trouble
    assert list(dataset.files) == [".gitattributes"]


def test_a_token_that_may_not_write_is_told(hub: Hub, space: Begin) -> None:
    one = space(token="hf_wrong", wait=False)
    while one.dataset.trouble is None:
        assert not one.dataset.wait(0.02)
    assert "HF_TOKEN" in one.dataset.trouble
