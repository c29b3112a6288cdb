"""What holds of any figures, and that nothing is shown where there is too little."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings, strategies as st

from llava_chat.feedback.results.agreement import Judgement, agreement, pairs
from llava_chat.feedback.results.estimate import MIN_GOLD, MIN_ITEMS, MIN_VOTES
from llava_chat.feedback.results.gold import gold_accuracy
from llava_chat.feedback.results.ranking import Match, ranking
from llava_chat.feedback.results.volume import MAX_DAYS, Event, volume

values = st.lists(st.integers(1, 5), min_size=MIN_ITEMS, max_size=40)
several = values.filter(lambda said: len(set(said)) > 1)


def said_by(raters: tuple[str, ...], said: list[int]) -> list[Judgement]:
    return [Judgement(f"item {n}", who, value) for n, value in enumerate(said) for who in raters]


@given(several)
@settings(max_examples=5, deadline=None)
def test_alpha_is_one_where_everybody_agrees(said: list[int]) -> None:
    found = agreement(said_by(("a", "b", "c"), said), ("nominal", "ordinal", "interval"))
    assert {round(estimate.value, 9) for estimate in found.alpha.values()} == {1.0}
    kappas = [pair.kappa for pair in pairs(said_by(("a", "b", "c"), said))]
    assert [kappa and round(kappa.value, 9) for kappa in kappas] == [1.0] * 3


@given(st.lists(st.tuples(*[st.integers(1, 3)] * 3), min_size=MIN_ITEMS, max_size=30))
@settings(max_examples=5, deadline=None)
def test_alpha_does_not_depend_on_who_is_called_what(said: list[tuple[int, int, int]]) -> None:
    def named(names: tuple[str, ...]) -> list[Judgement]:
        return [
            Judgement(f"item {n}", who, value)
            for n, three in enumerate(said)
            for who, value in zip(names, three, strict=True)
        ]

    one = agreement(named(("a", "b", "c")), ("ordinal",))
    other = agreement(named(("c", "z", "a")), ("ordinal",))
    assert one == other


def test_what_one_person_judged_counts_for_nothing() -> None:
    told = said_by(("a", "b"), [1, 2] * MIN_ITEMS)
    alone = [Judgement(f"another {n}", "a", 5) for n in range(50)]
    assert agreement([*told, *alone], ("nominal",)) == agreement(told, ("nominal",))


def test_nothing_is_shown_under_the_stated_overlap() -> None:
    short = MIN_ITEMS - 3
    found = agreement(said_by(("a", "b"), [1, 2] * (short // 2) + [1]), ("nominal",))
    assert found.items == short and not found.alpha
    assert found.missing == "Too few to say: 3 more items that two people judged needed."
    (pair,) = pairs(said_by(("a", "b"), [1] * short))
    assert (
        pair.kappa is None
        and pair.missing == "Too few to say: 3 more items that both judged needed."
    )
    nobody = agreement([], ("nominal",))
    assert nobody.raters == 0 and str(MIN_ITEMS) in nobody.missing


def test_where_everybody_always_says_the_same_chance_would_too() -> None:
    found = agreement(said_by(("a", "b"), [3] * MIN_ITEMS), ("nominal", "ordinal"))
    assert not found.alpha and "chance" in found.missing
    (pair,) = pairs(said_by(("a", "b"), [3] * MIN_ITEMS), domain=range(1, 6))
    assert pair.kappa is None and "chance" in pair.missing


def test_a_persons_later_answer_takes_the_place_of_the_earlier() -> None:
    told = said_by(("a", "b"), [1, 2] * MIN_ITEMS)
    changed = [Judgement("item 0", "b", 2), *told]
    assert agreement(changed, ("nominal",)) == agreement(told, ("nominal",))


def matches(left: str, right: str, lefts: int, rights: int, ties: int = 0) -> list[Match]:
    choices = ["left"] * lefts + ["right"] * rights + ["tie"] * ties
    return [
        Match(left, right, choice, f"{left}{right}{n}")  # type: ignore[arg-type]
        for n, choice in enumerate(choices)
    ]


def test_a_model_with_few_votes_is_not_ranked_and_counts_are_told() -> None:
    found = ranking([*matches("a", "b", 15, 10), *matches("c", "a", 3, 1)])
    strengths = {standing.name: standing.strength for standing in found.standings}
    assert strengths["a"] and strengths["b"] and strengths["c"] is None
    assert found.standings[-1].name == "c" and found.standings[-1].wins == 3
    assert str(MIN_VOTES) in found.missing
    few = ranking(matches("a", "b", 3, 2))
    assert few.missing.startswith(f"Too few to say: {MIN_VOTES - 5} more votes on")


@pytest.mark.parametrize(
    "said",
    [
        matches("a", "b", 30, 0),
        [*matches("a", "b", 15, 15), *matches("c", "d", 15, 15)],
    ],
    ids=["never beaten", "never met"],
)
def test_what_has_no_finite_answer_gets_none(said: list[Match]) -> None:
    found = ranking(said)
    assert found.missing.startswith("No ranking fits")
    assert all(standing.strength is None for standing in found.standings)


def test_a_tie_is_half_a_win_for_each() -> None:
    tied = ranking(matches("a", "b", 20, 10, ties=10))
    halves = ranking(matches("a", "b", 25, 15))
    for one, other in zip(tied.standings, halves.standings, strict=True):
        assert one.strength and other.strength
        assert one.strength.value == pytest.approx(other.strength.value, abs=0.01)


def test_both_bad_counts_as_a_tie_and_a_model_against_itself_not_at_all() -> None:
    bad = [Match("a", "b", "both_bad", f"bad {n}") for n in range(10)]
    itself = [Match("a", "a", "left", f"itself {n}") for n in range(10)]
    found = ranking([*matches("a", "b", 20, 10), *bad, *itself])
    assert found.votes == 40
    assert [standing.ties for standing in found.standings] == [10, 10]


def test_turns_of_one_comparison_are_less_sure_than_as_many_comparisons() -> None:
    apart = matches("a", "b", 40, 20)
    together = [Match(one.left, one.right, one.choice, f"{n // 6}") for n, one in enumerate(apart)]
    sure, less_sure = ranking(apart).standings[0].strength, ranking(together).standings[0].strength
    assert sure and less_sure and sure.value == pytest.approx(less_sure.value)
    assert less_sure.high - less_sure.low > sure.high - sure.low


def test_gold_needs_enough_items_and_who_is_right_least_stands_first() -> None:
    told = [("cat", n > 2) for n in range(MIN_GOLD)] + [("ann", True)] * MIN_GOLD
    found = gold_accuracy([*told, *[("bob", False)] * (MIN_GOLD - 4)])
    assert [(one.rater, one.right) for one in found] == [("cat", 7), ("ann", 10), ("bob", 0)]
    assert found[0].accuracy and found[0].accuracy.value == 0.7
    assert found[2].accuracy is None and found[2].missing.startswith("Too few to say: 4 more")


def test_volume_has_every_day_and_weeks_where_there_are_many() -> None:
    begin = datetime(2026, 1, 30, 23, 30, tzinfo=UTC)
    events = [
        Event(begin, "liked", "ann", ("m",)),
        Event(begin + timedelta(days=2), "disliked", "bob", ("m", "m"), ("style",)),
    ]
    found = volume(events)
    assert (found.step, found.people, found.total) == ("day", 2, 2)
    assert list(found.by_time) == [date(2026, 1, 30), date(2026, 1, 31), date(2026, 2, 1)]
    assert found.by_time[date(2026, 1, 31)]["liked"] == 0
    assert found.by_model["m"]["disliked"] == 1 and found.by_reason["style"] == 1
    weeks = volume([*events, Event(begin + timedelta(days=MAX_DAYS), "vote", "ann")])
    assert weeks.step == "week" and all(day.weekday() == 0 for day in weeks.by_time)
    assert sum(sum(counts.values()) for counts in weeks.by_time.values()) == 3
