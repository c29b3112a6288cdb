"""What a reply must be like, and what is wrong with those that are not."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from llava_chat.training.generation.kinds import ASKED_KINDS, Kind, Reply, UnfitReplyError, turns_of

PAIR = "Question:\nHow many cats?\n===\nAnswer:\nTwo."


def test_a_conversation_of_several() -> None:
    text = f"{PAIR}\n===\nQuestion:\nWhere?\n===\nAnswer:\nOn a mat.\n\nBoth of them."
    assert turns_of("conversation", Reply(text, "stop")) == (
        ("How many cats?", "Two."),
        ("Where?", "On a mat.\n\nBoth of them."),
    )


@pytest.mark.parametrize(
    "text",
    [
        f"\n{PAIR}\n===\n",
        PAIR.replace("===", "=====").replace("\n", "\r\n"),
        "**Question:** How many cats?\n===\n**Answer:** Two.",
        "question: How many cats?\n\n ===\n\nANSWER: Two.",
    ],
)
def test_other_ways_to_write_the_same(text: str) -> None:
    assert turns_of("reasoning", Reply(text, "stop")) == (("How many cats?", "Two."),)


UNFIT: list[tuple[Kind, str, str]] = [
    ("conversation", "", "empty"),
    ("conversation", "Two cats.", "no ==="),
    ("conversation", "Question:\nHow many?\nAnswer:\nTwo.", "no ==="),
    ("conversation", "Answer:\nTwo.\n===\nQuestion:\nHow many?", "out of order"),
    ("conversation", f"{PAIR}\n===\nQuestion:\nAnd?", "out of order"),
    ("conversation", f"Sure!\n===\n{PAIR}", "out of order"),
    ("conversation", f"{PAIR}\n===\nAnswer:\nThree.", "out of order"),
    ("conversation", "Question:\n===\nAnswer:\nTwo.", "empty question"),
    ("conversation", "Question:\nWhy?\n===\nAnswer:\n ", "empty answer"),
    ("conversation", PAIR.replace("Two", "The captions name two"), "gives the notes away"),
    ("conversation", PAIR.replace("Two", "Its bounding box is large"), "gives the notes away"),
    ("conversation", PAIR.replace("Two", "At [0.1, 0.5, 0.2, 0.6]"), "gives the notes away"),
    ("conversation", PAIR.replace("Two", "From 0.281 on"), "gives the notes away"),
    ("detail", "The provided description speaks of cats.", "gives the notes away"),
    ("detail", PAIR, "not alone"),
    ("detail", "Two cats.\n===\nA dog.", "not alone"),
    ("reasoning", f"{PAIR}\n===\n{PAIR}", "not alone"),
    ("detail", "I'm sorry, I can't see it.", "unwilling"),
    ("reasoning", PAIR.replace("Two", "As an AI I see none"), "unwilling"),
]


@pytest.mark.parametrize(("kind", "text", "why"), UNFIT)
def test_a_reply_that_cannot_be_used(kind: Kind, text: str, why: str) -> None:
    with pytest.raises(UnfitReplyError, match=f"^{why}$"):
        turns_of(kind, Reply(text, "stop"))


@pytest.mark.parametrize(("finish", "why"), [("length", "cut off"), ("content_filter", "filtered")])
@pytest.mark.parametrize("kind", ASKED_KINDS)
def test_a_reply_that_did_not_come_to_its_end(kind: Kind, finish: str, why: str) -> None:
    with pytest.raises(UnfitReplyError, match=why):
        turns_of(kind, Reply(PAIR, finish))


@pytest.mark.parametrize(
    "answer",
    [
        "He coordinates the traffic in a colour-coordinated suit.",
        "Version 0.5 is printed on the box, which costs 12.99.",
        "A sorry sight: I can only guess.",
    ],
)
def test_words_that_only_look_like_it(answer: str) -> None:
    assert turns_of("detail", Reply(answer, "stop")) == (("", answer),)


@given(st.text(), st.sampled_from(ASKED_KINDS))
def test_any_text_is_used_or_refused(text: str, kind: Kind) -> None:
    try:
        turns = turns_of(kind, Reply(text, "stop"))
    except UnfitReplyError:
        return
    assert turns and all(answer.strip() for _, answer in turns)
