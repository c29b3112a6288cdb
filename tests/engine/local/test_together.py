"""Replies that are written at once are those of the same conversations alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, Failed, GenerationSettings, Looking, Queued, Token
from llava_chat.engine.local import LocalEngine, ReplyStream
from llava_chat.engine.local.step import FixedStep
from llava_chat.engine.local.writer import Writer
from llava_chat.image import Picture
from llava_chat.model.checkpoint import Checkpoint

GREEDY = GenerationSettings(temperature=0, max_new_tokens=12)
SAMPLED = GenerationSettings(temperature=1, top_p=0.9, top_k=50, seed=3, max_new_tokens=12)
PENALISED = GenerationSettings(
    temperature=0.8, repetition_penalty=1.2, seed=5, stop=(" re",), max_new_tokens=20
)
ENDLESS = replace(GREEDY, max_new_tokens=3000)


def last(stream: ReplyStream) -> Done | Failed:
    *_, event = stream
    assert isinstance(event, Done | Failed)
    return event


def ids(stream: ReplyStream) -> tuple[int, ...]:
    done = last(stream)
    assert isinstance(done, Done), done
    return done.token_ids


@pytest.fixture
def talks(make_picture: Callable[..., Picture]) -> list[Conversation]:
    """Of very different lengths, some with pictures, two that share one."""
    words = ["Hello", "Why? " * 60, "What is this?", "Compare them", "And this? " * 20, "Where?"]
    shown = [(), (), (1,), (1, 2), (3,), (2,)]
    return [
        Conversation((Turn("user", text, tuple(map(make_picture, numbers))),))
        for text, numbers in zip(words, shown, strict=True)
    ]


def test_each_row_has_its_own_settings_and_tokens(
    make_engine: Callable[..., LocalEngine], talks: list[Conversation]
) -> None:
    asked = list(zip(talks, [GREEDY, SAMPLED, PENALISED] * 2, strict=True))
    alone = [ids(make_engine(slots=1).stream(*each)) for each in asked]
    for slots in (6, 3):
        engine = make_engine(slots=slots)
        for _ in range(2):  # from nothing, then from what is in the rows
            streams = [engine.stream(*each) for each in asked]
            assert [ids(stream) for stream in streams] == alone
    assert len(set(alone)) == len(alone)


def test_a_long_prompt_does_not_stop_the_others(
    make_engine: Callable[..., LocalEngine], checkpoint: Checkpoint
) -> None:
    engine = make_engine(slots=2)
    running = engine.stream(Conversation((Turn("user", "Hello"),)), ENDLESS)
    assert isinstance(next(running), Looking)
    assert isinstance(next(running), Token)
    steps: list[int] = []
    hook = checkpoint.model.language_model.model.layers[0].mlp.register_forward_hook(
        lambda _module, inputs, _logits: steps.append(inputs[0].shape[1])
    )
    try:
        late = engine.stream(Conversation((Turn("user", "word " * 400),)), GREEDY)
        assert isinstance(next(event for event in late if isinstance(event, Token)), Token)
    finally:
        hook.remove()
    running.close()
    prompt = [place for place, tokens in enumerate(steps) if tokens > 1]
    assert len(prompt) > 3
    # After each piece of the prompt the other one got a token.
    assert all(steps[place + 1] == 1 for place in prompt[:-1])


def test_a_cancelled_reply_makes_room_at_the_next_step(
    make_engine: Callable[..., LocalEngine], talks: list[Conversation]
) -> None:
    engine = make_engine(slots=2)
    first, second = engine.stream(talks[0], ENDLESS), engine.stream(talks[1], ENDLESS)
    for stream in (first, second):
        while not isinstance(next(stream), Token):
            continue
    third = engine.stream(talks[2], GREEDY)
    first.cancel()
    assert ids(third)
    assert engine.load().running == 1
    second.cancel()
    cut = [last(stream) for stream in (first, second)]
    assert [done.finish for done in cut if isinstance(done, Done)] == ["cancelled"] * 2


@pytest.mark.parametrize("while_reading", [True, False])
def test_without_memory_one_reply_fails_and_the_others_go_on(
    make_engine: Callable[..., LocalEngine],
    checkpoint: Checkpoint,
    talks: list[Conversation],
    while_reading: bool,
) -> None:
    expected = ids(make_engine().stream(talks[0], replace(GREEDY, max_new_tokens=200)))
    engine = make_engine(slots=3)
    running = engine.stream(talks[0], replace(GREEDY, max_new_tokens=200))
    while not isinstance(next(running), Token):
        continue
    failing = threading.Event()

    def fail(_module: object, inputs: tuple[torch.Tensor]) -> None:
        rows, tokens = inputs[0].shape[:2]
        hit = tokens > 1 if while_reading else rows > 1
        if hit and not failing.is_set():
            failing.set()
            raise torch.OutOfMemoryError("CUDA out of memory")

    hook = checkpoint.model.language_model.model.layers[0].mlp.register_forward_pre_hook(fail)
    try:
        failed = last(engine.stream(talks[2], replace(GREEDY, max_new_tokens=200)))
    finally:
        hook.remove()
    assert isinstance(failed, Failed)
    assert "not enough memory" in str(failed.error)
    again = ids(engine.stream(talks[2], GREEDY))
    done = last(running)
    assert isinstance(done, Done)
    assert done.token_ids == expected
    assert again == ids(make_engine().stream(talks[2], GREEDY))


def test_what_is_no_number_poisons_nobody(
    make_engine: Callable[..., LocalEngine], checkpoint: Checkpoint, talks: list[Conversation]
) -> None:
    expected = [ids(make_engine().stream(talk, GREEDY)) for talk in talks[:2]]
    engine = make_engine(slots=2)
    broken = iter([True])

    def poison(_module: object, _inputs: object, keys: torch.Tensor) -> torch.Tensor | None:
        return keys * torch.nan if keys.shape[1] > 40 and next(broken, False) else None

    layer = checkpoint.model.language_model.model.layers[0]
    hook = layer.self_attn.v_proj.register_forward_hook(poison)
    try:
        failed = last(engine.stream(talks[1], GREEDY))
    finally:
        hook.remove()
    assert isinstance(failed, Failed)
    assert "not a number" in str(failed.error)
    # A short and a long one beside each other: the short one's mask hides where the damage was.
    both = [engine.stream(talk, GREEDY) for talk in talks[:2]]
    assert [ids(stream) for stream in both] == expected


def test_memory_is_what_was_stated(
    make_engine: Callable[..., LocalEngine], talks: list[Conversation]
) -> None:
    engine = make_engine(slots=2, context_tokens=512)
    before = engine.load()
    assert (before.slots, before.capacity_tokens, before.kept_tokens) == (2, 1024, 0)
    writer = engine._writer
    assert isinstance(writer, Writer)
    tensors = writer._cache._stored()
    places = [each.data_ptr() for each in tensors]
    for talk in talks:
        assert ids(engine.stream(talk, GREEDY))
    assert [each.data_ptr() for each in tensors] == places
    assert sum(each.nbytes for each in tensors) + writer._eye._features.bytes <= (
        engine.load().reserved_bytes
    )
    assert engine.load().reserved_bytes == before.reserved_bytes
    assert 0 < engine.load().kept_tokens <= before.capacity_tokens


def test_those_who_wait_are_told_for_how_long(
    make_engine: Callable[..., LocalEngine], talks: list[Conversation]
) -> None:
    engine = make_engine(slots=1)
    assert engine.load().wait_s == 0
    assert ids(engine.stream(talks[0], GREEDY))
    running = engine.stream(talks[0], ENDLESS)
    waiting = next(engine.stream(talks[1], GREEDY))
    assert isinstance(waiting, Queued)
    assert waiting.place == 1
    assert waiting.wait_s
    assert engine.load().wait_s == pytest.approx(2 * waiting.wait_s)
    running.close()


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["ask", "ask", "show", "again", "edit", "stop", "begin"]),
        st.integers(0, 2),
        st.sampled_from([1, 4, 12]),
    ),
    min_size=3,
    max_size=14,
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=EVENTS, slots=st.integers(1, 4), fixed=st.booleans())
def test_any_schedule_gives_the_tokens_of_each_alone(
    events: list[tuple[int, str, int, int]],
    slots: int,
    fixed: bool,
    checkpoint: Checkpoint,
    make_picture: Callable[..., Picture],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four people at once, who ask, show, edit, stop and begin anew, on fewer slots or as many."""
    with monkeypatch.context() as patched:
        if fixed:  # the shapes of a recorded step, run as they are
            patched.setattr("llava_chat.engine.local.writer.Step", FixedStep)
        engine, single = LocalEngine(checkpoint, slots=slots), LocalEngine(checkpoint, slots=1)
    talks = [Conversation((Turn("user", "What is it?", (make_picture(n),)),)) for n in range(4)]
    running: dict[int, tuple[ReplyStream, GenerationSettings]] = {}

    def end(who: int) -> None:
        if who in running:
            stream, asked = running.pop(who)
            found = ids(stream)
            single_done = last(single.stream(talks[who], asked))
            assert isinstance(single_done, Done)
            assert found == single_done.token_ids
            turn = Turn("assistant", single_done.text, token_ids=found)
            talks[who] = replace(talks[who], turns=(*talks[who].turns, turn))

    try:
        for who, action, number, tokens in events:
            end(who)
            talk = talks[who]
            if action == "begin":
                talk = Conversation((Turn("user", f"Begin {number}", (make_picture(number),)),))
            elif talk.turns[-1].role == "assistant":
                pictures = (make_picture(number),) if action == "show" else ()
                turns = talk.turns[:-1] if action == "again" else talk.turns
                turns = (*turns, Turn("user", f"Why {number}?", pictures))
                if action == "again":
                    turns = turns[:-1]
                elif action == "edit":
                    turns = (*turns[:-3], replace(turns[-3], text=f"Edited {number}"))
                talk = replace(talk, turns=turns)
            talks[who] = talk
            if action == "stop":
                stream = engine.stream(talk, ENDLESS)
                for _ in range(number + 1):
                    next(stream)
                stream.close()
            asked = replace(SAMPLED if number == 2 else GREEDY, max_new_tokens=tokens)
            running[who] = engine.stream(talk, asked), asked
        for who in range(4):
            end(who)
    finally:
        engine.close(grace_s=0)
        single.close(grace_s=0)
