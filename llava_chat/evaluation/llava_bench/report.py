"""LLaVA-Bench's scores as a table, as JSON, and the answers that lost as cards of a page.

Imports the modules beside it and what makes the page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from llava_chat.evaluation.llava_bench.files import BenchQuestion
from llava_chat.evaluation.llava_bench.reviews import Review, Reviews
from llava_chat.evaluation.llava_bench.scores import ALL, CATEGORIES, Relative, relative_score
from llava_chat.evaluation.looking import Wrong
from llava_chat.evaluation.pictured import picture_in

Scores = Mapping[str, Relative]

PAPER: Mapping[bool, Mapping[str, Mapping[str, float]]] = {
    False: {
        "LLaVA 13B (arXiv 2304.08485)": {"conv": 83.1, "detail": 75.3, "complex": 96.5, ALL: 85.1}
    },
    True: {
        "LLaVA 13B (arXiv 2304.08485)": {"conv": 57.3, "detail": 52.5, "complex": 81.7, ALL: 67.3},
        "LLaVA-1.5 7B (arXiv 2310.03744)": {ALL: 65.4},
        "LLaVA-1.5 13B (arXiv 2310.03744)": {ALL: 72.5},
    },
}
"""The papers' relative scores by whether the questions are In-the-Wild; their judge was GPT-4."""


def table(scores: Scores, reviews: Reviews) -> str:
    """Markdown: a category a line, and the papers' below."""
    lines = [
        "| LLaVA-Bench | questions | reference | candidate | relative score | 95 % |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {one.questions} | {one.reference:.2f} | {one.candidate:.2f} | "
        f"{one.score:.2f} | {one.low:.1f} to {one.high:.1f} |"
        for name, one in scores.items()
    ]
    names = [*CATEGORIES, ALL]
    lines += ["", f"| relative score in the papers | {' | '.join(names)} |", "|---|" + "---:|" * 4]
    for paper, figures in PAPER[reviews.wild].items():
        lines.append(f"| {paper} | {' | '.join(str(figures.get(name, '')) for name in names)} |")
    for name, score in by_order(reviews.reviews).items():
        lines += [""] if name.startswith("reference") else []
        lines.append(f"{name}: {score:.2f}")
    if reviews.unjudged:
        lines += ["", f"{reviews.unjudged} replies of the judge hold no scores."]
    return "\n".join(lines)


def by_order(reviews: Sequence[Review]) -> dict[str, float]:
    """The relative score of each order, where there are both: how far the judge's eye is drawn."""
    first = [review for review in reviews if review.candidate_first]
    second = [review for review in reviews if not review.candidate_first]
    if not first or not second:
        return {}
    return {
        "reference first": relative_score(second),
        "candidate first": relative_score(first),
    }


def results(scores: Scores, reviews: Reviews) -> dict[str, Any]:
    """The same for programs."""
    return {
        "benchmark": "llava-bench",
        "questions": "in the wild" if reviews.wild else "COCO",
        "scores": {name: asdict(one) for name, one in scores.items()},
        "by_order": by_order(reviews.reviews),
        "unjudged": reviews.unjudged,
        "paper": PAPER[reviews.wild],
    }


def spread(files: Sequence[Scores]) -> str:
    """A Markdown table of several files of reviews of the same answers: mean and deviation."""
    lines = ["| relative score, several reviews | mean | standard deviation |", "|---|---:|---:|"]
    for name, (middle, deviation) in spread_figures(files).items():
        lines.append(f"| {name} | {middle:.2f} | {deviation:.2f} |")
    return "\n".join(lines)


def spread_figures(files: Sequence[Scores]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over the files, by category and of all."""
    by_name: dict[str, list[float]] = defaultdict(list)
    for scores in files:
        for name, one in scores.items():
            by_name[name].append(one.score)
    return {name: (mean(found), stdev(found)) for name, found in by_name.items() if len(found) > 1}


def cards(
    questions: Sequence[BenchQuestion],
    reviews: Sequence[Review],
    reference: Mapping[str, str],
    candidate: Mapping[str, str],
    images: Path | None,
) -> Iterator[Wrong]:
    """The answers that were found worse than the reference's, the worst first."""
    by_question: dict[str, list[Review]] = defaultdict(list)
    for review in reviews:
        by_question[review.question_id].append(review)

    def lead(id_: str) -> float:
        return sum(review.reference - review.candidate for review in by_question[id_])

    lost = [question for question in questions if lead(question.id) > 0]
    for question in sorted(lost, key=lambda question: -lead(question.id)):
        pairs = "; ".join(f"{r.candidate:g} to {r.reference:g}" for r in by_question[question.id])
        yield Wrong(
            question.id,
            question.category,
            question.text,
            reference[question.id],
            candidate[question.id],
            None if images is None else picture_in(images, question.image),
            {"scores, its own first": pairs},
        )
