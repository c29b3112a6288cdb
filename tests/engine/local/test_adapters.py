"""Replies with adapters of their own are those of processes that were opened with the adapter."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from transformers import PreTrainedTokenizerFast

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import AdapterChoice, Done, Failed, GenerationSettings, Token
from llava_chat.engine.local import LocalEngine, ReplyStream
from llava_chat.engine.local.step import FixedStep
from llava_chat.errors import SettingError
from llava_chat.image import Picture
from llava_chat.model.adapter_folders import AdapterFolders
from llava_chat.model.adapters import apply_adapter, read_adapter
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.training.adapter.lora import Lora, put_on, save_adapter
from tests.engine.local.conftest import tiny_checkpoint
from tests.engine.local.test_plain import Lender

GREEDY = GenerationSettings(temperature=0, max_new_tokens=12)
SAMPLED = replace(GREEDY, temperature=1, top_p=0.9, seed=3)
NAMES = (None, "a", "b", "c")


def write_adapter(tokenizer: PreTrainedTokenizerFast, folder: Path, seed: int) -> Path:
    """An adapter that changes what the tiny checkpoint says; every second one its head, too."""
    model = tiny_checkpoint(tokenizer).model
    lora = Lora(4, 8, head=seed % 2 == 0)
    put_on(model, lora, seed)
    torch.manual_seed(seed)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn_like(weight) * 0.1
    save_adapter(model, lora, folder, base="tiny")
    return folder


@pytest.fixture(scope="module")
def shelf(llama_like: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three adapters; nobody may change it."""
    parent = tmp_path_factory.mktemp("adapters")
    for seed, name in enumerate(NAMES[1:]):
        write_adapter(llama_like, parent / str(name), seed)
    return parent


@pytest.fixture(scope="module")
def opened_with(
    shelf: Path, llama_like: PreTrainedTokenizerFast
) -> Iterator[dict[str | None, LocalEngine]]:
    """One engine for each adapter, put on its model as --adapter puts it, and one without."""
    engines = {}
    for name in NAMES:
        source = tiny_checkpoint(llama_like)
        if name is not None:
            apply_adapter(source.model, read_adapter(shelf / name))
        engines[name] = LocalEngine(source, slots=1)
    yield engines
    for engine in engines.values():
        engine.close(grace_s=0)


def talk(*pictures: Picture, text: str = "What is it?") -> Conversation:
    return Conversation((Turn("user", text, pictures),))


def last(stream: ReplyStream) -> Done | Failed:
    *_, event = stream
    assert isinstance(event, Done | Failed)
    return event


def done(stream: ReplyStream) -> Done:
    event = last(stream)
    assert isinstance(event, Done), event
    return event


def test_replies_at_once_have_each_their_own_weights(
    make_engine: Callable[..., LocalEngine],
    shelf: Path,
    opened_with: dict[str | None, LocalEngine],
    make_picture: Callable[..., Picture],
) -> None:
    asked = talk(make_picture(1))
    alone = {name: done(opened_with[name].stream(asked, GREEDY)) for name in NAMES}
    assert len({reply.token_ids for reply in alone.values()}) == len(NAMES)
    engine = make_engine(slots=8, adapters=AdapterFolders(shelf))
    streams = [(name, engine.stream(asked, replace(GREEDY, adapter=name))) for name in NAMES * 2]
    for name, stream in streams:
        reply = done(stream)
        assert reply.token_ids == alone[name].token_ids
        if name is None:
            assert reply.model is None
        else:
            assert reply.model is not None and reply.model.adapter is not None
            assert reply.model.adapter.startswith(f"{name}@")
    assert engine.model.adapter is None


def test_what_is_known_of_a_conversation_is_of_one_adapter(
    make_engine: Callable[..., LocalEngine],
    shelf: Path,
    opened_with: dict[str | None, LocalEngine],
    make_picture: Callable[..., Picture],
) -> None:
    engine = make_engine(slots=2, adapters=AdapterFolders(shelf))
    asked = talk(make_picture(1))
    reused = []
    for name in ("a", "a", None, "a", "b"):
        reply = done(engine.stream(asked, replace(GREEDY, adapter=name)))
        assert reply.token_ids == done(opened_with[name].stream(asked, GREEDY)).token_ids
        reused.append(reply.reused_tokens)
    whole = reply.prompt_tokens - 1
    assert reused == [0, whole, 0, whole, 0]


def test_a_picture_is_looked_at_once_for_all(
    make_engine: Callable[..., LocalEngine],
    checkpoint: Checkpoint,
    shelf: Path,
    make_picture: Callable[..., Picture],
) -> None:
    engine, looked = make_engine(adapters=AdapterFolders(shelf)), itertools.count()
    hook = checkpoint.model.tower.register_forward_hook(lambda *_: print(next(looked)))
    try:
        for name in NAMES:
            assert done(engine.stream(talk(make_picture(1)), replace(GREEDY, adapter=name)))
    finally:
        hook.remove()
    assert next(looked) == 1


def test_the_list_is_read_anew_and_tells_what_is_wrong(
    make_engine: Callable[..., LocalEngine],
    shelf: Path,
    tmp_path: Path,
    llama_like: PreTrainedTokenizerFast,
) -> None:
    parent = tmp_path / "adapters"
    engine = make_engine(adapters=AdapterFolders(parent, {"far": shelf / "c"}))
    assert engine.adapters() == (AdapterChoice("far"),)
    shutil.copytree(shelf / "a", parent / "a")
    (parent / "unfinished").mkdir()
    shutil.copytree(shelf / "a", parent / "not a name")
    shutil.copytree(shelf / "b", parent / "code")
    config = parent / "code" / "adapter_config.json"
    config.write_text(config.read_text().replace("{", '{"auto_map": "x.py", ', 1))
    assert [choice.name for choice in engine.adapters()] == ["a", "code", "far"]
    assert ["auto_map" in choice.problem for choice in engine.adapters()] == [False, True, False]
    before = done(engine.stream(talk(), replace(GREEDY, adapter="a")))
    write_adapter(llama_like, parent / "a", seed=7)  # trained again, under the same name
    after = done(engine.stream(talk(), replace(GREEDY, adapter="a")))
    assert before.token_ids != after.token_ids and after.reused_tokens == 0
    assert before.model is not None and after.model is not None
    assert before.model.adapter != after.model.adapter
    shutil.rmtree(parent / "a")
    for name, words in {"a": "is not here", "code": "auto_map"}.items():
        failed = last(engine.stream(talk(), replace(GREEDY, adapter=name)))
        assert isinstance(failed, Failed) and words in str(failed.error)
    with pytest.raises(SettingError, match="adapter must be the name"):
        replace(GREEDY, adapter="../far")


def test_an_adapter_of_another_model_is_refused_and_named(
    make_engine: Callable[..., LocalEngine],
    shelf: Path,
    tmp_path: Path,
    llama_like: PreTrainedTokenizerFast,
    random_checkpoint: Callable[..., Checkpoint],
) -> None:
    other = random_checkpoint()
    put_on(other.model, Lora(2, 2), 0)
    save_adapter(other.model, Lora(2, 2), tmp_path / "other", base="other")
    (choice,) = make_engine(adapters=AdapterFolders(tmp_path)).adapters()
    assert choice.name == "other" and "trained on another" in choice.problem
    with_one = tiny_checkpoint(llama_like)
    apply_adapter(with_one.model, read_adapter(shelf / "a"))
    problems = [
        each.problem for each in make_engine(with_one, adapters=AdapterFolders(shelf)).adapters()
    ]
    assert (
        problems
        == [
            "The model was opened with an adapter on it; open it without one to choose "
            "among several."
        ]
        * 3
    )
    (tmp_path / "other" / "mm_projector.bin").touch()
    beside = tmp_path / "beside"
    shutil.copytree(shelf / "a", beside / "a")
    (beside / "a" / "mm_projector.bin").touch()
    (choice,) = make_engine(adapters=AdapterFolders(beside)).adapters()
    assert "start with --adapter" in choice.problem


def test_so_many_are_in_memory_and_others_wait_for_them(
    make_engine: Callable[..., LocalEngine],
    shelf: Path,
    opened_with: dict[str | None, LocalEngine],
) -> None:
    engine = make_engine(slots=3, adapters=AdapterFolders(shelf), max_adapters=1)
    assert engine.load().adapter_bytes == 0
    running = engine.stream(talk(), replace(GREEDY, adapter="a", max_new_tokens=3000))
    while not isinstance(next(running), Token):
        continue
    one = engine.load().adapter_bytes
    assert one > 0
    waiting = engine.stream(talk(), replace(GREEDY, adapter="c"))
    plain = done(engine.stream(talk(), GREEDY))  # nobody waits behind the one that waits
    assert plain.token_ids == done(opened_with[None].stream(talk(), GREEDY)).token_ids
    running.close()
    expected = done(opened_with["c"].stream(talk(), GREEDY))
    assert done(waiting).token_ids == expected.token_ids
    for name in ("b", "a", "c"):
        assert done(engine.stream(talk(), replace(GREEDY, adapter=name)))
        assert 0 < engine.load().adapter_bytes <= 2 * one


def test_one_that_is_damaged_after_it_was_listed_fails_alone(
    make_engine: Callable[..., LocalEngine], shelf: Path, tmp_path: Path
) -> None:
    shutil.copytree(shelf / "a", tmp_path / "a")
    engine = make_engine(adapters=AdapterFolders(tmp_path))
    weights = tmp_path / "a" / "adapter_model.safetensors"
    assert engine.adapters() == (AdapterChoice("a"),)
    before, content = weights.stat(), bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))  # nobody sees it coming
    failed = last(engine.stream(talk(), replace(GREEDY, adapter="a")))
    assert isinstance(failed, Failed) and "was changed while it was read" in str(failed.error)
    assert done(engine.stream(talk(), GREEDY))


def test_where_a_gpu_is_lent_by_the_call(
    make_engine: Callable[..., LocalEngine],
    shelf: Path,
    opened_with: dict[str | None, LocalEngine],
    make_picture: Callable[..., Picture],
) -> None:
    engine = make_engine(lend=Lender(), adapters=AdapterFolders(shelf))
    asked = talk(make_picture(1))
    for name in ("a", None):
        reply = done(engine.stream(asked, replace(GREEDY, adapter=name)))
        assert reply.token_ids == done(opened_with[name].stream(asked, GREEDY)).token_ids
        assert (reply.model is None) == (name is None)


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["ask", "ask", "again", "stop", "begin"]),
        st.sampled_from(NAMES),
        st.sampled_from([1, 4, 12]),
        st.booleans(),
    ),
    min_size=4,
    max_size=14,
)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=EVENTS, slots=st.integers(1, 4), most=st.integers(1, 3), fixed=st.booleans())
def test_any_schedule_gives_the_tokens_of_each_alone(
    events: list[tuple[int, str, str | None, int, bool]],
    slots: int,
    most: int,
    fixed: bool,
    checkpoint: Checkpoint,
    shelf: Path,
    opened_with: dict[str | None, LocalEngine],
    make_picture: Callable[..., Picture],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four people who change their adapters in the middle of conversations."""
    with monkeypatch.context() as patched:
        if fixed:  # the shapes of a recorded step; those with an adapter are never recorded
            patched.setattr("llava_chat.engine.local.writer.Step", FixedStep)
        engine = LocalEngine(
            checkpoint, slots=slots, adapters=AdapterFolders(shelf), max_adapters=most
        )
    talks = [talk(make_picture(number)) for number in range(4)]
    running: dict[int, tuple[ReplyStream, GenerationSettings]] = {}

    def end(who: int) -> None:
        if who in running:
            stream, asked = running.pop(who)
            reply = done(stream)
            plainly = replace(asked, adapter=None)
            expected = done(opened_with[asked.adapter].stream(talks[who], plainly))
            assert reply.token_ids == expected.token_ids
            turn = Turn("assistant", reply.text, token_ids=reply.token_ids)
            talks[who] = replace(talks[who], turns=(*talks[who].turns, turn))

    try:
        for who, action, name, tokens, sampled in events:
            end(who)
            if action == "begin":
                talks[who] = talk(make_picture(who), text=f"Begin {name}")
            elif talks[who].turns[-1].role == "assistant":
                turns = talks[who].turns[: -1 if action == "again" else None]
                more = () if action == "again" else (Turn("user", "Why?"),)
                talks[who] = replace(talks[who], turns=(*turns, *more))
            if action == "stop":
                stream = engine.stream(talks[who], replace(GREEDY, adapter=name))
                next(stream)
                stream.close()
            asked = replace(SAMPLED if sampled else GREEDY, max_new_tokens=tokens, adapter=name)
            running[who] = engine.stream(talks[who], asked), asked
        for who in range(4):
            end(who)
    finally:
        engine.close(grace_s=0)
