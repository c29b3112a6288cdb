"""VQAv2's figures as a table, as JSON, and the wrong answers as cards of a page.

Imports the modules beside it and what makes the page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llava_chat.evaluation.looking import Wrong
from llava_chat.evaluation.pictured import picture_in
from llava_chat.evaluation.vqa.accuracy import Annotation, Figures, Share, accuracy, figures
from llava_chat.evaluation.vqa.files import VqaQuestion

PAPER = {"LLaVA-1.5 7B": 78.5, "LLaVA-1.5 13B": 80.0}
"""On test-dev, in per cent (arXiv 2310.03744, table 3)."""


@dataclass(frozen=True)
class Scored:
    """One question, what was handed in (None: nothing) and its accuracy, 0 to 1."""

    question: VqaQuestion
    annotation: Annotation
    said: str | None
    accuracy: float


def score(
    questions: Sequence[VqaQuestion],
    annotations: Mapping[str, Annotation],
    said: Mapping[str, str],
) -> list[Scored]:
    """Every question that people answered; one that nothing was said to is wrong."""
    return [
        Scored(
            question,
            annotation,
            said.get(question.id),
            accuracy(said[question.id], annotation.answers) if question.id in said else 0.0,
        )
        for question in questions
        if (annotation := annotations.get(question.id)) is not None
    ]


def summary(scored: Sequence[Scored]) -> Figures:
    """The figures of its tables."""
    return figures((one.annotation, one.accuracy) for one in scored)


def table(found: Figures) -> str:
    """Two Markdown tables, in per cent: by answer type and in all, and by question type."""
    lines = ["| VQAv2, by answer type | questions | accuracy |", "|---|---:|---:|"]
    lines += [_line(name, share) for name, share in found.answer_types.items()]
    lines += [_line("all", found.overall)]
    lines += [
        f"| {name}, test-dev (arXiv 2310.03744) | | {value} |" for name, value in PAPER.items()
    ]
    lines += ["", "| by question type | questions | accuracy |", "|---|---:|---:|"]
    lines += [_line(name, share) for name, share in found.question_types.items()]
    return "\n".join(lines)


def results(found: Figures) -> dict[str, Any]:
    """The same for programs; accuracies from 0 to 1, the paper's in per cent."""
    return {"benchmark": "vqa", **asdict(found), "paper_test_dev_percent": PAPER}


def details(scored: Sequence[Scored]) -> dict[str, Any]:
    """What was handed in to each question and its accuracy."""
    return {
        "by_question": {
            one.question.id: {"said": one.said, "accuracy": one.accuracy} for one in scored
        }
    }


def cards(scored: Sequence[Scored], images: Path | None) -> Iterator[Wrong]:
    """The answers that nobody gave. images: the folder of pictures, None for none."""
    for one in scored:
        if not one.accuracy:
            yield Wrong(
                one.question.id,
                one.annotation.answer_type,
                one.question.prompt,
                _people(one.annotation),
                one.said or "",
                None if images is None else picture_in(images, one.question.image),
            )


def _line(name: str, share: Share) -> str:
    return f"| {name} | {share.questions} | {100 * share.accuracy:.2f} |"


def _people(annotation: Annotation) -> str:
    """What people said, the most frequent first.

    >>> _people(Annotation("what", "other", ("red", "dark red", "red")))
    'red (2), dark red (1)'
    """
    return ", ".join(f"{said} ({n})" for said, n in Counter(annotation.answers).most_common())
