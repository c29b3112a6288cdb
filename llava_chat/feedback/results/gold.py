"""How often each person is right on the items whose answer is known.

Imports scipy, by way of `estimate`, where it is used alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llava_chat.feedback.results.estimate import MIN_GOLD, Estimate, share, too_few


@dataclass(frozen=True)
class GoldAccuracy:
    """One person. asked: gold items that they answered. right: of those, as they should be."""

    rater: str
    asked: int
    right: int
    accuracy: Estimate | None = None
    missing: str = ""


def gold_accuracy(answers: Iterable[tuple[str, bool]]) -> list[GoldAccuracy]:
    """From (person, whether an answer is right) for each gold item, once MIN_GOLD were answered.

    Who is right least often stands first: that is whom a lead has to talk to.
    """
    counts = defaultdict[str, list[int]](lambda: [0, 0])
    for rater, right in answers:
        counts[rater][0] += 1
        counts[rater][1] += right
    told = [_accuracy(rater, asked, right) for rater, (asked, right) in counts.items()]
    return sorted(told, key=lambda one: (one.accuracy is None, one.right / one.asked, one.rater))


def is_right(values: Mapping[str, Any], gold: Mapping[str, Any]) -> bool:
    """Whether every field that has a gold value was given that one; chips in any order.

    >>> is_right({"count": 3, "kinds": ["b", "a"], "why": "x"}, {"count": 3, "kinds": ["a", "b"]})
    True
    >>> is_right({"count": 4}, {"count": 3})
    False
    """
    return all(_alike(values.get(name), wanted) for name, wanted in gold.items())


def _alike(given: Any, wanted: Any) -> bool:
    if isinstance(given, str) and isinstance(wanted, str):
        return given.strip().casefold() == wanted.strip().casefold()
    texts = isinstance(wanted, list) and all(isinstance(one, str) for one in wanted)
    if texts and isinstance(given, list) and all(isinstance(one, str) for one in given):
        return set(given) == set(wanted)
    return bool(given == wanted)


def _accuracy(rater: str, asked: int, right: int) -> GoldAccuracy:
    if asked < MIN_GOLD:
        missing = too_few(MIN_GOLD - asked, "gold items")
        return GoldAccuracy(rater, asked, right, missing=missing)
    return GoldAccuracy(rater, asked, right, share(right, asked))
