"""Sample replies: those of the engine, at no cost to the model that learns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import GenerationSettings, whole_reply
from llava_chat.engine.local import LocalEngine
from llava_chat.errors import UsageError
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.training.watching.samples import (
    Sample,
    SampleReplies,
    greedy_reply,
    hold_out,
    told,
    undisturbed,
)
from tests.training.watching.tiny_run import SAMPLES, Runner, Watched, conversation_of

WORDS = Conversation((Turn("user", "And its colour?"),))


def test_replies_are_those_of_the_engine(train: Runner, tmp_path: Path) -> None:
    checkpoint = train(tmp_path / "run", watched=False).checkpoint
    checkpoint.model.eval().requires_grad_(False)
    asked = [SAMPLES[0].question, SAMPLES[1].question, WORDS]
    ours = [greedy_reply(checkpoint, each, "vicuna_v1", 12) for each in asked]
    engine = LocalEngine(checkpoint, slots=1, context_tokens=256, capture="off")
    try:
        settings = GenerationSettings(temperature=0, max_new_tokens=12)
        theirs = [whole_reply(engine.stream(each, settings)).text.strip() for each in asked]
    finally:
        engine.close(grace_s=0)
    assert ours == theirs and any(ours)


def test_a_reply_ends_where_the_template_says(
    new_checkpoint: Callable[[], Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = new_checkpoint()
    ids = checkpoint.tokenizer("A circle.###Human: b", add_special_tokens=False)["input_ids"]
    generate = lambda **_: torch.tensor([ids])  # noqa: E731
    monkeypatch.setattr(checkpoint.model.language_model, "generate", generate)
    assert greedy_reply(checkpoint, WORDS, "llava_v0", 9) == "A circle."
    assert greedy_reply(checkpoint, WORDS, "vicuna_v1", 9) == "A circle.###Human: b"


def test_a_question_beyond_the_context_is_not_asked(
    new_checkpoint: Callable[[], Checkpoint],
) -> None:
    long = Conversation((Turn("user", "square " * 600),))
    reply = greedy_reply(new_checkpoint(), long, "vicuna_v1", 9)
    assert reply == "(The question does not fit the model's context.)"


def test_nothing_is_disturbed(new_checkpoint: Callable[[], Checkpoint]) -> None:
    model = new_checkpoint().model.train()
    model.tower.eval()
    before = [part.training for part in model.modules()]
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    with pytest.raises(ZeroDivisionError), undisturbed(model, torch.device("cpu")):
        assert not any(part.training for part in model.modules())
        torch.rand(5)
        raise ZeroDivisionError
    assert torch.equal(torch.rand(3), wanted)
    assert [part.training for part in model.modules()] == before


def test_the_file_shows_picture_question_reply_and_data(watched: Watched) -> None:
    folder = watched.output / "step-12"
    text = (folder / "samples.md").read_text(encoding="utf-8")
    reply = greedy_reply(watched.checkpoint, SAMPLES[1].question, "vicuna_v1", 8)
    assert "# Replies after step 12" in text and "## rows.jsonl, row 1" in text
    assert "![the picture](samples/2.jpg)" in text
    assert (
        f"The model:\n\n```text\n{reply}\n```\n\nThe data:\n\n```text\nA large blue circle." in text
    )
    with Image.open(folder / "samples" / "2.jpg") as picture:
        assert picture.size == (30, 20)
        assert (watched.output / "samples.md").read_text(encoding="utf-8") == text
    assert (watched.output / "step-6" / "samples.md").read_text(encoding="utf-8") != text


def test_replies_are_of_the_model_as_it_is_now(
    new_checkpoint: Callable[[], Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = new_checkpoint()
    asking = SampleReplies(checkpoint, SAMPLES[:1], tmp_path, template="vicuna_v1", bf16=True)
    asked: list[object] = []

    def reply(*question: object) -> str:
        asked.append(question)
        return f"reply, autocast: {torch.is_autocast_enabled('cpu')}"

    monkeypatch.setattr("llava_chat.training.watching.samples.greedy_reply", reply)
    assert asking.ask() == asking.ask() == ["reply, autocast: True"] and len(asked) == 1
    asking.step(None)  # type: ignore[arg-type]  # which step it is does not matter
    asking.saving(3, tmp_path)
    assert len(asked) == 2 and "autocast: True" in (tmp_path / "samples.md").read_text()


def test_a_reply_without_memory_ends_no_run(
    new_checkpoint: Callable[[], Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    checkpoint = new_checkpoint()
    monkeypatch.setattr(checkpoint.model.language_model, "generate", full)
    asking = SampleReplies(checkpoint, SAMPLES, tmp_path, template="vicuna_v1", bf16=False)
    assert asking.ask() == ["(There was no memory left for a reply.)"] * 2


def test_words_alone_need_no_picture_and_no_markdown_gets_in() -> None:
    sample = Sample("a_b.json, row 3 <i>", WORDS, "```\n# It is *red*")
    text = told(5, [sample], ["<b>red</b>"], [None])
    assert "![" not in text and r"## a\_b.json, row 3 \<i\>" in text
    assert "````text\n```\n# It is *red*\n````" in text
    assert [line for line in text.splitlines() if line.startswith("# ")][1:] == ["# It is *red*"]


def test_a_sample_is_the_first_question() -> None:
    turns = conversation_of(0).turns
    longer = Conversation((*turns, Turn("user", "And now?"), Turn("assistant", "No.")), "S")
    sample = Sample.of("row", longer)
    assert sample.question == Conversation(turns[:1], "S")
    assert sample.expected == "A large red circle."


def test_all_rows_are_either_learned_or_asked_about() -> None:
    for rows, count in ((7, 3), (100, 99), (5, 0), (1, 0)):
        held, learned = hold_out(rows, count)
        assert len(held) == count and sorted([*held, *learned.tolist()]) == [*range(rows)]
    with pytest.raises(UsageError, match="--samples 4 leaves none of 4 rows"):
        hold_out(4, 4)
