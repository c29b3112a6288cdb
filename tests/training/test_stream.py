"""Samples by number: the same whoever makes them and however often a run was interrupted."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, count, islice

import pytest

from llava_chat.training.stream import batches, from_random, reused


def number_of(rng: random.Random) -> int:
    return rng.randrange(10**9)


def first_batches(
    make: Callable[[int], int], batch_size: int, first: int = 0, workers: int = 0
) -> list[list[int]]:
    made: Iterator[list[int]] = batches(
        make, list, batch_size=batch_size, first=first, workers=workers
    )
    return list(islice(made, 5))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers: int) -> None:
    make = from_random(number_of, seed=3)
    assert first_batches(make, 4, workers=workers) == first_batches(make, 4)


def test_a_batch_holds_the_samples_of_its_numbers() -> None:
    assert first_batches(lambda number: number, 3)[:2] == [[0, 1, 2], [3, 4, 5]]


def test_a_stream_goes_on_where_it_stopped() -> None:
    make = from_random(number_of, seed=3)
    whole = list(chain(*first_batches(make, 4)))
    assert list(chain(*first_batches(make, 4, first=8)))[:12] == whole[8:]


def test_a_sample_depends_on_its_number_and_the_seed_alone() -> None:
    make = from_random(number_of, seed=7)
    # This very formula: runs that began earlier go on with it.
    assert make(5) == random.Random("7:5").randrange(10**9) == from_random(number_of, seed=7)(5)
    assert len({make(number) for number in range(50)}) == 50
    assert make(5) != from_random(number_of, seed=8)(5)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_each_batch_is_used_as_often_as_asked(times: int) -> None:
    used = list(islice(reused(count(), times, apart=5), 400))
    counted = Counter(used)
    oldest = [counted[number] for number in range(max(used) - 20)]
    assert set(oldest) == {times}


def test_a_batch_comes_again_some_batches_later() -> None:
    used = list(islice(reused(count(), times=2, apart=10), 200))
    places: dict[int, list[int]] = {}
    for place, number in enumerate(used):
        places.setdefault(number, []).append(place)
    apart = [found[1] - found[0] for found in places.values() if len(found) == 2]
    assert min(apart) >= 10
