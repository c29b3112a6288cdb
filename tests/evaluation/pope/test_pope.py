"""POPE: the answer rule, the five figures against a plain count, whose answers belong to what."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from llava_chat.errors import BenchmarkError
from llava_chat.evaluation.pope.figures import by_split, mean, pope_figures, says_yes
from llava_chat.evaluation.pope.files import read_questions
from tests.evaluation.benchmarks import lines

REPLIES = {
    "Yes": True,
    "No": False,
    "no": False,
    "No, there is no dog in the image.": False,
    "No,there is none": True,  # one word to it: "Nothere"
    "There is not.": False,
    "not": False,
    "Not that I see": True,  # only "not" and "No" are looked for
    "NO": True,
    "Nothing": True,
    "A dog. There is no cat.": True,  # the first sentence alone
    ".no": True,
    "Yes\nNo": True,  # apart at spaces alone
    "": True,
}


@pytest.mark.parametrize(("reply", "yes"), REPLIES.items())
def test_what_the_reference_takes_for_a_yes(reply: str, yes: bool) -> None:
    assert says_yes(reply) is yes


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_the_five_figures_are_those_of_the_counts(pairs: list[tuple[bool, bool]]) -> None:
    true_yes, false_yes = pairs.count((True, True)), pairs.count((True, False))
    true_no, false_no = pairs.count((False, False)), pairs.count((False, True))
    found = pope_figures(pairs)
    assert found.accuracy == pytest.approx((true_yes + true_no) / len(pairs))
    assert found.yes_ratio == pytest.approx((true_yes + false_yes) / len(pairs))
    assert found.precision == pytest.approx(true_yes / max(1, true_yes + false_yes))
    assert found.recall == pytest.approx(true_yes / max(1, true_yes + false_no))
    assert found.f1 == pytest.approx(2 * true_yes / max(1, 2 * true_yes + false_yes + false_no))


def splits(folder: Path) -> list[Path]:
    """As published: each counts from 1, and they share pictures."""
    labels = {"popular": ("yes", "no", "no"), "random": ("yes", "yes", "no")}
    return [
        lines(
            folder / f"coco_pope_{split}.json",
            (
                {"question_id": n, "image": f"{n}.jpg", "text": f"Is there a {n}?", "label": label}
                for n, label in enumerate(labels[split], 1)
            ),
        )
        for split in labels
    ]


def llavas(folder: Path, popular_images: tuple[int, ...] = (1, 2, 3)) -> Path:
    """LLaVA's own questions: ids of its own, the splits among each other."""
    rows = [
        {"question_id": base + n, "image": f"{n}.jpg", "text": "Asked", "category": split}
        for split, base, images in (
            ("random", 10_000_000, (1, 2, 3)),
            ("popular", 20_000_000, popular_images),
        )
        for n in images
    ]
    return lines(folder / "llava_pope_test.jsonl", rows)


def test_splits_that_count_alike_are_told_apart(tmp_path: Path) -> None:
    questions = read_questions(splits(tmp_path))
    assert [q.id for q in questions[:4]] == ["popular-1", "popular-2", "popular-3", "random-1"]
    assert questions[0].prompt == (
        "Is there a 1?\nAnswer the question using a single word or phrase."
    )
    assert [q.id for q in read_questions(splits(tmp_path)[:1])] == ["1", "2", "3"]


def test_llavas_answers_are_scored_by_its_own_ids(tmp_path: Path) -> None:
    questions = read_questions(splits(tmp_path), llavas(tmp_path))
    replies = {question.id: "Yes" for question in questions if question.id != "20000003"}
    found = by_split(questions, replies)
    assert list(found) == ["random", "popular"]
    # Three yes, two right; and yes, yes, and nothing, which is wrong: as if it said yes.
    assert found["random"].precision == pytest.approx(2 / 3)
    assert found["random"].f1 == pytest.approx(0.8)
    assert found["popular"].accuracy == pytest.approx(1 / 3)
    assert found["popular"].yes_ratio == 1.0
    assert mean(found).accuracy == pytest.approx(1 / 2)
    assert mean(found).questions == 6


@pytest.mark.parametrize(
    ("images", "named"),
    [
        ((1, 2), "has 2 questions of the split 'popular', and 3 have labels"),
        ((1, 3, 2), "row 5, image: the label of this place is of 2.jpg"),
    ],
)
def test_questions_of_another_version_are_refused(
    tmp_path: Path, images: tuple[int, ...], named: str
) -> None:
    with pytest.raises(BenchmarkError, match=named):
        read_questions(splits(tmp_path), llavas(tmp_path, images))


def test_a_label_is_yes_or_no(tmp_path: Path) -> None:
    row = {"question_id": 1, "image": "1.jpg", "text": "Is there?", "label": "maybe"}
    with pytest.raises(BenchmarkError, match="label: it must be yes or no, not 'maybe'"):
        read_questions([lines(tmp_path / "coco_pope_random.json", [row])])
