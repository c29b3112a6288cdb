"""System messages, examples and instructions: those that come along, and one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from llava_chat.errors import UsageError
from llava_chat.training.generation.kinds import ASKED_KINDS, Reply, turns_of
from llava_chat.training.generation.prompts import load_prompts, write_prompts


def test_as_many_as_in_the_paper() -> None:
    prompts = load_prompts()
    assert {kind: len(prompts.asked[kind].examples) for kind in ASKED_KINDS} == {
        "conversation": 2, "detail": 3, "reasoning": 3,
    }  # fmt: skip
    assert (len(set(prompts.brief)), len(set(prompts.detailed))) == (11, 16)


def test_the_examples_are_about_different_pictures_and_would_be_taken() -> None:
    prompts = load_prompts()
    examples = [each for known in ASKED_KINDS for each in prompts.asked[known].examples]
    assert len({context for context, _ in examples}) == len(examples)
    for known in ASKED_KINDS:
        for context, reply in prompts.asked[known].examples:
            assert turns_of(known, Reply(reply, "stop"))
            captions, _, boxes = context.partition("\n\n")
            assert len(captions.splitlines()) == 5
            assert boxes


def test_the_messages_are_system_examples_and_the_context() -> None:
    prompt = load_prompts().asked["reasoning"]
    messages = prompt.messages("A cat.")
    assert [each["role"] for each in messages] == [
        "system", *["user", "assistant"] * 3, "user",
    ]  # fmt: skip
    assert messages[0]["content"] == prompt.system
    assert (messages[1]["content"], messages[2]["content"]) == prompt.examples[0]
    assert messages[-1]["content"] == "A cat."


def test_ones_own_start_from_those_that_come_along(tmp_path: Path) -> None:
    own = tmp_path / "own"
    write_prompts(own)
    assert load_prompts(own) == load_prompts()
    (own / "detail" / "system.txt").write_text("Describe it.")
    (own / "detail" / "3.reply.txt").unlink()
    (own / "detail" / "3.context.txt").unlink()
    changed = load_prompts(own)
    assert changed.asked["detail"].system == "Describe it."
    assert len(changed.asked["detail"].examples) == 2
    assert changed.fingerprint != load_prompts().fingerprint
    with pytest.raises(UsageError, match="is there already"):
        write_prompts(own)


WRONG = {
    "a missing reply": ("reasoning/2.reply.txt", None, "cannot be read"),
    "no example": ("reasoning/1.context.txt", None, "needs an example at least"),
    "nothing in it": ("brief.txt", b" \n", "is empty"),
    "no text": ("detail/system.txt", b"\xff\xfe", "is not UTF-8"),
    "endless": ("detail/system.txt", b"a" * (2**20 + 1), "larger than a prompt"),
    "a reply that is unfit": ("reasoning/1.reply.txt", b"Why not.", r"would be refused \(no ===\)"),
}


@pytest.mark.parametrize(("name", "content", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named(
    name: str, content: bytes | None, sentence: str, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    write_prompts(own)
    if content is None:
        (own / name).unlink()
    else:
        (own / name).write_bytes(content)
    with pytest.raises(UsageError, match=sentence) as told:
        load_prompts(own)
    assert str(own) in str(told.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--write-prompts"):
        load_prompts(tmp_path / "none")
