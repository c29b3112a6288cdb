"""Asking, editing, trying again and undoing, by the real engine and the real store."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from PIL import Image

from llava_chat.conversation import Conversation
from llava_chat.engine.base import ChatEngine, Done, Event, GenerationSettings
from llava_chat.engine.local import ReplyStream
from llava_chat.errors import ContextFullError, InputError, NotFoundError
from llava_chat.image import PictureLimits
from llava_chat.store import ChatOptions, ConversationStore, Message
from llava_chat.templates import template_named
from llava_chat.web.chat.options import Options, options_of
from llava_chat.web.chat.replies import LiveReply, Replies
from llava_chat.web.chat.showing import as_upload
from llava_chat.web.chat.turns import ASKING_THREADS, Limits, Turns
from llava_chat.web.export import to_json
from llava_chat.web.people import Person
from llava_chat.web.thumbnails import Thumbnails
from tests.web.conftest import run

LONG = GenerationSettings(temperature=0, max_new_tokens=900)
OPTIONS = Options(None, None, GenerationSettings(temperature=0, max_new_tokens=6))
ME, SOMEBODY = "me", "somebody"
ADA = Person("session:ada", "home")


@pytest.fixture
def turns(engine: ChatEngine, store: ConversationStore, tmp_path: Path) -> Turns:
    limits = Limits(PictureLimits(), max_pictures=2, max_message_chars=5000, deadline_s=60)
    return Turns(engine, store, Replies(), limits, Thumbnails(tmp_path))


def wait_for(live: LiveReply) -> None:
    """Wait for the end of a reply."""
    until = time.monotonic() + 60
    while not live.ended:
        assert time.monotonic() < until
        time.sleep(0.01)


def ended(live: LiveReply) -> LiveReply:
    """Wait for the good end of a reply."""
    wait_for(live)
    assert live.progress.error is None
    return live


def texts(turns: Turns, conversation_id: str) -> list[str]:
    return [message.text for message in turns.store.load(ME, conversation_id).path]


def test_a_reply_is_kept_with_what_made_it(turns: Turns, draw: Callable[[str], Path]) -> None:
    live = ended(turns.ask(ME, None, "What is this?", [draw("red")], OPTIONS))
    stored = turns.store.load(ME, live.conversation_id)
    said, reply = stored.path
    assert reply.text == live.progress.text
    assert reply.record is not None
    assert reply.record.generated_tokens == live.progress.tokens
    assert reply.record.picture_ids == said.picture_ids
    assert stored.title == "What is this?"


def test_every_setting_of_sampling_is_kept_with_its_reply_and_its_conversation(
    turns: Turns,
) -> None:
    sampled = replace(OPTIONS.generation, temperature=0.5, top_k=3, stop=("###", "日本", "\ud800x"))
    options = replace(OPTIONS, generation=sampled)
    live = ended(turns.ask(ME, None, "Hello", [], options))
    stored = turns.store.load(ME, live.conversation_id)
    assert options_of(stored, OPTIONS) == options
    assert options_of(stored, OPTIONS).generation.stop == ("###", "日本", "\ufffdx")
    record = stored.path[1].record
    assert record is not None
    assert GenerationSettings(**record.settings) == sampled
    assert to_json(stored).encode()


def test_a_conversation_kept_before_there_was_a_setting_goes_on_with_its_default(
    turns: Turns,
) -> None:
    earlier = {
        "temperature": 0.0, "top_p": 0.5, "repetition_penalty": 1.0, "max_new_tokens": 6,
        "seed": None, "deadline_s": 9.0,
    }  # fmt: skip
    said = turns.store.add_user(ME, None, "Hello", [], options=ChatOptions(None, None, earlier))
    defaults = replace(OPTIONS, generation=replace(OPTIONS.generation, top_k=7))
    options = options_of(turns.store.load(ME, said.conversation_id), defaults)
    assert options.generation == replace(defaults.generation, top_p=0.5)
    assert ended(turns.regenerate(ME, said.conversation_id, options)).progress.text


@pytest.mark.parametrize("said", [None, "", "Be brief."])
def test_a_record_tells_the_system_message_that_was_used(turns: Turns, said: str | None) -> None:
    live = ended(turns.ask(ME, None, "Hello", [], replace(OPTIONS, system=said)))
    record = turns.store.load(ME, live.conversation_id).path[1].record
    assert record is not None
    assert record.template == turns.engine.model.template
    used = template_named(record.template).system if said is None else said
    assert record.system == used


def test_a_record_tells_the_pictures_that_were_still_in_the_context(
    turns: Turns, draw: Callable[[str], Path]
) -> None:
    live = ended(turns.ask(ME, None, "red " * 120, [draw("red")], OPTIONS))
    for text, files in (("blue " * 120, [draw("blue")]), ("word " * 150, [])):
        ended(turns.ask(ME, live.conversation_id, text, files, OPTIONS))
    red, _, blue, second, _, third = turns.store.load(ME, live.conversation_id).path
    assert second.record is not None and third.record is not None
    assert second.record.picture_ids == red.picture_ids + blue.picture_ids
    assert third.record.picture_ids == blue.picture_ids


def test_an_edit_keeps_the_picture_and_the_earlier_version(
    turns: Turns, draw: Callable[[str], Path]
) -> None:
    live = ended(turns.ask(ME, None, "What is this?", [draw("red")], OPTIONS))
    first = turns.store.load(ME, live.conversation_id).path[0]
    ended(turns.edit(ME, live.conversation_id, first.id, "What colour?", OPTIONS))
    edited = turns.store.load(ME, live.conversation_id).path[0]
    assert (edited.text, edited.versions) == ("What colour?", 2)
    assert edited.picture_ids == first.picture_ids


def test_a_stopped_reply_keeps_its_words(turns: Turns) -> None:
    live = turns.ask(ME, None, "Talk.", [], Options(None, None, LONG))
    while not live.progress.tokens:
        time.sleep(0.005)
    turns.stop(ME, live.conversation_id)
    ended(live)
    reply = turns.store.load(ME, live.conversation_id).path[1]
    assert reply.finish == "cancelled"
    assert reply.text == live.progress.text


def test_one_reply_at_a_time_in_a_conversation(turns: Turns) -> None:
    live = turns.ask(ME, None, "Talk.", [], Options(None, None, LONG))
    for again in (
        lambda: turns.ask(ME, live.conversation_id, "And?", [], OPTIONS),
        lambda: turns.regenerate(ME, live.conversation_id, OPTIONS),
        lambda: turns.undo(ME, live.conversation_id),
    ):
        with pytest.raises(InputError, match="still being written"):
            again()
    live.stop()
    ended(live)


def test_of_two_messages_at_once_the_refused_one_is_not_kept(
    turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation_id = ended(turns.ask(ME, None, "First", [], OPTIONS)).conversation_id
    stream = turns.engine.stream

    def stream_while_another_comes(
        conversation: Conversation, generation: GenerationSettings
    ) -> Iterator[Event]:
        monkeypatch.undo()
        with pytest.raises(InputError, match="still being written"):
            turns.ask(ME, conversation_id, "Refused", [], OPTIONS)
        with pytest.raises(InputError, match="still being written"):
            turns.undo(ME, conversation_id)
        return stream(conversation, generation)

    monkeypatch.setattr(turns.engine, "stream", stream_while_another_comes)
    ended(turns.ask(ME, conversation_id, "Taken", [], OPTIONS))
    assert texts(turns, conversation_id)[::2] == ["First", "Taken"]


def test_a_conversation_is_free_again_after_any_failure(
    turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation_id = ended(turns.ask(ME, None, "First", [], OPTIONS)).conversation_id
    begun: list[ReplyStream] = []
    stream = turns.engine.stream

    def observed(conversation: Conversation, generation: GenerationSettings) -> ReplyStream:
        begun.append(cast(ReplyStream, stream(conversation, generation)))
        return begun[-1]

    def fails(*_: object, **__: object) -> Message:
        raise RuntimeError("unforeseen")

    with monkeypatch.context() as broken:
        broken.setattr(turns.engine, "stream", observed)
        broken.setattr(turns.store, "add_user", fails)
        with pytest.raises(RuntimeError, match="unforeseen"):
            turns.ask(ME, conversation_id, "Second", [], Options(None, None, LONG))
    *_, last = begun[0]
    assert isinstance(last, Done) and last.finish == "cancelled"
    ended(turns.ask(ME, conversation_id, "Third", [], OPTIONS))
    assert texts(turns, conversation_id)[::2] == ["First", "Third"]


def test_what_the_engine_refuses_is_not_kept(turns: Turns) -> None:
    live = ended(turns.ask(ME, None, "Hello", [], OPTIONS))
    with pytest.raises(ContextFullError):
        turns.ask(ME, live.conversation_id, "a " * 2400, [], OPTIONS)
    assert len(texts(turns, live.conversation_id)) == 2


def test_bad_messages_are_refused_before_anything_is_kept(
    turns: Turns, draw: Callable[[str], Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    before = len(turns.store.list(ME))
    for text, files in (
        ("  ", []),
        ("x" * 5001, []),
        ("three?", [draw("red")] * 3),
        ("bad?", [bad]),
    ):
        with pytest.raises(InputError):
            turns.ask(ME, None, text, files, OPTIONS)
    assert len(turns.store.list(ME)) == before


def test_a_stranger_can_do_nothing(turns: Turns) -> None:
    live = ended(turns.ask(ME, None, "Mine", [], OPTIONS))
    message = turns.store.load(ME, live.conversation_id).path[0].id
    for attempt in (
        lambda: turns.ask(SOMEBODY, live.conversation_id, "Yours?", [], OPTIONS),
        lambda: turns.edit(SOMEBODY, live.conversation_id, message, "Yours?", OPTIONS),
        lambda: turns.regenerate(SOMEBODY, live.conversation_id, OPTIONS),
        lambda: turns.undo(SOMEBODY, live.conversation_id),
        lambda: turns.choose(SOMEBODY, live.conversation_id, message),
        lambda: turns.stop(SOMEBODY, live.conversation_id),
        lambda: turns.delete(SOMEBODY, live.conversation_id),
    ):
        with pytest.raises(NotFoundError):
            attempt()
    assert texts(turns, live.conversation_id)[0] == "Mine"


def test_closing_keeps_what_was_written(turns: Turns) -> None:
    live = turns.ask(ME, None, "Talk.", [], Options(None, None, LONG))
    while not live.progress.tokens:
        time.sleep(0.005)
    turns.replies.close(grace_s=0)
    assert live.ended
    assert turns.store.load(ME, live.conversation_id).path[1].text


def test_what_undo_gives_back_can_be_sent_whatever_its_size_now(
    turns: Turns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grain = Image.effect_noise((200, 200), 90).convert("RGB")
    photograph = tmp_path / "photograph.jpg"
    grain.save(photograph, quality=40)
    strict = PictureLimits(max_bytes=photograph.stat().st_size)
    turns.limits = replace(turns.limits, picture=strict)
    live = ended(turns.ask(ME, None, "Look", [photograph], OPTIONS))
    (picture_id,) = turns.undo(ME, live.conversation_id).picture_ids
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    given_back = as_upload(turns.store.picture(picture_id))
    assert given_back.stat().st_size > strict.max_bytes
    with pytest.raises(InputError, match="over the limit"):
        turns.ask(SOMEBODY, None, "Look", [given_back], OPTIONS)
    ended(turns.ask(ME, live.conversation_id, "Look again", [given_back], OPTIONS))
    assert turns.store.load(ME, live.conversation_id).path[0].picture_ids == (picture_id,)


def test_a_drawing_on_a_view_of_a_picture_is_another_picture(
    turns: Turns, tmp_path: Path, draw: Callable[[str], Path]
) -> None:
    live = ended(turns.ask(ME, None, "Look", [draw("red")], OPTIONS))
    (red,) = turns.store.load(ME, live.conversation_id).path[0].picture_ids
    drawn_on = tmp_path / f"{red}.jpg"  # as a browser names the view that it saves
    drawn_on.write_bytes(draw("blue").read_bytes())
    ended(turns.ask(ME, live.conversation_id, "And now?", [drawn_on], OPTIONS))
    (sent,) = turns.store.load(ME, live.conversation_id).path[2].picture_ids
    assert sent != red


def test_questions_that_wait_hold_up_nobody_elses_words(turns: Turns) -> None:
    free = threading.Event()

    def late() -> LiveReply:
        assert free.wait(30)
        return turns.ask(ME, None, "Late", [], OPTIONS)

    async def ask() -> None:
        blocked = [turns.begun(ADA, late) for _ in range(ASKING_THREADS)]
        waiting = [asyncio.ensure_future(question) for question in blocked]
        await asyncio.to_thread(free.set)  # a thread for a frame is there all the same
        assert all(await asyncio.gather(*waiting))

    run(ask())


def test_views_go_with_the_last_conversation_that_shows_the_picture(
    turns: Turns, draw: Callable[[str], Path]
) -> None:
    first, second = (
        ended(turns.ask(ME, None, "Look", [draw("maroon")], OPTIONS)).conversation_id
        for _ in range(2)
    )
    (picture_id,) = turns.store.load(ME, first).path[0].picture_ids
    view = turns.thumbnails.path(turns.store.picture(picture_id))
    turns.delete(ME, first)
    assert view.exists()
    turns.delete(ME, second)
    assert not view.exists()


def test_a_reply_whose_time_ran_out_before_its_first_word_says_so(turns: Turns) -> None:
    hurried = GenerationSettings(deadline_s=1e-9)
    live = turns.ask(ME, None, "Talk.", [], replace(OPTIONS, generation=hurried))
    wait_for(live)
    assert "ran out before its first word" in str(live.progress.error)
    assert texts(turns, live.conversation_id) == ["Talk."]


def test_a_reply_that_cannot_be_kept_is_still_there_to_read(
    engine: ChatEngine, tmp_path: Path
) -> None:
    database = tmp_path / "chat.db"
    store = ConversationStore.open(f"sqlite:///{database}", tmp_path, busy_timeout_s=0.1)
    limits = Limits(PictureLimits(), max_pictures=2, max_message_chars=5000, deadline_s=60)
    turns = Turns(engine, store, Replies(), limits, Thumbnails(tmp_path))
    live = turns.ask(ME, None, "Talk.", [], Options(None, None, LONG))
    while not live.progress.text and not live.ended:
        time.sleep(0.01)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        live.stop()
        wait_for(live)
    assert live.progress.unsaved and live.progress.text
    assert str(live.progress.error).startswith("This reply is not saved. Another program holds")
    assert texts(turns, live.conversation_id) == ["Talk."]
    ended(turns.ask(ME, live.conversation_id, "Again?", [], OPTIONS))
    assert len(texts(turns, live.conversation_id)) == 2
    store.close()
