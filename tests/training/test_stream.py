"""Samples by number: the same whoever makes them and however often a run was interrupted."""

import random
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, islice

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


def uses(times: int, steps: int, *, step: int = 0, apart: int = 40, workers: int = 0) -> list[int]:
    """The batch that each step uses, the batches being the numbers from 0 on."""
    found: Iterator[int] = reused(
        lambda number: number,
        lambda samples: samples[0] // 2,
        batch_size=2,
        times=times,
        step=step,
        workers=workers,
        apart=apart,
    )
    return list(islice(found, steps))


@pytest.mark.parametrize("times", [1, 2, 3])
def test_each_batch_is_used_as_often_as_asked(times: int) -> None:
    used = uses(times, 400, apart=5)
    counted = Counter(used)
    oldest = [counted[number] for number in range(max(used) - 20)]
    assert set(oldest) == {times}


def test_a_batch_comes_again_some_batches_later() -> None:
    used = uses(2, 200, apart=10)
    places: dict[int, list[int]] = {}
    for place, number in enumerate(used):
        places.setdefault(number, []).append(place)
    apart = [found[1] - found[0] for found in places.values() if len(found) == 2]
    assert min(apart) >= 10


@pytest.mark.parametrize("times", [1, 2, 3, 4])
@pytest.mark.parametrize("step", [1, 40, 41, 43, 100, 257])
def test_a_run_that_was_stopped_uses_the_batches_of_an_unbroken_one(times: int, step: int) -> None:
    assert uses(times, 150, step=step) == uses(times, step + 150)[step:]


def test_the_order_of_runs_that_began_earlier_stays() -> None:
    assert uses(3, 104)[100:] == [60, 40, 0, 61]
    assert uses(3, 60, step=100, workers=2) == uses(3, 160)[100:]


@pytest.mark.parametrize(("times", "most"), [(1, 2), (3, 90)])
def test_a_batch_that_was_used_up_is_let_go(times: int, most: int) -> None:
    class Heavy:
        pass

    alive: weakref.WeakSet[Heavy] = weakref.WeakSet()

    def collate(samples: list[int]) -> Heavy:
        batch = Heavy()
        alive.add(batch)
        return batch

    used = reused(lambda number: number, collate, batch_size=1, times=times, workers=0)
    assert max(len(alive) for _ in islice(used, 400)) <= most
