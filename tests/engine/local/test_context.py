"""What of a conversation the model reads, how long a reply may get, and what is told of both."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import ContextUse, Done, GenerationSettings
from llava_chat.engine.local import LocalEngine, open_engine
from llava_chat.errors import CheckpointError, ContextFullError
from llava_chat.image import Picture
from llava_chat.model.checkpoint import Checkpoint, save_checkpoint

GREEDY = GenerationSettings(temperature=0, max_new_tokens=8)
SYSTEM = "Be brief."


def talk(exchanges: int, *pictures: Picture) -> Conversation:
    turns: list[Turn] = []
    for number in range(exchanges):
        shown = pictures if number == 0 else ()
        turns += [Turn("user", f"What is at {number}?", shown), Turn("assistant", "A star.")]
    return Conversation((*turns, Turn("user", "And now?")), system=SYSTEM)


def test_the_model_is_described(make_engine: Callable[..., LocalEngine]) -> None:
    model = make_engine(context_tokens=99).model
    assert (model.id, model.revision, model.template) == ("tiny", "1", "vicuna_v1")
    assert (model.device, model.dtype, model.context_tokens) == ("cpu", "float32", 99)
    assert model.parameters > 100_000
    assert make_engine(context_tokens=10**9).model.context_tokens == 4096


def test_the_oldest_exchanges_give_way_and_the_picture_stays(
    make_engine: Callable[..., LocalEngine],
    make_picture: Callable[..., Picture],
    finish: Callable[..., Done],
) -> None:
    engine = make_engine(context_tokens=160)
    long = talk(20, make_picture(1))
    done = finish(engine.stream(long, GREEDY))
    assert done.dropped_turns > 0
    assert done.dropped_turns % 2 == 0
    assert done.prompt_tokens <= 160 - GREEDY.max_new_tokens
    kept = list(long.turns[done.dropped_turns :])
    kept[0] = replace(kept[0], images=(make_picture(1),))
    again = finish(engine.stream(Conversation(tuple(kept), system=SYSTEM), GREEDY))
    assert again.dropped_turns == 0
    assert again.token_ids == done.token_ids


def test_a_reply_ends_where_the_context_ends(
    make_engine: Callable[..., LocalEngine], finish: Callable[..., Done]
) -> None:
    engine = make_engine(context_tokens=100)
    done = finish(engine.stream(talk(0), replace(GREEDY, max_new_tokens=4000)))
    assert done.finish == "length"
    assert done.prompt_tokens + len(done.token_ids) == 100


def test_a_long_message_leaves_room_for_a_short_reply_at_least(
    make_engine: Callable[..., LocalEngine], finish: Callable[..., Done]
) -> None:
    size = finish(make_engine().stream(talk(0), GREEDY)).prompt_tokens
    tight = make_engine(context_tokens=size + 16)
    done = finish(tight.stream(talk(3), replace(GREEDY, max_new_tokens=500)))
    assert (done.dropped_turns, len(done.token_ids), done.finish) == (6, 16, "length")


def test_the_use_of_the_context_is_counted_without_the_model(
    make_engine: Callable[..., LocalEngine], finish: Callable[..., Done]
) -> None:
    engine = make_engine(context_tokens=400)
    short = talk(1)
    prompt_tokens = finish(engine.stream(short, GREEDY)).prompt_tokens
    assert engine.context_use(short) == ContextUse(prompt_tokens, 400, 0)
    with_reply = Conversation((*short.turns, Turn("assistant", "A star.")), system=SYSTEM)
    assert engine.context_use(with_reply).prompt_tokens > prompt_tokens
    assert engine.context_use(Conversation()).prompt_tokens > 0
    full = engine.context_use(talk(40))
    assert full.dropped_turns > 0
    assert full.prompt_tokens <= 300
    with pytest.raises(ContextFullError):
        engine.context_use(Conversation((Turn("user", "word " * 1000),)))


def test_the_use_of_the_context_is_that_of_the_reply_asked_for(
    make_engine: Callable[..., LocalEngine], finish: Callable[..., Done]
) -> None:
    engine = make_engine(context_tokens=200)
    for max_new_tokens in (1, 30, 500):
        done = finish(engine.stream(talk(12), replace(GREEDY, max_new_tokens=max_new_tokens)))
        use = engine.context_use(talk(12), max_new_tokens)
        assert use == ContextUse(done.prompt_tokens, 200, done.dropped_turns)
    short, long = (engine.context_use(talk(12), each).dropped_turns for each in (1, 500))
    assert short < long


def test_a_picture_that_is_carried_on_is_not_left_out(
    make_engine: Callable[..., LocalEngine], make_picture: Callable[..., Picture]
) -> None:
    engine = make_engine(context_tokens=160)
    use = engine.context_use(talk(20, make_picture(1)))
    assert (use.dropped_turns > 0, use.dropped_pictures) == (True, 0)
    newer = talk(20, make_picture(1), make_picture(2))
    turns = (*newer.turns[:-1], Turn("user", "And this?", (make_picture(3),)))
    assert engine.context_use(replace(newer, turns=turns)).dropped_pictures == 2


def test_a_seed_is_drawn_reported_and_repeats_the_reply(
    engine: LocalEngine, finish: Callable[..., Done]
) -> None:
    settings = GenerationSettings(temperature=1.5, top_p=1, max_new_tokens=20)
    first, second = (finish(engine.stream(talk(0), settings)) for _ in range(2))
    assert first.seed is not None
    assert first.token_ids != second.token_ids
    repeated = finish(engine.stream(talk(0), replace(settings, seed=first.seed)))
    assert (repeated.seed, repeated.token_ids) == (first.seed, first.token_ids)


def test_an_engine_is_opened_from_a_folder(
    checkpoint: Checkpoint, tmp_path: Path, finish: Callable[..., Done], engine: LocalEngine
) -> None:
    save_checkpoint(checkpoint, tmp_path)
    opened = open_engine(str(tmp_path), device="cpu", template="llava_v1", max_waiting=3)
    try:
        assert opened.model.template == "llava_v1"
        same = replace(talk(1), template="vicuna_v1")
        expected = finish(engine.stream(same, GREEDY)).token_ids
        assert finish(opened.stream(same, GREEDY)).token_ids == expected
    finally:
        opened.close(grace_s=0)
    with pytest.raises(CheckpointError):
        open_engine(str(tmp_path / "nothing"))
