"""VQA's accuracy: against the formula written out plainly, and against sums worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from llava_chat.evaluation.vqa.accuracy import Annotation, accuracy, figures

WORDS = st.sampled_from(["red", "blue", "2", "don't", "dark red"])


def plainly(said: str, answers: Sequence[str]) -> Fraction:
    """Leave one out, count among the rest, average."""
    total = Fraction(0)
    for left_out in range(len(answers)):
        rest = [answer for place, answer in enumerate(answers) if place != left_out]
        total += min(Fraction(1), Fraction(rest.count(said), 3))
    return total / len(answers)


@given(WORDS, st.lists(WORDS, min_size=10, max_size=10))
def test_it_is_the_mean_over_leaving_each_person_out(said: str, answers: list[str]) -> None:
    assert accuracy(said, answers) == pytest.approx(float(plainly(said, answers)))


@pytest.mark.parametrize(("people", "expected"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1)])
def test_four_people_make_an_answer_right(people: int, expected: float) -> None:
    assert accuracy("red", ["red"] * people + ["blue"] * (10 - people)) == pytest.approx(expected)


def test_both_sides_are_normalised_where_people_differ() -> None:
    answers = ["Two dogs."] * 2 + ["the two dogs", "2 dogs", "2-dogs"] + ["cats"] * 5
    assert accuracy("two dogs", answers) == 1.0
    assert accuracy("A cats!", answers) == 1.0
    assert accuracy("two-dogs", ["a", "the", *["2 dogs"] * 8]) == 1.0


def test_nothing_is_normalised_where_all_people_say_the_same() -> None:
    assert accuracy("a", ["a"] * 10) == 1.0
    assert accuracy("A", ["a"] * 10) == 0.0
    assert accuracy("stop.", ["stop"] * 10) == 0.0
    assert accuracy(" stop\n", ["stop\t"] * 10) == 1.0


def test_articles_alone_are_the_same_nothing() -> None:
    """As officially: people who differ by an article only say "" by then."""
    assert accuracy("the", ["a"] * 4 + ["b"] * 6) == 1.0


def test_figures_are_means_over_questions() -> None:
    def of(question_type: str, answer_type: str) -> Annotation:
        return Annotation(question_type, answer_type, ("x",))

    found = figures(
        [
            (of("what", "other"), 0.3),
            (of("is the", "yes/no"), 1.0),
            (of("what", "other"), 0.9),
            (of("how many", "number"), 0.0),
        ]
    )
    assert found.overall.questions == 4
    assert found.overall.accuracy == pytest.approx(0.55)
    assert list(found.answer_types) == ["yes/no", "number", "other"]
    assert found.answer_types["other"].accuracy == pytest.approx(0.6)
    assert list(found.question_types) == ["how many", "is the", "what"]
    assert found.question_types["what"].questions == 2
