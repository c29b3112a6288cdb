"""What an engine writes is what the model alone would write, whatever was computed before.

The reference is transformers' own LLaVA, which starts from nothing each time.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from torch import Tensor

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, GenerationSettings, Looking, Token
from llava_chat.engine.local import LocalEngine
from llava_chat.image import Picture
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.tokens import Prompt, tokenize

GREEDY = GenerationSettings(temperature=0, max_new_tokens=10)
ROUNDING = 1e-5
PATIENCE_S = 60  # a guard against waiting for ever

Generate = Callable[[Prompt, int], tuple[int, ...]]
Finish = Callable[..., Done]


def ask(conversation: Conversation, text: str, *pictures: Picture) -> Conversation:
    return replace(conversation, turns=(*conversation.turns, Turn("user", text, pictures)))


def answered(conversation: Conversation, reply: Done) -> Conversation:
    turn = Turn("assistant", reply.text, token_ids=reply.token_ids)
    return replace(conversation, turns=(*conversation.turns, turn))


def prompt_of(conversation: Conversation, checkpoint: Checkpoint) -> Prompt:
    return tokenize(
        conversation,
        checkpoint.tokenizer,
        template=checkpoint.template,
        picture_tokens=lambda _: checkpoint.model.tokens_per_picture,
        image_token_id=checkpoint.model.config.image_token_id,
    )


def read_ahead(engine: LocalEngine, reply: Done) -> int:
    """Wait until the engine has read what is sure to follow; how many tokens it then knows."""
    known = reply.prompt_tokens + len(reply.token_ids)
    end_s = time.monotonic() + PATIENCE_S
    while engine.load().kept_tokens <= known and time.monotonic() < end_s:
        time.sleep(0.001)
    assert engine.load().kept_tokens > known
    return engine.load().kept_tokens


@pytest.fixture
def reply(finish: Finish, checkpoint: Checkpoint, generate: Generate) -> Callable[..., Done]:
    """Reply greedily and check the tokens against transformers'."""

    def run(engine: LocalEngine, conversation: Conversation) -> Done:
        done = finish(engine.stream(conversation, GREEDY))
        expected = generate(prompt_of(conversation, checkpoint), GREEDY.max_new_tokens)
        assert done.token_ids == expected
        return done

    return run


@contextmanager
def recorded_logits(checkpoint: Checkpoint) -> Iterator[list[Tensor]]:
    """The logits of the last position of every step."""
    steps: list[Tensor] = []
    hook = checkpoint.model.language_model.lm_head.register_forward_hook(
        lambda _module, _inputs, logits: steps.append(logits[0].clone())
    )
    try:
        yield steps
    finally:
        hook.remove()


def test_events_come_in_order_and_the_pieces_are_the_text(
    engine: LocalEngine, make_picture: Callable[..., Picture]
) -> None:
    conversation = ask(Conversation(), "What is this?", make_picture(1))
    looking, *tokens, done = engine.stream(conversation, GREEDY)
    assert isinstance(looking, Looking)
    assert (looking.pictures, looking.reused_tokens) == (1, 0)
    assert isinstance(done, Done)
    assert done.finish == "length"
    assert done.prompt_tokens == looking.prompt_tokens
    assert all(isinstance(token, Token) for token in tokens)
    assert tuple(token.token_id for token in tokens) == done.token_ids
    assert "".join(token.text for token in tokens) == done.text
    assert 0 < (done.first_token_s or 0) <= done.total_s


def test_turns_reuse_everything_that_was_computed(
    engine: LocalEngine,
    reply: Callable[..., Done],
    make_picture: Callable[..., Picture],
) -> None:
    talk = ask(Conversation(), "What is this?", make_picture(1))
    first = reply(engine, talk)
    known = read_ahead(engine, first)
    talk = ask(answered(talk, first), "And what is below it?")
    second = reply(engine, talk)
    assert second.reused_tokens == known
    known = read_ahead(engine, second)
    talk = ask(answered(talk, second), "Compare it with this", make_picture(2))
    assert reply(engine, talk).reused_tokens == known


@pytest.mark.parametrize("asked_meanwhile", [False, True])
def test_what_is_read_ahead_changes_no_reply(
    make_engine: Callable[..., LocalEngine],
    reply: Callable[..., Done],
    make_picture: Callable[..., Picture],
    asked_meanwhile: bool,
) -> None:
    """Stop texts leave tokens behind that the next turn does not have; another may take the row."""
    engine = make_engine(slots=1)
    talk = ask(Conversation(), "What is this?", make_picture(1))
    first = reply(engine, talk)
    *_, done = engine.stream(talk, replace(GREEDY, stop=(first.text[-2:],)))
    assert isinstance(done, Done) and done.finish == "stop"
    assert 0 < len(done.token_ids) < len(first.token_ids)
    if asked_meanwhile:
        reply(engine, ask(Conversation(), "Another one?", make_picture(2)))
    else:
        read_ahead(engine, done)
    reply(engine, ask(answered(talk, done), "And what is below it?"))


def test_a_reply_made_again_reads_one_token_only(
    engine: LocalEngine, reply: Callable[..., Done], make_picture: Callable[..., Picture]
) -> None:
    talk = ask(Conversation(), "What is this?", make_picture(1))
    first = reply(engine, talk)
    again = reply(engine, talk)
    assert again.reused_tokens == first.prompt_tokens - 1
    assert again.token_ids == first.token_ids


def test_an_edited_message_reuses_what_stands_before_it(
    engine: LocalEngine,
    checkpoint: Checkpoint,
    reply: Callable[..., Done],
    make_picture: Callable[..., Picture],
) -> None:
    before = answered(
        start := ask(Conversation(), "What is this?", make_picture(1)), reply(engine, start)
    )
    old = reply(engine, ask(before, "Where is it?"))
    edited = reply(engine, ask(before, "How large is it, exactly?"))
    shared = len(prompt_of(before, checkpoint).ids)
    assert shared <= edited.reused_tokens < edited.prompt_tokens
    # The version before the edit was not lost.
    assert reply(engine, ask(before, "Where is it?")).reused_tokens == old.prompt_tokens - 1


def test_pictures_of_one_size_are_not_confused(
    engine: LocalEngine, reply: Callable[..., Done], make_picture: Callable[..., Picture]
) -> None:
    talks = [ask(Conversation(), "What is this?", make_picture(number)) for number in (1, 2)]
    first, second = (reply(engine, talk) for talk in talks)
    assert first.token_ids != second.token_ids
    # The text before the picture is shared, the picture's rows are not.
    picture_tokens = 4
    assert 0 < second.reused_tokens < second.prompt_tokens - picture_tokens
    swapped = (make_picture(2), make_picture(1)), (make_picture(1), make_picture(2))
    both = [reply(engine, ask(Conversation(), "Compare", *pair)) for pair in swapped]
    assert both[0].token_ids != both[1].token_ids


def test_interleaved_conversations_do_not_disturb_each_other(
    engine: LocalEngine, reply: Callable[..., Done], make_picture: Callable[..., Picture]
) -> None:
    talks = [ask(Conversation(), "What is this?", make_picture(number)) for number in (1, 2)]
    for question in ("Why?", "Where?", "How many?"):
        for place, talk in enumerate(talks):
            talks[place] = ask(answered(talk, reply(engine, talk)), question)


def test_little_memory_only_costs_time(
    make_engine: Callable[..., LocalEngine],
    reply: Callable[..., Done],
    make_picture: Callable[..., Picture],
) -> None:
    for slots in (1, 2):
        engine = make_engine(slots=slots, cache_bytes=0)
        talks = [ask(Conversation(), "What is this?", make_picture(number)) for number in (1, 2)]
        for place, talk in enumerate(talks):
            talks[place] = ask(answered(talk, reply(engine, talk)), "Why?")
        for talk in talks:
            reply(engine, talk)


def test_one_slot_keeps_the_newest_conversation_alone(
    make_engine: Callable[..., LocalEngine],
    finish: Finish,
    make_picture: Callable[..., Picture],
) -> None:
    engine = make_engine(slots=1)
    talks = [ask(Conversation(), f"What is this {n}?", make_picture(n)) for n in range(2)]
    reused = [finish(engine.stream(talks[n], GREEDY)).reused_tokens for n in (0, 0, 1, 0)]
    assert reused[1] > reused[3]
    assert reused[2] == reused[3] < 40  # what all conversations begin with


def test_features_are_kept_when_the_words_before_them_change(
    engine: LocalEngine, finish: Finish, make_picture: Callable[..., Picture]
) -> None:
    talk = ask(Conversation(), "What is this?", make_picture(1))
    finish(engine.stream(talk, GREEDY))
    looking, *_ = engine.stream(replace(talk, system="Be brief."), GREEDY)
    assert isinstance(looking, Looking)
    assert looking.pictures == 0
    assert looking.reused_tokens < looking.prompt_tokens // 2


def test_logits_with_and_without_reuse_differ_by_rounding_only(
    make_engine: Callable[..., LocalEngine],
    checkpoint: Checkpoint,
    finish: Finish,
    make_picture: Callable[..., Picture],
) -> None:
    warm = make_engine()
    talk = ask(Conversation(), "What is this?", make_picture(1))
    talk = ask(answered(talk, finish(warm.stream(talk, GREEDY))), "And this?", make_picture(2))
    with recorded_logits(checkpoint) as reused:
        assert finish(warm.stream(talk, GREEDY)).reused_tokens > 0
    with recorded_logits(checkpoint) as fresh:
        assert finish(make_engine().stream(talk, GREEDY)).reused_tokens == 0
    assert len(reused) == len(fresh) == GREEDY.max_new_tokens
    difference = (torch.stack(reused) - torch.stack(fresh)).abs().max()
    assert difference <= ROUNDING


def test_a_prompt_longer_than_a_chunk_is_read_rightly(
    engine: LocalEngine, reply: Callable[..., Done], make_picture: Callable[..., Picture]
) -> None:
    talk = ask(Conversation(), "What is this? " * 160, make_picture(1))
    first = reply(engine, talk)
    assert first.prompt_tokens > 2 * 512
    reply(engine, ask(answered(talk, first), "Why? " * 200, make_picture(2)))


def test_replies_asked_for_together_are_those_asked_for_alone(
    make_engine: Callable[..., LocalEngine],
    finish: Finish,
    make_picture: Callable[..., Picture],
) -> None:
    talks = [ask(Conversation(), "What is this?", make_picture(number)) for number in range(5)]
    alone = [finish(make_engine().stream(talk, GREEDY)).token_ids for talk in talks]
    engine = make_engine()
    streams = [engine.stream(talk, GREEDY) for talk in talks]
    assert [finish(stream).token_ids for stream in reversed(streams)] == alone[::-1]


def test_ids_that_the_model_does_not_know_are_read_as_text(
    engine: LocalEngine, reply: Callable[..., Done], checkpoint: Checkpoint
) -> None:
    foreign = Turn("assistant", "A star.", token_ids=(3, 31_999))
    talk = Conversation((Turn("user", "What is this?"), foreign, Turn("user", "Why?")))
    known = replace(talk, turns=(talk.turns[0], replace(foreign, token_ids=None), talk.turns[2]))
    assert reply(engine, known).token_ids == engine_ids(engine, talk)


def test_ids_that_read_otherwise_are_another_models(
    engine: LocalEngine, reply: Callable[..., Done], checkpoint: Checkpoint
) -> None:
    star = tuple(checkpoint.tokenizer.encode("A red star.", add_special_tokens=False))
    foreign = Turn("assistant", "A star.", token_ids=star)
    talk = Conversation((Turn("user", "What is this?"), foreign, Turn("user", "Why?")))
    known = replace(talk, turns=(talk.turns[0], replace(foreign, token_ids=None), talk.turns[2]))
    assert reply(engine, known).token_ids == engine_ids(engine, talk)


def test_ids_that_end_in_half_a_character_are_the_models_own(
    engine: LocalEngine, reply: Callable[..., Done], checkpoint: Checkpoint
) -> None:
    star = checkpoint.tokenizer.encode("star", add_special_tokens=False)
    half = checkpoint.tokenizer.convert_tokens_to_ids(["<0xF0>", "<0x9F>"])
    turn = Turn("assistant", "star", token_ids=(*star, *half))
    reply(engine, Conversation((Turn("user", "What is this?"), turn, Turn("user", "Why?"))))


def engine_ids(engine: LocalEngine, talk: Conversation) -> tuple[int, ...]:
    *_, done = engine.stream(talk, GREEDY)
    assert isinstance(done, Done)
    return done.token_ids


ACTIONS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(["ask", "ask", "show", "again", "edit", "stop", "forget"]),
        st.integers(0, 2),
    ),
    min_size=2,
    max_size=8,
)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions=ACTIONS, slots=st.integers(1, 4))
def test_any_schedule_gives_the_tokens_of_a_fresh_start(
    actions: list[tuple[int, str, int]],
    slots: int,
    checkpoint: Checkpoint,
    reply: Callable[..., Done],
    make_picture: Callable[..., Picture],
) -> None:
    engine = LocalEngine(checkpoint, slots=slots)
    talks = [ask(Conversation(), "What is this?", make_picture(n)) for n in range(2)]
    try:
        for who, action, number in actions:
            talk = talks[who]
            if action in ("ask", "show"):
                pictures = [make_picture(number)] if action == "show" else []
                talk = ask(answered(talk, reply(engine, talk)), f"Why {number}?", *pictures)
            elif action == "again":
                reply(engine, talk)
            elif action == "edit":
                newest = replace(talk.turns[-1], text=f"Edited {number}")
                talk = replace(talk, turns=(*talk.turns[:-1], newest))
            elif action == "stop":
                stream = engine.stream(talk, replace(GREEDY, max_new_tokens=400))
                for _ in range(number + 1):
                    next(stream)
                stream.close()
            else:
                talk = ask(Conversation(), f"Begin {number}", make_picture(number))
            talks[who] = talk
        for talk in talks:
            reply(engine, talk)
    finally:
        engine.close(grace_s=0)
