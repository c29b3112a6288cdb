"""What a judge reads: both orders, texts that can be edited, and no more than is there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llava_chat.errors import BenchmarkError
from llava_chat.evaluation.llava_bench.comparing import (
    RULES,
    check_judgeable,
    comparisons,
    read_rules,
)
from llava_chat.evaluation.llava_bench.files import Contexts, read_contexts, read_questions
from tests.evaluation.benchmarks import lines
from tests.evaluation.llava_bench.judge import CANDIDATE, CONTEXTS, QUESTIONS, REFERENCE, pairs


def test_each_question_is_asked_in_both_orders() -> None:
    found = pairs()
    assert [comparison.key for comparison in found] == [
        ("0", False), ("0", True), ("1", False), ("1", True),
    ]  # fmt: skip
    for comparison in found:
        system, asked = (message["content"] for message in comparison.messages)
        assert system and CONTEXTS.by_image[QUESTIONS[int(comparison.question_id)].image] in asked
        reference, candidate = (
            asked.index(answers[comparison.question_id]) for answers in (REFERENCE, CANDIDATE)
        )
        assert (candidate < reference) is comparison.candidate_first
    assert len({comparison.fingerprint for comparison in found}) == 4


def test_an_answer_cannot_fill_another_place() -> None:
    asked = pairs({"0": "{first} {rule} {context}", "1": "b"})[0].messages[1]["content"]
    assert "{first} {rule} {context}" in asked


def test_a_question_without_both_answers_is_left_out() -> None:
    assert [comparison.question_id for comparison in pairs({"1": "b"})] == ["1", "1"]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RULES, tmp_path / "rules"))


def test_the_texts_can_be_edited(rules: Path) -> None:
    (rules / "question.txt").write_text("{question}: {first}, {second}? {rule}", encoding="utf-8")
    (rules / "conv.txt").write_text("Be kind.\n", encoding="utf-8")
    (first, *_) = comparisons(QUESTIONS[:1], CONTEXTS, REFERENCE, CANDIDATE, read_rules(rules))
    assert first.messages[1]["content"] == (
        "What is it?: A cat, worth 9., A dog, worth 3.? Be kind."
    )


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("system.txt", None, "there is no system.txt"),
        ("question.txt", "{first} {question}", r"question.txt: it must hold {second}"),
        ("conv.txt", None, "there is no rule for 'conv'; put a conv.txt"),
    ],
)
def test_what_the_judge_would_miss_is_named(
    rules: Path, name: str, text: str | None, named: str
) -> None:
    (rules / name).unlink() if text is None else (rules / name).write_text(text, encoding="utf-8")
    with pytest.raises(BenchmarkError, match=named):
        check_judgeable(QUESTIONS, CONTEXTS, read_rules(rules))


def test_a_picture_that_nothing_is_said_of_is_named() -> None:
    with pytest.raises(BenchmarkError, match=r"nothing is said of its picture 'b\.jpg'"):
        check_judgeable(QUESTIONS, Contexts({"a.jpg": "A cat."}, False), read_rules())


def test_files_of_both_sets_are_read(tmp_path: Path) -> None:
    coco = {
        "id": "7",
        "image": "7.jpg",
        "captions": ["A cat.", "A cat on a mat."],
        "instances": [{"category": "cat", "bbox": [0.1, 0.25, 0.5, 1.0]}],
    }
    wild = {"id": "001", "image": "001.jpg", "caption": "A mat."}
    assert read_contexts(lines(tmp_path / "coco.jsonl", [coco])) == Contexts(
        {"7.jpg": "A cat.\nA cat on a mat.\n\ncat: [0.1, 0.25, 0.5, 1.0]"}, wild=False
    )
    assert read_contexts(lines(tmp_path / "wild.jsonl", [wild])) == Contexts(
        {"001.jpg": "A mat."}, wild=True
    )
    row = {"question_id": 0, "image": "001.jpg", "category": "conv", "text": "What?"}
    (question,) = read_questions(lines(tmp_path / "questions.jsonl", [row]))
    assert (question.id, question.category, question.text) == ("0", "conv", "What?")
