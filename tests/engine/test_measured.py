"""Watching replies changes none of them, and costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, Failed, GenerationSettings, Token, whole_reply
from llava_chat.engine.local import LocalEngine
from llava_chat.engine.measured import PROBE, MeasuredEngine
from llava_chat.errors import EngineClosedError, LlavaChatError, UsageError
from llava_chat.model.checkpoint import Checkpoint

HELLO = Conversation((Turn("user", "Hello"),))
SHORT = GenerationSettings(temperature=0, max_new_tokens=6)
LONG = GenerationSettings(temperature=0, max_new_tokens=900)


class Notes:
    """What the watcher was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def reading(self, prompt_tokens: int, reused_tokens: int) -> None:
        self.told.append(("reading", prompt_tokens, reused_tokens))

    def first_token(self, waited_s: float) -> None:
        assert waited_s > 0
        self.told.append(("first",))

    def token(self, waited_s: float) -> None:
        assert waited_s >= 0
        self.told.append(("token",))

    def ended(self, finish: str) -> None:
        self.told.append(("ended", finish))

    def failed(self, error: LlavaChatError) -> None:
        self.told.append(("failed", type(error).__name__))


@pytest.fixture
def local(random_checkpoint: Callable[..., Checkpoint]) -> Iterator[LocalEngine]:
    engine = LocalEngine(random_checkpoint())
    yield engine
    engine.close(0)


def test_a_reply_is_the_same_and_is_told_of(local: LocalEngine) -> None:
    notes = Notes()
    engine = MeasuredEngine(local, notes)
    plain = whole_reply(local.stream(HELLO, SHORT))
    watched = whole_reply(engine.stream(HELLO, SHORT))
    assert (watched.text, watched.token_ids) == (plain.text, plain.token_ids)
    (reading, *tokens, ended) = notes.told
    assert reading == ("reading", watched.prompt_tokens, watched.reused_tokens)
    assert tokens == [("first",), *[("token",)] * (len(watched.token_ids) - 1)]
    assert ended == ("ended", watched.finish)
    assert engine.model == local.model and engine.load() == local.load()
    assert engine.context_use(HELLO) == local.context_use(HELLO)


def test_ends_are_told_once(local: LocalEngine) -> None:
    notes = Notes()
    engine = MeasuredEngine(local, notes)
    stopped = engine.stream(HELLO, LONG)
    for event in stopped:
        if isinstance(event, Token):
            stopped.cancel()
    assert isinstance(event, Done) and notes.told[-1] == ("ended", "cancelled")
    stopped.close()
    left = engine.stream(HELLO, LONG)
    assert any(isinstance(event, Token) for event in left)
    left.close()
    left.close()
    assert notes.told.count(("ended", "cancelled")) == 2


def test_what_cannot_be_done_is_told_by_its_class(local: LocalEngine) -> None:
    notes = Notes()
    engine = MeasuredEngine(local, notes)
    last = list(engine.stream(Conversation(HELLO.turns, template="none such"), SHORT))[-1]
    assert isinstance(last, Failed) and isinstance(last.error, UsageError)
    engine.close(0)
    with pytest.raises(EngineClosedError):
        engine.stream(HELLO, SHORT)
    assert notes.told == [("failed", "UsageError"), ("failed", "EngineClosedError")]


def test_a_probe_is_nobodys_reply(local: LocalEngine) -> None:
    notes = Notes()
    engine = MeasuredEngine(local, notes)
    assert whole_reply(engine.stream(PROBE, SHORT)).token_ids
    assert notes.told == []
    whole_reply(engine.stream(Conversation((Turn("user", "Hi"),)), SHORT))  # the same, of somebody
    assert notes.told
