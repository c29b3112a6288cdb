"""A reply that fails says so in a sentence, and the next one works."""

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, Event, Failed, GenerationSettings
from llava_chat.engine.local import LocalEngine
from llava_chat.errors import ContextFullError, EngineError, PictureError, UsageError
from llava_chat.image import Picture
from llava_chat.model.checkpoint import Checkpoint

GREEDY = GenerationSettings(temperature=0, max_new_tokens=6)
HELLO = Conversation((Turn("user", "Hello"),))


def last(engine: LocalEngine, conversation: Conversation) -> Event:
    *_, event = engine.stream(conversation, GREEDY)
    return event


def sentence(event: Event, kind: type[Exception] = EngineError) -> str:
    assert isinstance(event, Failed)
    assert isinstance(event.error, kind)
    assert event.error.__traceback__ is None
    return str(event.error)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (PictureError("This is no picture."), PictureError, "This is no picture."),
        (FileNotFoundError("gone.png"), EngineError, "can no longer be read"),
        (torch.OutOfMemoryError("CUDA out of memory"), EngineError, "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory"), EngineError, "not enough memory"),
        (MemoryError(), EngineError, "not enough memory"),
    ],
)
def test_a_picture_that_fails(
    make_engine: Callable[..., LocalEngine],
    checkpoint: Checkpoint,
    make_picture: Callable[..., Picture],
    error: Exception,
    kind: type[Exception],
    words: str,
) -> None:
    def fail(_: Picture) -> Tensor:
        raise error

    engine = make_engine(replace(checkpoint, pixels=fail))
    look = Conversation((Turn("user", "What is this?", (make_picture(1),)),))
    before = last(engine, HELLO)
    assert words in sentence(last(engine, look), kind)
    after = last(engine, HELLO)
    assert isinstance(before, Done) and isinstance(after, Done)
    assert after.token_ids == before.token_ids


def test_an_error_nobody_foresaw_is_logged_and_told_without_its_details(
    make_engine: Callable[..., LocalEngine],
    checkpoint: Checkpoint,
    make_picture: Callable[..., Picture],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: Picture) -> Tensor:
        raise ZeroDivisionError("secret detail")

    engine = make_engine(replace(checkpoint, pixels=fail))
    look = Conversation((Turn("user", "What is this?", (make_picture(1),)),))
    with caplog.at_level(logging.ERROR):
        told = sentence(last(engine, look))
    assert "ZeroDivisionError" in told
    assert "secret" not in told
    assert "secret detail" in caplog.text
    assert isinstance(last(engine, HELLO), Done)


def test_logits_that_are_not_numbers_fail_and_leave_nothing_behind(
    engine: LocalEngine, checkpoint: Checkpoint, make_engine: Callable[..., LocalEngine]
) -> None:
    expected = last(make_engine(), HELLO)
    steps = iter(range(100))

    def poison(_module: object, _inputs: object, logits: Tensor) -> Tensor:
        return logits * float("nan") if next(steps) == 3 else logits

    hook = checkpoint.model.language_model.lm_head.register_forward_hook(poison)
    try:
        assert "not a number" in sentence(last(engine, HELLO))
    finally:
        hook.remove()
    good = last(engine, HELLO)
    assert isinstance(good, Done) and isinstance(expected, Done)
    assert good.token_ids == expected.token_ids
    assert good.reused_tokens == 0


def test_what_is_wrong_with_the_conversation_is_told(
    make_engine: Callable[..., LocalEngine],
) -> None:
    engine = make_engine(context_tokens=128)
    answered = Conversation((*HELLO.turns, Turn("assistant", "Yes?")))
    assert "ends with a message" in sentence(last(engine, answered), UsageError)
    assert "ends with a message" in sentence(last(engine, Conversation()), UsageError)
    unknown = replace(HELLO, template="vicuna_v9")
    assert "vicuna_v9" in sentence(last(engine, unknown), UsageError)
    long = Conversation((Turn("user", "word " * 500),))
    assert "Shorten it" in sentence(last(engine, long), ContextFullError)
    assert isinstance(last(engine, HELLO), Done)
