"""Which picture is asked about for which type."""

from __future__ import annotations

from collections import Counter

import pytest

from llava_chat.errors import UsageError
from llava_chat.training.generation.kinds import PAPER_SHARES, Kind
from llava_chat.training.generation.pictures import DescribedPicture
from llava_chat.training.generation.plan import as_counts, parsed_types, planned

PICTURES = [DescribedPicture(str(n), f"{n}.jpg", ("A cat.",)) for n in range(100)]
COUNTS: dict[Kind, int] = {"conversation": 20, "detail": 10, "reasoning": 30}


def test_each_picture_once_for_a_type() -> None:
    tasks = planned(PICTURES, COUNTS, seed=0)
    assert Counter(task.kind for task in tasks) == COUNTS
    assert len({task.key for task in tasks}) == 60


def test_a_seed_is_a_choice_of_pictures() -> None:
    first, again, other = (planned(PICTURES, COUNTS, seed) for seed in (1, 1, 2))
    assert first == again
    assert {task.key for task in first} != {task.key for task in other}


def test_with_larger_counts_the_same_come_and_more() -> None:
    few = {task.key for task in planned(PICTURES, COUNTS, 0)}
    many = {task.key for task in planned(PICTURES, COUNTS | {"reasoning": 60, "brief": 5}, 0)}
    assert few < many


def test_every_beginning_has_the_types_in_their_shares() -> None:
    half = planned(PICTURES, COUNTS, 0)[:30]
    assert Counter(task.kind for task in half) == {"conversation": 10, "detail": 5, "reasoning": 15}


def test_more_rows_than_pictures() -> None:
    with pytest.raises(UsageError, match="101 rows of detail are wanted and there are 100"):
        planned(PICTURES, {"detail": 101}, 0)


@pytest.mark.parametrize("count", [1, 2, 79, 158, 158_000])
def test_shares_add_up_to_the_count(count: int) -> None:
    counts = as_counts(PAPER_SHARES, count)
    assert sum(counts.values()) == count
    if not count % 158:
        assert counts == {kind: share * count // 158 for kind, share in PAPER_SHARES.items()}


@pytest.mark.parametrize(
    "text",
    ["", "conversation", "conversation=", "cats=3", "detail=-1", "detail=nan", "detail=inf",
     "detail=1,detail=2", "detail=0,brief=0", "detail=1;brief=2"],
)  # fmt: skip
def test_types_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--types"):
        parsed_types(text)


def test_half_a_row() -> None:
    with pytest.raises(UsageError, match="whole numbers"):
        as_counts({"detail": 1.5}, None)
    assert as_counts({"detail": 1.5, "brief": 0.5}, 4) == {"detail": 3, "brief": 1}
