"""Replies written in forked processes that are lent for a call, as ZeroGPU lends its GPUs."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import pytest
import torch

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, Event, Failed, GenerationSettings, Looking, Token
from llava_chat.engine.local import LocalEngine
from llava_chat.image import Picture
from llava_chat.model.checkpoint import Checkpoint

GREEDY = GenerationSettings(temperature=0, max_new_tokens=12)
HELLO = Conversation((Turn("user", "Hello"),))
WHO: ContextVar[str] = ContextVar("who", default="nobody")
FORK = multiprocessing.get_context("fork")


class Lender:
    """Stands for `spaces.GPU`, which is a no-op elsewhere: what it lends is this machine's CPU.

    A call runs in a forked process, its arguments and results are pickled, what is raised there is
    told by the name of its class alone.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []

    def __call__(self, *, duration: Callable[..., float]) -> Callable[[Any], Any]:
        def lend(task: Callable[..., Iterator[Event]]) -> Callable[..., Iterator[Event]]:
            def call(*args: Any) -> Iterator[Event]:
                self.calls.append((WHO.get(), duration(*args)))
                results: Any = FORK.SimpleQueue()
                arguments: Any = FORK.SimpleQueue()
                child = FORK.Process(target=run, args=(task, arguments, results), daemon=True)
                child.start()
                arguments.put(args)
                while (found := results.get()) is not None:
                    if isinstance(found, str):
                        raise RuntimeError(found)
                    yield found
                child.join()

            return call

        return lend


def run(task: Callable[..., Iterator[Event]], arguments: Any, results: Any) -> None:
    torch.set_num_threads(1)  # the parent's threads are not in its child
    try:
        for event in task(*arguments.get()):
            results.put(event)
        results.put(None)
    except Exception as error:
        results.put(type(error).__name__)
    finally:
        os._exit(0)


@pytest.fixture
def lender() -> Lender:
    return Lender()


@pytest.fixture
def plain(make_engine: Callable[..., LocalEngine], lender: Lender) -> LocalEngine:
    """An engine that has nothing but what it is lent."""
    return make_engine(lend=lender)


def done(events: Iterator[Event]) -> Done:
    *_, last = events
    assert isinstance(last, Done), last
    return last


def test_replies_are_those_of_an_engine_with_a_device_of_its_own(
    plain: LocalEngine,
    make_engine: Callable[..., LocalEngine],
    make_picture: Callable[..., Picture],
    lender: Lender,
) -> None:
    engine, talk = make_engine(), Conversation()
    for number in range(3):
        pictures = (make_picture(number),) if number != 1 else ()
        talk = replace(talk, turns=(*talk.turns, Turn("user", f"Why {number}?", pictures)))
        expected = done(engine.stream(talk, GREEDY))
        looking, *tokens, last = plain.stream(talk, GREEDY)
        assert isinstance(looking, Looking) and isinstance(last, Done)
        assert all(isinstance(token, Token) for token in tokens)
        assert (last.token_ids, last.text) == (expected.token_ids, expected.text)
        assert 0 < (last.first_token_s or 0) <= last.total_s
        talk = replace(
            talk, turns=(*talk.turns, Turn("assistant", last.text, token_ids=last.token_ids))
        )
    assert len(lender.calls) == 3
    assert all(0 < seconds <= GREEDY.deadline_s + 5 for _, seconds in lender.calls)
    assert plain.load().slots == 1


def test_the_call_is_made_in_the_name_of_who_asked(plain: LocalEngine, lender: Lender) -> None:
    for who in ("one", "two"):
        token = WHO.set(who)
        stream = plain.stream(HELLO, GREEDY)
        WHO.reset(token)
        assert done(stream).token_ids
    assert [who for who, _ in lender.calls] == ["one", "two"]


def test_those_who_ask_at_once_are_answered_one_after_the_other(
    plain: LocalEngine, make_engine: Callable[..., LocalEngine], lender: Lender
) -> None:
    talks = [Conversation((Turn("user", f"Hello {n}"),)) for n in range(4)]
    streams = [plain.stream(talk, GREEDY) for talk in talks]
    engine = make_engine()
    for stream, talk in zip(streams, talks, strict=True):
        assert done(stream).token_ids == done(engine.stream(talk, GREEDY)).token_ids
    assert len(lender.calls) == 4


def test_stopping_reaches_the_other_process(plain: LocalEngine) -> None:
    stream = plain.stream(HELLO, replace(GREEDY, max_new_tokens=4000))
    seen = [next(stream) for _ in range(4)]
    stream.cancel()
    last = done(stream)
    assert last.finish == "cancelled"
    assert len(seen) - 1 <= len(last.token_ids) < 4000
    assert done(plain.stream(HELLO, GREEDY)).finish == "length"


def test_the_deadline_counts_from_arrival(plain: LocalEngine) -> None:
    last = done(plain.stream(HELLO, replace(GREEDY, max_new_tokens=4000, deadline_s=1.5)))
    assert last.finish == "deadline"
    assert last.total_s >= 1.5


def test_an_error_comes_back_as_a_sentence(
    make_engine: Callable[..., LocalEngine],
    lender: Lender,
    checkpoint: Checkpoint,
) -> None:
    engine = make_engine(lend=lender)

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    hook = checkpoint.model.language_model.model.layers[0].mlp.register_forward_pre_hook(fail)
    try:
        *_, last = engine.stream(HELLO, GREEDY)
    finally:
        hook.remove()
    assert isinstance(last, Failed)
    assert "not enough memory" in str(last.error)
    assert done(engine.stream(HELLO, GREEDY)).token_ids
