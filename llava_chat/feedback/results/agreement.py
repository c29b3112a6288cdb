"""How far people who judged the same items agree: Krippendorff's alpha, and kappa for two of them.

Alpha is `krippendorff`'s (Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011); it takes
any number of people and items that not everybody judged. Cohen's kappa, weighted (Psychological
Bulletin 70, 1968), is computed here: the formula is two lines, and a thousand resamples of every
pair of people take one array. Intervals resample the items (Zapf et al., BMC Medical Research
Methodology 16:93, 2016). Imports numpy and krippendorff, where they are used alone.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from llava_chat.feedback.results.estimate import (
    MIN_ITEMS,
    MIN_RATERS,
    RESAMPLES,
    SEED,
    Estimate,
    percentile_interval,
    too_few,
)

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Level = Literal["nominal", "ordinal", "interval", "ratio"]
Weights = Literal["none", "linear", "quadratic"]
Value = str | int | float | bool

MAX_PAIRS = 50
"""Of people, those who share most items first: of more nobody reads a table."""


@dataclass(frozen=True)
class Judgement:
    """What one person said of one item, in one question."""

    item: str
    rater: str
    value: Value


@dataclass(frozen=True)
class Agreement:
    """How far people agree in one question.

    items: judged by two people or more. raters: who judged one of these. judgements: theirs.
    alpha: by level of measurement; empty where `missing` says why there is none.
    """

    items: int
    raters: int
    judgements: int
    alpha: Mapping[Level, Estimate] = field(default_factory=dict)
    missing: str = ""


@dataclass(frozen=True)
class PairAgreement:
    """How far two people agree. items: which both judged. kappa: None where `missing` says why."""

    raters: tuple[str, str]
    items: int
    kappa: Estimate | None = None
    missing: str = ""


def alpha(counts: Array, domain: Sequence[Value], level: Level) -> float:
    """Krippendorff's alpha. counts: (items, values), how many people said what of which item.

    domain: the values in their order. NaN where everybody said the same of everything: chance
    alone would then agree as well.
    """
    import krippendorff
    import numpy as np

    said = counts[counts.sum(axis=1) > 1]
    if (said.sum(axis=0) > 0).sum() < 2:
        return float("nan")
    values = np.arange(len(domain)) if isinstance(domain[0], str) else np.asarray(domain, float)
    return float(
        krippendorff.alpha(value_counts=said, value_domain=values, level_of_measurement=level)
    )


def agreement(
    judgements: Iterable[Judgement], levels: Sequence[Level], domain: Sequence[Value] | None = None
) -> Agreement:
    """Alpha at each level, with intervals, once MIN_ITEMS were judged by MIN_RATERS people.

    domain: the values that could be chosen, in order; by default those that were, sorted.
    """
    import numpy as np

    items = _shared(judgements)
    raters = {rater for said in items.values() for rater in said}
    total = sum(len(said) for said in items.values())
    found = Agreement(len(items), len(raters), total)
    if len(items) < MIN_ITEMS or len(raters) < MIN_RATERS:
        missing = too_few(max(1, MIN_ITEMS - len(items)), "items that two people judged")
        return Agreement(found.items, found.raters, found.judgements, missing=missing)
    domain = domain or _domain(items)
    place = {value: index for index, value in enumerate(domain)}
    counts = np.zeros((len(items), len(domain)))
    for row, said in enumerate(items.values()):
        for value in said.values():
            counts[row, place[value]] += 1
    estimates = {level: _alpha_estimate(counts, domain, level) for level in levels}
    if any(one is None for one in estimates.values()):
        missing = "Everybody chose the same every time: chance would agree as well."
        return Agreement(found.items, found.raters, found.judgements, missing=missing)
    told = {level: one for level, one in estimates.items() if one is not None}
    return Agreement(found.items, found.raters, found.judgements, told)


def pairs(
    judgements: Iterable[Judgement],
    weights: Weights = "linear",
    domain: Sequence[Value] | None = None,
) -> list[PairAgreement]:
    """Cohen's kappa of every two people who share an item, those who share most first.

    weights: of steps between values in the order of `domain`; "none" for values without an order.
    At most MAX_PAIRS; nothing is computed under MIN_ITEMS.
    """
    items = _shared(judgements)
    domain = domain or _domain(items)
    place = {value: index for index, value in enumerate(domain)}
    shared = defaultdict[tuple[str, str], list[tuple[int, int]]](list)
    for said in items.values():
        for one, other in itertools.combinations(sorted(said), 2):
            shared[one, other].append((place[said[one]], place[said[other]]))
    most = sorted(shared.items(), key=lambda entry: (-len(entry[1]), entry[0]))[:MAX_PAIRS]
    apart = weight_matrix(len(domain), weights)
    return [_pair(raters, both, apart) for raters, both in most]


def weight_matrix(values: int, weights: Weights) -> Array:
    """How far apart any two of so many values are.

    >>> weight_matrix(3, "quadratic").tolist()
    [[0, 1, 4], [1, 0, 1], [4, 1, 0]]
    """
    import numpy as np

    steps = np.arange(values)
    distance: Array = np.abs(steps[:, None] - steps[None, :])
    by_kind: dict[Weights, Array] = {
        "none": np.minimum(distance, 1),
        "linear": distance,
        "quadratic": distance**2,
    }
    return by_kind[weights]


def weighted_kappa(table: Array, apart: Array) -> Array:
    """Cohen's weighted kappa. table: (..., values, values), how often one said this, one that.

    apart: (values, values), how bad each disagreement is. NaN where both always said the same one.
    """
    import numpy as np

    total = table.sum(axis=(-2, -1), keepdims=True)
    expected = table.sum(axis=-1, keepdims=True) * table.sum(axis=-2, keepdims=True) / total
    with np.errstate(invalid="ignore", divide="ignore"):
        kappa: Array = 1 - (table * apart).sum(axis=(-2, -1)) / (expected * apart).sum(
            axis=(-2, -1)
        )
    return kappa


def _shared(judgements: Iterable[Judgement]) -> dict[str, dict[str, Value]]:
    """By item what each person said of it, of those items that two or more judged."""
    items = defaultdict[str, dict[str, Value]](dict)
    for one in judgements:
        items[one.item][one.rater] = one.value
    return {item: said for item, said in items.items() if len(said) > 1}


def _domain(items: Mapping[str, Mapping[str, Value]]) -> list[Value]:
    said = {value for values in items.values() for value in values.values()}
    return sorted(said, key=lambda value: (isinstance(value, str), value))


def _alpha_estimate(counts: Array, domain: Sequence[Value], level: Level) -> Estimate | None:
    import numpy as np

    value = alpha(counts, domain, level)
    if np.isnan(value):
        return None
    drawn = np.random.default_rng(SEED).integers(len(counts), size=(RESAMPLES, len(counts)))
    return percentile_interval(value, [alpha(counts[rows], domain, level) for rows in drawn])


def _pair(raters: tuple[str, str], both: Sequence[tuple[int, int]], apart: Array) -> PairAgreement:
    import numpy as np

    if len(both) < MIN_ITEMS:
        missing = too_few(MIN_ITEMS - len(both), "items that both judged")
        return PairAgreement(raters, len(both), missing=missing)
    values = len(apart)
    cells = np.array([one * values + other for one, other in both])
    drawn = np.random.default_rng(SEED).integers(len(cells), size=(RESAMPLES, len(cells)))
    every = np.vstack((cells[None, :], cells[drawn]))
    offsets = np.arange(len(every))[:, None] * values**2
    tables = np.bincount((every + offsets).ravel(), minlength=len(every) * values**2)
    kappas = weighted_kappa(tables.reshape(-1, values, values), apart)
    if np.isnan(kappas[0]):
        missing = "Both chose the same every time: chance would agree as well."
        return PairAgreement(raters, len(both), missing=missing)
    return PairAgreement(raters, len(both), percentile_interval(float(kappas[0]), kappas[1:]))
