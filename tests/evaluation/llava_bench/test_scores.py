"""The relative score: the authors' own reviews, sums by hand, intervals over questions."""

from __future__ import annotations

from pathlib import Path

import pytest

from llava_chat.errors import BenchmarkError
from llava_chat.evaluation.llava_bench.report import by_order, spread_figures, table
from llava_chat.evaluation.llava_bench.reviews import Review, read_reviews
from llava_chat.evaluation.llava_bench.scores import relative, relative_scores
from tests.evaluation.benchmarks import lines

# The scores that GPT-4 gave the reference and LLaVA-1.5 7B, question by question, from
# haotian-liu/LLaVA's eval.zip, llava-bench-in-the-wild/reviews/llava-v1.5-7b-eval1.jsonl.
PUBLISHED = {
    "conv": "7 9, 9 2, 9 2, 10 10, 8 6, 9 8.5, 9 2, 9 9, 9 2, 9 2, 10 10, 9 4, 9 2, 9 6, 7 4, 9 1, "
    "10 10",
    "detail": "8 6, 9 2, 9 6, 8 7, 9 5, 9 4, 8 5, 9 4, 9 2, 9 3, 9 2, 9 2, 9 3, 9 6, 9 6",
    "complex": "8 6, 9 8, 8 7.5, 8 9, 9 8.5, 9 7, 8 9, 9 7.5, 9 7.5, 8 7.5, 9 7.5, 9 8, 8 6, 8 6, "
    "9 6.5, 5 7, 9 6, 9 2, 9 3, 9 4, 9 6, 9 6, 9 7, 9 6, 8 7, 9 7, 9 9, 8 4",
}


def published(file: Path) -> Path:
    pairs = [
        (category, [float(score) for score in pair.split()])
        for category, text in PUBLISHED.items()
        for pair in text.split(", ")
    ]
    rows = (
        {
            "id": number + 1,
            "question_id": number,
            "category": f"llava_bench_{category}",
            "content": "8 8\nas it stands in `tuple`",
            "tuple": pair,
        }
        for number, (category, pair) in enumerate(pairs)
    )
    return lines(file, rows)


def test_the_authors_reviews_give_the_authors_figures(tmp_path: Path) -> None:
    found = read_reviews(published(tmp_path / "llava-v1.5-7b-eval1.jsonl"))
    scores = relative_scores(found.reviews)
    # What llava/eval/summarize_gpt_review.py prints of this file.
    summary = {"conv": 59.3, "detail": 47.7, "complex": 77.6, "all": 64.7}
    assert {name: one.rounded for name, one in scores.items()} == summary
    assert {name: one.questions for name, one in scores.items()} == {
        "conv": 17, "detail": 15, "complex": 28, "all": 60,
    }  # fmt: skip
    assert scores["all"].score == pytest.approx(100 * 338 / 522)
    assert found.wild and found.unjudged == 0
    assert "| LLaVA-1.5 7B (arXiv 2310.03744) |  |  |  | 65.4 |" in table(scores, found)


def test_a_pair_that_could_not_be_read_counts_as_it_stands(tmp_path: Path) -> None:
    """So does the authors' summary; how many there are is said."""
    rows = [
        {"question_id": 1, "category": "conv", "tuple": [8, 6]},
        {"question_id": 2, "category": "conv", "tuple": [-1, -1]},
        {"question_id": 3, "category": "conv", "content": "no scores"},
        {"question_id": 4, "category": "conv", "content": "10 5\nGood."},
        {"question_id": 5, "category": "conv", "score": [5.0, 5.0]},
    ]
    found = read_reviews(lines(tmp_path / "review.jsonl", rows))
    assert found.unjudged == 2 and not found.wild
    scores = relative_scores(found.reviews)
    assert scores["conv"].score == pytest.approx(100 * (6 - 1 + 5 + 5) / (8 - 1 + 10 + 5))
    assert "2 replies of the judge hold no scores." in table(scores, found)


def test_of_ours_the_last_review_of_a_question_and_an_order_counts(tmp_path: Path) -> None:
    rows = [
        {"question_id": "1", "category": "conv", "candidate_first": True, "content": "well"},
        {"question_id": "1", "category": "conv", "candidate_first": False, "tuple": [8, 4]},
        {"question_id": "1", "category": "conv", "candidate_first": True, "tuple": [5, 5]},
    ]
    found = read_reviews(lines(tmp_path / "reviews.jsonl", rows))
    assert found.unjudged == 0
    assert relative_scores(found.reviews)["all"].score == pytest.approx(100 * 9 / 13)
    assert by_order(found.reviews) == pytest.approx(
        {"reference first": 50.0, "candidate first": 100.0}
    )


def test_each_order_is_told_where_one_question_has_no_scores() -> None:
    reviews = [
        Review(question, "conv", *pair, candidate_first)
        for question, pair in (("1", (8, 6)), ("2", (-1, -1)))
        for candidate_first in (False, True)
    ]
    assert by_order(reviews) == pytest.approx(
        {"reference first": 100 * 5 / 7, "candidate first": 100 * 5 / 7}
    )


@pytest.mark.parametrize(
    "pair",
    [
        *([8], [8, "6"], "8 6", [8, None], [True, 6]),
        *([float("nan"), 6], [float("inf"), 6], [10**400, 6], [11, 6], [8, -2]),
    ],
    ids=lambda pair: str(pair)[:12],
)
def test_a_pair_is_two_numbers(tmp_path: Path, pair: object) -> None:
    file = lines(tmp_path / "review.jsonl", [{"question_id": 1, "tuple": pair}])
    with pytest.raises(BenchmarkError, match="row 1, tuple: it must be two numbers"):
        read_reviews(file)


def test_the_interval_is_over_questions_and_the_same_again() -> None:
    one = [Review(str(n), "conv", 10, 5 + n % 5) for n in range(40)]
    found = relative(one)
    assert found == relative(one)
    assert (found.low, found.high) != (relative(one, seed=1).low, relative(one, seed=1).high)
    # Of a mean of 40 values of deviation sqrt(2), in tenths: 70 +- 1.96 * 10 * sqrt(2 / 40).
    assert found.low == pytest.approx(70 - 4.38, abs=0.4)
    assert found.high == pytest.approx(70 + 4.38, abs=0.4)
    # The same reviews twice are no more questions: the interval does not shrink.
    twice = relative([*one, *one])
    assert (twice.low, twice.high) == (found.low, found.high)


def test_several_files_have_a_mean_and_a_deviation() -> None:
    files = [relative_scores([Review("1", "", 10, score)]) for score in (6, 8)]
    assert spread_figures(files)["all"] == pytest.approx((70.0, 14.142), abs=0.001)


def test_nothing_to_compare_with_is_said() -> None:
    with pytest.raises(BenchmarkError, match="add up to nothing"):
        relative([Review("1", "conv", 0, 5)])
    with pytest.raises(BenchmarkError, match="add up to nothing"):
        relative([Review("1", "conv", 0.0001, 5)])  # to the authors' rounding
    with pytest.raises(BenchmarkError, match="not one reply of the judge holds scores"):
        relative_scores([])
