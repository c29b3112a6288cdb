"""POPE's answer rule and its five figures. Imports the questions beside it only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from llava_chat.evaluation.pope.files import PopeQuestion

SPLITS = ("random", "popular", "adversarial")

_DENIALS = frozenset({"No", "not", "no"})


@dataclass(frozen=True)
class PopeFigures:
    """The five figures of a split, each 0 to 1; one that nothing can be said of is 0."""

    questions: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    yes_ratio: float


def says_yes(text: str) -> bool:
    """Whether a reply is a yes, by the reference's rule: whatever is no denial.

    The first sentence without commas, apart at spaces, holds "No", "not" or "no" or it does not
    (haotian-liu/LLaVA, llava/eval/eval_pope.py).

    >>> says_yes("Yes, there is."), says_yes("No, there is no dog."), says_yes("There is not")
    (True, False, False)
    >>> says_yes("A dog. No cat."), says_yes("NO"), says_yes("")
    (True, True, True)
    """
    words = text.partition(".")[0].replace(",", "").split(" ")
    return _DENIALS.isdisjoint(words)


def pope_figures(pairs: Iterable[tuple[bool, bool]]) -> PopeFigures:
    """Of (says yes, is there). Raises ZeroDivisionError without any.

    >>> pope_figures([(True, True), (True, False), (False, False), (False, True), (True, True)])
    ... # doctest: +NORMALIZE_WHITESPACE
    PopeFigures(questions=5, accuracy=0.6, precision=0.6666666666666666, recall=0.6666666666666666,
                f1=0.6666666666666666, yes_ratio=0.6)
    """
    counted = list(pairs)
    hits = sum(said and there for said, there in counted)
    yes = sum(said for said, _ in counted)
    present = sum(there for _, there in counted)
    right = sum(said == there for said, there in counted)
    precision = hits / yes if yes else 0.0
    recall = hits / present if present else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return PopeFigures(
        len(counted), right / len(counted), precision, recall, f1, yes / len(counted)
    )


def by_split(
    questions: Sequence[PopeQuestion], replies: Mapping[str, str]
) -> dict[str, PopeFigures]:
    """The figures of each split, in the papers' order; a question without a reply is wrong."""
    named = {question.split for question in questions}
    order = [*(s for s in SPLITS if s in named), *sorted(named - set(SPLITS))]
    return {
        split: pope_figures(
            (said_yes(question, replies), question.there)
            for question in questions
            if question.split == split
        )
        for split in order
    }


def said_yes(question: PopeQuestion, replies: Mapping[str, str]) -> bool:
    """What was said; of a question without a reply the wrong thing."""
    reply = replies.get(question.id)
    return not question.there if reply is None else says_yes(reply)


def mean(figures: Mapping[str, PopeFigures]) -> PopeFigures:
    """Each figure's mean over the splits, and the questions of all."""
    splits = list(figures.values())

    def over(share: Callable[[PopeFigures], float]) -> float:
        return sum(map(share, splits)) / len(splits)

    return PopeFigures(
        sum(split.questions for split in splits),
        over(lambda split: split.accuracy),
        over(lambda split: split.precision),
        over(lambda split: split.recall),
        over(lambda split: split.f1),
        over(lambda split: split.yes_ratio),
    )
