"""Waiting, stopping and closing. A gate in a picture's way holds a reply as long as needed."""

import gc
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import pytest

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import (
    Done,
    Event,
    Failed,
    GenerationSettings,
    Looking,
    Queued,
    Token,
)
from llava_chat.engine.local import LocalEngine, ReplyStream
from llava_chat.errors import EngineBusyError, EngineClosedError
from llava_chat.image import Picture

GREEDY = GenerationSettings(temperature=0, max_new_tokens=4)
ENDLESS = replace(GREEDY, max_new_tokens=4000)
HELLO = Conversation((Turn("user", "Hello"),))


class Gate(Protocol):
    """See conftest."""

    reached: threading.Event
    open: threading.Event


@pytest.fixture
def look(make_picture: Callable[..., Picture]) -> Conversation:
    """A conversation whose reply waits at the gate."""
    return Conversation((Turn("user", "What is this?", (make_picture(1),)),))


def held(engine: LocalEngine, conversation: Conversation, gate: Gate) -> ReplyStream:
    """A reply that has reached the gate."""
    stream = engine.stream(conversation, GREEDY)
    assert gate.reached.wait(60)
    return stream


def last(stream: ReplyStream) -> Event:
    *_, event = stream
    return event


def test_those_who_wait_know_their_place_and_are_served_in_order(
    gated: Callable[..., LocalEngine], gate: Gate, look: Conversation
) -> None:
    engine = gated(slots=1)
    arrivals = [time.monotonic()]
    first = held(engine, look, gate)
    waiting = []
    for _ in range(3):
        arrivals.append(time.monotonic())
        waiting.append(engine.stream(HELLO, GREEDY))
    assert [next(stream) for stream in waiting] == [Queued(1), Queued(2), Queued(3)]
    gate.open.set()
    ends = [last(stream) for stream in (first, *waiting)]
    ended = [
        arrival + end.total_s
        for arrival, end in zip(arrivals, ends, strict=True)
        if isinstance(end, Done)
    ]
    assert len(ended) == 4
    assert ended == sorted(ended)


def test_the_place_changes_when_somebody_leaves(
    gated: Callable[..., LocalEngine], gate: Gate, look: Conversation
) -> None:
    engine = gated(slots=1)
    first = held(engine, look, gate)
    second, third = (engine.stream(HELLO, GREEDY) for _ in range(2))
    assert next(third) == Queued(2)
    second.close()
    assert next(third) == Queued(1)
    gate.open.set()
    assert isinstance(next(third), Looking)
    assert isinstance(last(first), Done)


def test_a_free_engine_lets_nobody_wait(engine: LocalEngine) -> None:
    for _ in range(20):
        events = list(engine.stream(HELLO, GREEDY))
        assert isinstance(events[0], Looking)


def test_too_many_are_turned_away_with_a_sentence(
    gated: Callable[..., LocalEngine], gate: Gate, look: Conversation
) -> None:
    engine = gated(slots=1, max_waiting=2)
    streams = [held(engine, look, gate), *(engine.stream(HELLO, GREEDY) for _ in range(2))]
    with pytest.raises(EngineBusyError, match="2 people are already waiting"):
        engine.stream(HELLO, GREEDY)
    gate.open.set()
    assert all(isinstance(last(stream), Done) for stream in streams)
    assert isinstance(last(engine.stream(HELLO, GREEDY)), Done)


def test_cancelling_keeps_the_words(engine: LocalEngine) -> None:
    stream = engine.stream(HELLO, ENDLESS)
    seen = [next(stream) for _ in range(4)]
    stream.cancel()
    rest = list(stream)
    done = rest[-1]
    assert isinstance(done, Done)
    assert done.finish == "cancelled"
    assert len(done.token_ids) < ENDLESS.max_new_tokens
    tokens = [event for event in (*seen, *rest) if isinstance(event, Token)]
    assert "".join(token.text for token in tokens) == done.text
    assert tuple(token.token_id for token in tokens) == done.token_ids


def test_a_cancelled_reply_can_be_gone_on_from(engine: LocalEngine) -> None:
    stream = engine.stream(HELLO, ENDLESS)
    next(stream), next(stream)
    stream.cancel()
    done = last(stream)
    assert isinstance(done, Done)
    turns = (*HELLO.turns, Turn("assistant", done.text, token_ids=done.token_ids))
    more = last(engine.stream(Conversation((*turns, Turn("user", "Why?"))), GREEDY))
    assert isinstance(more, Done)
    assert more.reused_tokens >= done.prompt_tokens + len(done.token_ids) - 1


def test_cancelling_while_waiting_ends_at_once(
    gated: Callable[..., LocalEngine], gate: Gate, look: Conversation
) -> None:
    engine = gated(slots=1)
    first = held(engine, look, gate)
    second = engine.stream(HELLO, GREEDY)
    second.cancel()
    done = last(second)  # while the gate is still shut
    assert isinstance(done, Done)
    assert (done.finish, done.text, done.first_token_s) == ("cancelled", "", None)
    gate.open.set()
    assert isinstance(last(first), Done)


def test_closing_frees_the_engine_and_yields_nothing_more(engine: LocalEngine) -> None:
    with engine.stream(HELLO, ENDLESS) as stream:
        next(stream), next(stream)
    assert list(stream) == []
    assert isinstance(last(engine.stream(HELLO, GREEDY)), Done)


def test_closing_ends_a_reader_that_waits_in_another_thread(
    gated: Callable[..., LocalEngine], gate: Gate, look: Conversation
) -> None:
    stream = held(gated(), look, gate)
    assert isinstance(next(stream), Looking)
    read: list[Event] = []
    reader = threading.Thread(target=lambda: read.extend(stream))
    reader.start()
    stream.close()
    reader.join(60)
    assert not reader.is_alive()
    assert read == []


def test_a_stream_that_is_forgotten_is_stopped(
    gated: Callable[..., LocalEngine], gate: Gate, look: Conversation
) -> None:
    engine = gated(slots=1)
    stream = engine.stream(look, ENDLESS)
    assert gate.reached.wait(60)
    mailbox = stream._mailbox
    del stream
    gc.collect()
    assert mailbox.cancelled
    gate.open.set()
    assert isinstance(last(engine.stream(HELLO, GREEDY)), Done)


def test_a_reader_that_never_reads_holds_nobody_up(engine: LocalEngine) -> None:
    silent = engine.stream(HELLO, replace(GREEDY, max_new_tokens=300))
    assert isinstance(last(engine.stream(HELLO, GREEDY)), Done)
    done = last(silent)
    assert isinstance(done, Done)
    assert len(done.token_ids) == 300


def test_the_deadline_counts_from_arrival_and_keeps_the_words(engine: LocalEngine) -> None:
    done = last(engine.stream(HELLO, replace(ENDLESS, deadline_s=0.3)))
    assert isinstance(done, Done)
    assert done.finish == "deadline"
    assert done.total_s >= 0.3
    assert 0 < len(done.token_ids) < ENDLESS.max_new_tokens


def test_a_deadline_that_passes_in_the_line_ends_the_reply(
    gated: Callable[..., LocalEngine], gate: Gate, look: Conversation
) -> None:
    engine = gated(slots=1)
    first = held(engine, look, gate)
    second = engine.stream(HELLO, replace(GREEDY, deadline_s=1e-6))
    gate.open.set()
    done = last(second)
    assert isinstance(done, Done)
    assert (done.finish, done.token_ids) == ("deadline", ())
    assert isinstance(last(first), Done)


def test_an_engine_that_is_closed_lets_replies_end_within_the_grace(
    make_engine: Callable[..., LocalEngine],
) -> None:
    engine = make_engine()
    streams = [engine.stream(HELLO, GREEDY) for _ in range(3)]
    engine.close(grace_s=60)
    assert [end.finish for end in map(last, streams) if isinstance(end, Done)] == ["length"] * 3
    with pytest.raises(EngineClosedError):
        engine.stream(HELLO, GREEDY)
    engine.close()


def test_after_the_grace_the_running_reply_is_cut_and_the_waiting_ones_fail(
    make_engine: Callable[..., LocalEngine],
) -> None:
    engine = make_engine(slots=1)
    running = engine.stream(HELLO, ENDLESS)
    waiting = engine.stream(HELLO, GREEDY)
    while not isinstance(next(running), Token):
        continue
    engine.close(grace_s=0)
    done, failed = last(running), last(waiting)
    assert isinstance(done, Done)
    assert done.finish == "cancelled"
    assert done.text
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, EngineClosedError)


def test_a_closed_engine_has_let_go_of_its_model(make_engine: Callable[..., LocalEngine]) -> None:
    engine = make_engine()
    engine.close(grace_s=0)
    assert engine._asker is None and engine._writer is None
    for refused in (lambda: engine.context_use(HELLO), lambda: engine.stream(HELLO, GREEDY)):
        with pytest.raises(EngineClosedError):
            refused()
