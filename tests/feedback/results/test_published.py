"""Figures as they were published, and as the libraries themselves give them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from llava_chat.feedback.results.agreement import (
    Judgement,
    Level,
    agreement,
    alpha,
    weight_matrix,
    weighted_kappa,
)
from llava_chat.feedback.results.ranking import Match, ranking, strengths

# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: four observers,
# twelve units, 0 where one did not judge.
KRIPPENDORFF_2011 = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3),
    (0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0),
)
# Agresti, Categorical Data Analysis (2nd edition, 2002), table 10.10: who won how often of whom
# in the American League's Eastern Division, 1987; table 10.11 has the fit, Baltimore being 0.
TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
WINS = (
    (0, 7, 9, 7, 7, 9, 11),
    (6, 0, 7, 5, 11, 9, 9),
    (4, 6, 0, 7, 7, 8, 12),
    (6, 8, 6, 0, 6, 7, 10),
    (6, 2, 6, 7, 0, 7, 12),
    (4, 4, 5, 6, 6, 0, 6),
    (2, 4, 1, 3, 1, 7, 0),
)
AGRESTI_2002 = (1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0.0)


def counted(rows: Sequence[Sequence[int]]) -> Any:
    """(units, values): how many observers gave which of the values 1 to 5."""
    table = np.array(rows)
    return np.stack([(table == value).sum(axis=0) for value in range(1, 6)], axis=1)


@pytest.mark.parametrize(
    ("level", "published"),
    [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)],
)
def test_alpha_is_that_of_krippendorffs_own_example(level: Level, published: float) -> None:
    assert round(alpha(counted(KRIPPENDORFF_2011), range(1, 6), level), 3) == published


def test_alpha_of_judgements_is_that_of_the_same_table() -> None:
    """Three times over, so that there are enough units; alpha at the nominal level changes with
    the number of units, by the library's own count as well."""
    import krippendorff

    said = [
        Judgement(f"{copy}-{unit}", f"observer {row}", value)
        for copy in range(3)
        for row, values in enumerate(KRIPPENDORFF_2011)
        for unit, value in enumerate(values)
        if value
    ]
    found = agreement(said, ("nominal", "ordinal", "interval"))
    table = np.tile(np.array(KRIPPENDORFF_2011, dtype=float), 3)
    table[table == 0] = np.nan
    for level, estimate in found.alpha.items():
        assert estimate.value == pytest.approx(
            krippendorff.alpha(table, level_of_measurement=level)
        )
        assert estimate.low < estimate.value < estimate.high
    assert (found.items, found.raters, found.missing) == (33, 4, "")  # one unit has one judgement


def test_kappa_is_that_of_cohens_own_example() -> None:
    """Psychological Bulletin 70 (1968), table 1: 200 patients, three diagnoses."""
    table = np.array([[88, 14, 18], [10, 40, 10], [2, 6, 12]])
    apart = np.array([[0, 1, 3], [1, 0, 6], [3, 6, 0]])
    assert round(float(weighted_kappa(table, apart)), 3) == 0.348
    assert round(float(weighted_kappa(table, weight_matrix(3, "none"))), 3) == 0.492


def test_linear_kappa_is_that_of_the_vcd_package() -> None:
    """Its example: 91 couples on how often sex is fun (Hout, Duncan and Sobel, Sociological
    Methodology 17, 1987)."""
    table = np.array([[7, 7, 2, 3], [2, 8, 3, 7], [1, 5, 4, 9], [2, 8, 9, 14]])
    assert round(float(weighted_kappa(table, weight_matrix(4, "none"))), 4) == 0.1293
    assert round(float(weighted_kappa(table, weight_matrix(4, "linear"))), 4) == 0.2374


two_raters = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30
).filter(lambda both: len({value for pair in both for value in pair}) > 1)


@given(two_raters, st.sampled_from(["none", "linear", "quadratic"]))
@settings(max_examples=40, deadline=None)
def test_kappa_is_scikit_learns(both: list[tuple[int, int]], weights: str) -> None:
    from sklearn.metrics import cohen_kappa_score

    table = np.zeros((4, 4), dtype=int)
    for one, other in both:
        table[one, other] += 1
    ours = float(weighted_kappa(table, weight_matrix(4, weights)))  # type: ignore[arg-type]
    first, second = zip(*both, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what neither of the two ever said
        theirs = cohen_kappa_score(
            first, second, labels=range(4), weights=None if weights == "none" else weights
        )
    assert ours == pytest.approx(theirs, nan_ok=True)


def games() -> Iterator[tuple[int, int]]:
    for winner, row in enumerate(WINS):
        for loser, won in enumerate(row):
            yield from ((winner, loser) for _ in range(won))


def won_games() -> list[Match]:
    return [
        Match(TEAMS[winner], TEAMS[loser], "left", f"game {n}")
        for n, (winner, loser) in enumerate(games())
    ]


def test_strengths_are_those_of_agrestis_baseball_teams() -> None:
    cells = [(winner, loser, False) for winner, loser in games()]
    fitted = strengths(cells, [1.0] * len(cells))
    assert tuple(np.round(fitted - fitted[-1], 2)) == AGRESTI_2002


def test_a_ranking_of_the_same_games_has_the_same_distances() -> None:
    matches = won_games()
    found = ranking(matches)
    assert [standing.name for standing in found.standings] == list(TEAMS)
    points = [standing.strength.value for standing in found.standings if standing.strength]
    logits = (np.array(points) - points[-1]) * np.log(10) / 400
    assert tuple(np.round(logits, 2)) == AGRESTI_2002
    assert np.mean(points) == pytest.approx(1000)
    assert (found.votes, found.missing) == (len(matches), "")


def test_the_bootstraps_intervals_are_as_wide_as_the_models_own_errors_say() -> None:
    """By the fit's information matrix, whose pseudoinverse is the covariance around the mean."""
    matches = won_games()
    wins = np.array(WINS)
    chance = 1 / (1 + np.exp(np.subtract.outer(AGRESTI_2002, AGRESTI_2002)))
    weight = (wins + wins.T) * chance * (1 - chance)
    covariance = np.linalg.pinv(np.diag(weight.sum(axis=1)) - weight)
    errors = dict(zip(TEAMS, np.sqrt(np.diag(covariance)), strict=True))
    for standing in ranking(matches).standings:
        assert standing.strength is not None
        width = (standing.strength.high - standing.strength.low) * np.log(10) / 400
        assert width == pytest.approx(2 * 1.96 * errors[standing.name], rel=0.15)
