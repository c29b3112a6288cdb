"""Where a reply ends, and that nothing of it is lost there."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

import pytest
from torch import Tensor

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, Event, GenerationSettings, Token
from llava_chat.engine.local import LocalEngine
from llava_chat.image import Picture
from llava_chat.model.checkpoint import Checkpoint

GREEDY = GenerationSettings(temperature=0, max_new_tokens=10)
EOS = 2

Finish = Callable[..., Done]


def question(template: str | None = None) -> Conversation:
    return Conversation((Turn("user", "Is there a star?"),), template=template)


def ids_of(checkpoint: Checkpoint, text: str) -> list[int]:
    ids: list[int] = checkpoint.tokenizer.encode(text, add_special_tokens=False)
    return ids


@contextmanager
def forced(checkpoint: Checkpoint, ids: list[int]) -> Iterator[None]:
    """The model writes these ids, whatever it is asked."""
    wanted = iter(ids)

    def force(_module: object, _inputs: object, logits: Tensor) -> Tensor:
        logits[0, next(wanted)] = 1000
        return logits

    hook = checkpoint.model.language_model.lm_head.register_forward_hook(force)
    try:
        yield
    finally:
        hook.remove()


def assert_whole(events: list[Event], text: str, finish: str, ids: list[int]) -> None:
    """The reply has this text and these ids, and its tokens came one by one with their text."""
    *_, done = events
    assert isinstance(done, Done)
    assert (done.text, done.finish) == (text, finish)
    assert done.token_ids == tuple(ids)
    tokens = [event for event in events if isinstance(event, Token)]
    assert "".join(token.text for token in tokens) == text
    assert [token.token_id for token in tokens] == ids


def test_the_end_token_ends_a_reply_and_is_no_part_of_it(
    checkpoint: Checkpoint,
    make_engine: Callable[..., LocalEngine],
    finish: Finish,
    make_picture: Callable[..., Picture],
) -> None:
    talk = Conversation((Turn("user", "What is this?", (make_picture(1),)),))
    whole = finish(make_engine().stream(talk, GREEDY))
    place = next(p for p in range(2, 10) if whole.token_ids[p] not in whole.token_ids[:p])
    # Another engine's end is the token that was written at that place.
    tokenizer = type(checkpoint.tokenizer)(
        tokenizer_object=checkpoint.tokenizer.backend_tokenizer,
        bos_token="<s>",
        eos_token=checkpoint.tokenizer.convert_ids_to_tokens(whole.token_ids[place]),
    )
    engine = make_engine(replace(checkpoint, tokenizer=tokenizer))
    *events, done = engine.stream(talk, GREEDY)
    assert isinstance(done, Done)
    assert done.finish == "stop"
    assert done.token_ids == whole.token_ids[:place]
    assert len([event for event in events if isinstance(event, Token)]) == place


@pytest.mark.parametrize(("template", "end"), [("llava_v0", "###"), ("mpt", "<|im_end|>")])
def test_a_template_whose_end_is_text_stops_there(
    engine: LocalEngine, checkpoint: Checkpoint, finish: Finish, template: str, end: str
) -> None:
    settings = replace(GREEDY, max_new_tokens=40)
    with forced(checkpoint, ids_of(checkpoint, f"No{end}")):
        done = finish(engine.stream(question(template), settings))
    assert (done.text, done.finish) == ("No", "stop")
    assert checkpoint.tokenizer.decode(done.token_ids) == "No"


@pytest.mark.parametrize(
    ("stop", "kept"),
    [
        (("star is",), "the "),
        (("circle", "is red", "r is"), "the sta"),
        (("###", "è"), "the star is red caf"),
    ],
)
def test_a_callers_stop_ends_a_reply_and_is_no_part_of_it(
    engine: LocalEngine,
    checkpoint: Checkpoint,
    finish: Finish,
    stop: tuple[str, ...],
    kept: str,
) -> None:
    settings = replace(GREEDY, max_new_tokens=60, stop=stop)
    with forced(checkpoint, ids_of(checkpoint, "the star is red cafè### and more")):
        done = finish(engine.stream(question(), settings))
    assert (done.text, done.finish) == (kept, "stop")
    # A token of which a part is the stop's is not kept.
    assert kept.startswith(checkpoint.tokenizer.decode(done.token_ids))


@pytest.mark.parametrize(("text", "kept"), [("No END of###", "No "), ("No###END", "No")])
def test_the_templates_end_still_ends_a_reply_that_has_stops(
    engine: LocalEngine, checkpoint: Checkpoint, finish: Finish, text: str, kept: str
) -> None:
    settings = replace(GREEDY, max_new_tokens=40, stop=("END",))
    with forced(checkpoint, ids_of(checkpoint, f"{text} more")):
        done = finish(engine.stream(question("llava_v0"), settings))
    assert (done.text, done.finish) == (kept, "stop")


def test_a_conversation_goes_on_after_a_callers_stop(
    engine: LocalEngine, checkpoint: Checkpoint, finish: Finish
) -> None:
    settings = replace(GREEDY, max_new_tokens=40, stop=(" is",))
    with forced(checkpoint, ids_of(checkpoint, "the star is red")):
        done = finish(engine.stream(question(), settings))
    reply = Turn("assistant", done.text, token_ids=done.token_ids)
    talk = replace(question(), turns=(*question().turns, reply, Turn("user", "And now?")))
    again = finish(engine.stream(talk, GREEDY))
    fresh = replace(talk, turns=(talk.turns[0], replace(reply, token_ids=None), talk.turns[2]))
    assert again.token_ids == finish(engine.stream(fresh, GREEDY)).token_ids
    assert again.reused_tokens > 0


def test_half_an_end_is_kept_when_the_reply_ends_otherwise(
    engine: LocalEngine, checkpoint: Checkpoint
) -> None:
    ids = ids_of(checkpoint, "the star is C#")
    with forced(checkpoint, [*ids, EOS]):
        stopped = list(engine.stream(question("llava_v0"), replace(GREEDY, max_new_tokens=40)))
    assert_whole(stopped, "the star is C#", "stop", ids)
    with forced(checkpoint, ids):
        cut = list(engine.stream(question("llava_v0"), replace(GREEDY, max_new_tokens=len(ids))))
    assert_whole(cut, "the star is C#", "length", ids)


def test_half_an_end_is_kept_when_the_reply_is_cancelled(
    engine: LocalEngine, checkpoint: Checkpoint
) -> None:
    ids = ids_of(checkpoint, "the star is C#")
    asked = threading.Event()
    steps = count(1)

    def cancel(_module: object, _inputs: object, _logits: Tensor) -> None:
        asked.wait()
        if next(steps) == len(ids):
            stream.cancel()

    hook = checkpoint.model.language_model.lm_head.register_forward_hook(cancel)
    try:
        with forced(checkpoint, [*ids, *ids]):
            stream = engine.stream(question("llava_v0"), replace(GREEDY, max_new_tokens=40))
            asked.set()
            events = list(stream)
    finally:
        hook.remove()
    assert_whole(events, "the star is C#", "cancelled", ids)
