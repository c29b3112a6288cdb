"""POPE's figures as a table, as JSON, and the wrong answers as cards of a page.

Imports the modules beside it and what makes the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llava_chat.evaluation.looking import Wrong
from llava_chat.evaluation.pictured import picture_in
from llava_chat.evaluation.pope.figures import PopeFigures, mean, said_yes
from llava_chat.evaluation.pope.files import PopeQuestion

PAPER_F1 = {
    "LLaVA-1.5 7B": {"random": 87.3, "popular": 86.1, "adversarial": 84.2, "mean": 85.9},
    "LLaVA-1.5 13B": {"random": 87.1, "popular": 86.2, "adversarial": 84.5, "mean": 85.9},
}
"""In per cent (arXiv 2310.03744, table 4); the mean is what later tables call POPE."""


def table(splits: Mapping[str, PopeFigures]) -> str:
    """A Markdown table, in per cent: a split a line, their mean, LLaVA-1.5's F1 beside."""
    named = {**splits, "mean": mean(splits)}
    lines = [
        f"| POPE | questions | accuracy | precision | recall | F1 | yes | {' | '.join(PAPER_F1)} |",
        f"|---|---:|---:|---:|---:|---:|---:|{'---:|' * len(PAPER_F1)}",
    ]
    for name, found in named.items():
        shares = (found.accuracy, found.precision, found.recall, found.f1, found.yes_ratio)
        shown = [f"{100 * share:.1f}" for share in shares]
        papers = [f"F1 {paper[name]}" if name in paper else "" for paper in PAPER_F1.values()]
        lines.append(f"| {' | '.join([name, str(found.questions), *shown, *papers])} |")
    return "\n".join(lines)


def results(splits: Mapping[str, PopeFigures]) -> dict[str, Any]:
    """The same for programs; figures from 0 to 1, the paper's in per cent."""
    return {
        "benchmark": "pope",
        "splits": {name: asdict(found) for name, found in splits.items()},
        "mean": asdict(mean(splits)),
        "paper_f1_percent": PAPER_F1,
    }


def details(questions: Sequence[PopeQuestion], replies: Mapping[str, str]) -> dict[str, Any]:
    """Which questions were answered wrong."""
    wrong = [q.id for q in questions if said_yes(q, replies) != q.there]
    return {"wrong": wrong}


def cards(
    questions: Sequence[PopeQuestion], replies: Mapping[str, str], images: Path | None
) -> Iterator[Wrong]:
    """The wrong answers. images: the folder of pictures, None for none."""
    for question in questions:
        if said_yes(question, replies) != question.there:
            kind = "not seen" if question.there else "not there"
            yield Wrong(
                question.id,
                f"{question.split}, {kind}",
                question.prompt,
                "yes" if question.there else "no",
                replies.get(question.id, ""),
                None if images is None else picture_in(images, question.image),
            )
