"""The relative score and how sure it is. Imports numpy, errors and the reviews beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from llava_chat.errors import BenchmarkError
from llava_chat.evaluation.llava_bench.reviews import Review

CATEGORIES = ("conv", "detail", "complex")
ALL = "all"
DRAWS = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Relative:
    """100 x sum of the candidate's scores / sum of the reference's, and the two means.

    low, high: the middle 95 % of the same figure over questions drawn again with replacement.
    rounded: the score as the authors' summary prints it (llava/eval/summarize_gpt_review.py), which
    rounds the means to three places before it divides them.
    """

    questions: int
    reference: float
    candidate: float
    score: float
    low: float
    high: float
    rounded: float


def relative_scores(reviews: Sequence[Review], *, seed: int = 0) -> dict[str, Relative]:
    """By category, in the papers' order, and of all. Raises BenchmarkError without a score."""
    if not reviews:
        raise BenchmarkError("not one reply of the judge holds scores; there is nothing to count")
    named = {review.category for review in reviews} - {""}
    order = [*(c for c in CATEGORIES if c in named), *sorted(named - set(CATEGORIES))]
    found = {
        category: relative((r for r in reviews if r.category == category), seed=seed)
        for category in order
    }
    return found | {ALL: relative(reviews, seed=seed)}


def relative(reviews: Iterable[Review], *, seed: int = 0) -> Relative:
    """Of some reviews; those of one question are drawn together, as they are of the same answers.

    Raises BenchmarkError where the reference's scores add up to nothing.
    """
    reviews = tuple(reviews)
    score = relative_score(reviews)
    by_question: dict[str, list[Review]] = defaultdict(list)
    for review in reviews:
        by_question[review.question_id].append(review)
    sums = np.array(
        [
            (sum(r.reference for r in rows), sum(r.candidate for r in rows))
            for rows in by_question.values()
        ]
    )
    reference, candidate = (sums.sum(axis=0) / len(reviews)).tolist()
    low, high = _interval(sums, seed)
    return Relative(
        len(sums),
        reference,
        candidate,
        score,
        low,
        high,
        round(round(candidate, 3) / round(reference, 3) * 100, 1),
    )


def relative_score(reviews: Sequence[Review]) -> float:
    """The score alone. Raises BenchmarkError where the reference's scores add up to nothing.

    >>> relative_score([Review("1", "conv", 8, 6), Review("2", "conv", 10, 3)])
    50.0
    """
    reference = sum(review.reference for review in reviews)
    # Less than half a thousandth on average is nothing to the authors' summary, which rounds.
    if reference <= 0 or round(reference / len(reviews), 3) == 0:
        raise BenchmarkError("the scores of the reference's answers add up to nothing")
    return 100 * sum(review.candidate for review in reviews) / reference


def _interval(sums: np.ndarray, seed: int) -> tuple[float, float]:
    drawn = np.random.default_rng(seed).integers(len(sums), size=(DRAWS, len(sums)))
    totals = sums[drawn].sum(axis=1)  # (DRAWS, 2)
    usable = totals[totals[:, 0] > 0]
    tails = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    low, high = np.quantile(100 * usable[:, 1] / usable[:, 0], tails)
    return float(low), float(high)
