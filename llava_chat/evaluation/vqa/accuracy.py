"""How many of ten people say what was said: VQA's accuracy, and its figures by kind of question.

Imports the normalisation only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from llava_chat.evaluation.vqa.normalisation import normalise, tidy

ENOUGH = 3
"""So many people make an answer entirely right (arXiv 1505.00468, section 3)."""

ANSWER_TYPES = ("yes/no", "number", "other")


@dataclass(frozen=True)
class Annotation:
    """What people answered: of VQA ten of them. Types as the official files name them."""

    question_type: str
    answer_type: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Share:
    """The mean accuracy, 0 to 1, over so many questions."""

    questions: int
    accuracy: float


@dataclass(frozen=True)
class Figures:
    """Accuracy over all, by answer type and by question type, each in the order of its table."""

    overall: Share
    answer_types: Mapping[str, Share]
    question_types: Mapping[str, Share]


def accuracy(said: str, answers: Sequence[str]) -> float:
    """min(people who say the same / 3, 1), averaged over leaving each of the people out.

    As officially done, both sides are normalised only where the people do not all say the same:
    what all of them say, `said` has to be to the letter. Somebody is left out by place; officially
    it is by equality, which in the official files is the same, as each answer has its own id.

    >>> accuracy("a cat", ["cat"] * 3 + ["dog"] * 7), accuracy("cat", ["cat"] + ["dog"] * 9)
    (0.9, 0.3)
    >>> accuracy("Cat.", ["cat"] * 10), accuracy("Cat.", ["cat"] * 9 + ["dog"])
    (0.0, 1.0)
    """
    said, truth = tidy(said), [tidy(answer) for answer in answers]
    if len(set(truth)) > 1:
        said, truth = normalise(said), [normalise(answer) for answer in truth]
    same = truth.count(said)
    shares = [min(1.0, (same - (answer == said)) / ENOUGH) for answer in truth]
    return sum(shares) / len(shares)


def figures(scored: Iterable[tuple[Annotation, float]]) -> Figures:
    """Put the accuracies of questions together. Raises ZeroDivisionError without a question."""
    everything: list[float] = []
    by_answer: dict[str, list[float]] = defaultdict(list)
    by_question: dict[str, list[float]] = defaultdict(list)
    for annotation, share in scored:
        everything.append(share)
        by_answer[annotation.answer_type].append(share)
        by_question[annotation.question_type].append(share)
    answer_types = [*ANSWER_TYPES, *sorted(set(by_answer) - set(ANSWER_TYPES))]
    return Figures(
        _share(everything),
        {name: _share(by_answer[name]) for name in answer_types if name in by_answer},
        {name: _share(by_question[name]) for name in sorted(by_question)},
    )


def _share(shares: Sequence[float]) -> Share:
    return Share(len(shares), sum(shares) / len(shares))
