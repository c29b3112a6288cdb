"""Which of several models people prefer, from votes between two: the Bradley-Terry model.

The chance that i is preferred to j is s_i / (s_i + s_j) (Biometrika 39, 1952). Strengths are fitted
by `evalica` with Newman's iteration (Journal of Machine Learning Research 24, 2023) and told on
Elo's scale, as Chatbot Arena does (arXiv 2403.04132): 400 points are odds of ten to one, and the
mean is 1,000. A tie is half a win for each, and so is "both are bad", which says that neither was
better: that is how Chatbot Arena counts both.

Intervals are of the Bayesian bootstrap (Rubin, Annals of Statistics 9, 1981), which weighs each
comparison anew and leaves none out, so that every resample has an answer. Votes on several turns of
one comparison are weighed together. Imports numpy and evalica, where they are used alone.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from llava_chat.feedback.results.estimate import (
    MIN_VOTES,
    RESAMPLES,
    SEED,
    Estimate,
    percentile_interval,
    too_few,
)

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Choice = Literal["left", "right", "tie", "both_bad"]

POINTS_PER_TENFOLD = 400
MEAN_STRENGTH = 1_000
# Far below what is shown, and far above what any number of contestants takes.
_TOLERANCE = 1e-9
_LIMIT = 10_000


@dataclass(frozen=True)
class Match:
    """One vote. left, right: what stood there. comparison: votes on the same one hang together."""

    left: str
    right: str
    choice: Choice
    comparison: str


@dataclass(frozen=True)
class Standing:
    """One contestant. wins, ties, losses: votes. strength: None where there is no ranking."""

    name: str
    wins: int
    ties: int
    losses: int
    strength: Estimate | None = None

    @property
    def votes(self) -> int:
        """All votes that it was part of."""
        return self.wins + self.ties + self.losses


@dataclass(frozen=True)
class Ranking:
    """All contestants, the strongest first. missing: why somebody has no strength, or ""."""

    standings: tuple[Standing, ...]
    votes: int
    missing: str = ""


def ranking(matches: Iterable[Match]) -> Ranking:
    """The contestants by strength; those with fewer than MIN_VOTES have none and come last.

    A vote between a contestant and itself says nothing and is left out.
    """
    between = [match for match in matches if match.left != match.right]
    standings = _counted(between)
    ready = {standing.name for standing in standings if standing.votes >= MIN_VOTES}
    judged = [match for match in between if match.left in ready and match.right in ready]
    missing = _missing(standings, ready, judged)
    if missing and (len(ready) < 2 or not _comparable(ready, judged)):
        return Ranking(tuple(standings), len(between), missing)
    strengths = _estimates(judged)
    told = [
        Standing(one.name, one.wins, one.ties, one.losses, strengths.get(one.name))
        for one in standings
    ]
    told.sort(key=lambda one: (one.strength is None, -(one.strength.value if one.strength else 0)))
    return Ranking(tuple(told), len(between), missing)


def strengths(cells: Sequence[tuple[int, int, bool]], weights: Sequence[float]) -> Array:
    """The logarithms of the fitted strengths of contestants 0, 1, ..., their mean 0.

    cells: (better, other, whether it was a tie); weights: how often each. Everybody must be in one.
    """
    import evalica
    import numpy as np

    fitted = evalica.bradley_terry(
        [better for better, _, _ in cells],
        [other for _, other, _ in cells],
        [evalica.Winner.Draw if tied else evalica.Winner.X for _, _, tied in cells],
        weights=weights,
        tie_weight=0.5,
        tolerance=_TOLERANCE,
        limit=_LIMIT,
    )
    logarithms = np.log(fitted.scores.sort_index().to_numpy())
    centred: Array = logarithms - logarithms.mean()
    return centred


def _estimates(judged: Sequence[Match]) -> dict[str, Estimate]:
    import numpy as np

    names = sorted({name for match in judged for name in (match.left, match.right)})
    place = {name: index for index, name in enumerate(names)}
    cells = [_cell(match, place) for match in judged]
    kinds = sorted(set(cells))
    kind_of = {kind: index for index, kind in enumerate(kinds)}
    of_kind = np.array([kind_of[cell] for cell in cells])
    comparisons = {name: n for n, name in enumerate(dict.fromkeys(m.comparison for m in judged))}
    of_comparison = np.array([comparisons[match.comparison] for match in judged])
    random = np.random.default_rng(SEED)
    draws = [np.ones(len(comparisons))]
    draws += list(random.standard_exponential((RESAMPLES, len(comparisons))))
    points = np.array(
        [strengths(kinds, np.bincount(of_kind, drawn[of_comparison]).tolist()) for drawn in draws]
    )
    points = MEAN_STRENGTH + points * (POINTS_PER_TENFOLD / math.log(10))
    return {
        name: percentile_interval(float(points[0, n]), points[1:, n])
        for n, name in enumerate(names)
    }


def _cell(match: Match, place: dict[str, int]) -> tuple[int, int, bool]:
    left, right = place[match.left], place[match.right]
    if match.choice in ("tie", "both_bad"):
        return min(left, right), max(left, right), True
    return (left, right, False) if match.choice == "left" else (right, left, False)


def _counted(matches: Sequence[Match]) -> list[Standing]:
    wins, ties, losses = Counter[str](), Counter[str](), Counter[str]()
    for match in matches:
        if match.choice in ("tie", "both_bad"):
            ties.update((match.left, match.right))
            continue
        better = match.choice == "left"
        wins[match.left if better else match.right] += 1
        losses[match.right if better else match.left] += 1
    names = {name for match in matches for name in (match.left, match.right)}
    standings = [Standing(name, wins[name], ties[name], losses[name]) for name in names]
    return sorted(standings, key=lambda one: (-one.votes, one.name))


def _missing(standings: Sequence[Standing], ready: set[str], judged: Sequence[Match]) -> str:
    if not standings:
        return "There are no votes between two models yet."
    if short := [one for one in standings if one.name not in ready]:
        needed = MIN_VOTES - max(one.votes for one in short)
        if len(ready) < 2:
            return too_few(needed, f"votes on {short[0].name}")
    if not _comparable(ready, judged):
        return (
            "No ranking fits: some models were never preferred to, or never compared with, the "
            "others. More votes are needed."
        )
    return f"Models with fewer than {MIN_VOTES} votes are not ranked." if short else ""


def _comparable(names: set[str], matches: Sequence[Match]) -> bool:
    """Whether everybody was once as good as everybody else, directly or by way of others.

    Only then have the strengths a finite answer (Ford, American Mathematical Monthly 64, 1957).
    """
    as_good = {name: {name} for name in names}
    for match in matches:
        if match.choice != "right":
            as_good[match.left].add(match.right)
        if match.choice != "left":
            as_good[match.right].add(match.left)
    for through, one in itertools.product(names, names):
        if through in as_good[one]:
            as_good[one] |= as_good[through]
    return len(names) > 1 and all(reached == names for reached in as_good.values())
