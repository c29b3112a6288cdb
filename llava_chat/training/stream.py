"""Endless training samples by number, so that a run resumes where it stopped.

Sample k of a stream is made from its number alone: the same whichever worker makes it, and however
often the run was interrupted.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar, cast

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from llava_chat.errors import LlavaChatError, TrainingDataError

Sample = TypeVar("Sample")
Batch = TypeVar("Batch")


class SampleStream(IterableDataset[Sample], Generic[Sample]):
    """make(number) for first, first + 1, ... shared out over the loader's workers by batches."""

    def __init__(self, make: Callable[[int], Sample], first: int, batch_size: int) -> None:
        self.make = make
        self.first = first
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        workers, place = (worker.num_workers, worker.id) if worker else (1, 0)
        # The loader takes a whole batch from each worker in turn.
        for batch in count(place, workers):
            start = self.first + batch * self.batch_size
            yield from map(self.make, range(start, start + self.batch_size))


@dataclass(frozen=True)
class _Refused:
    """Takes the place of a sample: an exception would come out of a worker with its traceback."""

    sentence: str


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)


def from_random(make: Callable[[random.Random], Sample], seed: int) -> Callable[[int], Sample]:
    """make(rng) as a function of the sample's number."""
    return lambda number: make(random.Random(f"{seed}:{number}"))


def batches(
    make: Callable[[int], Sample],
    collate: Callable[[list[Sample]], Batch],
    *,
    batch_size: int,
    first: int = 0,
    workers: int = 1,
) -> Iterator[Batch]:
    """Batches of samples without end, the same whatever the number of workers.

    workers: processes that make them ahead, on Linux; 0 makes them here. Raises TrainingDataError
    for a sample that cannot be made.
    """

    def tried(number: int) -> Sample | _Refused:
        try:
            return make(number)
        except LlavaChatError as error:
            return _Refused(str(error))

    def collated(samples: list[Sample | _Refused]) -> Batch | _Refused:
        refused = [sample for sample in samples if isinstance(sample, _Refused)]
        return refused[0] if refused else collate(cast(list[Sample], samples))

    workers = workers if sys.platform == "linux" else 0
    loader: DataLoader[Sample | _Refused] = DataLoader(
        SampleStream(tried, first, batch_size),
        batch_size=batch_size,
        collate_fn=collated,
        num_workers=workers,
        # What makes a sample is a closure, which only a fork takes along; no longer the default
        # from Python 3.14 on, nor in a process that was itself spawned.
        multiprocessing_context="fork" if workers else None,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread if workers else None,
        persistent_workers=workers > 0,
    )
    for batch in loader:
        if isinstance(batch, _Refused):
            raise TrainingDataError(batch.sentence)
        yield batch


def reused(fresh: Iterator[Batch], times: int, apart: int = 40) -> Iterator[Batch]:
    """Each batch `times` times, about `apart` batches between, where making one costs the most.

    >>> list(reused(iter("abcd"), times=2, apart=1))
    ['a', 'b', 'a', 'c', 'b', 'd', 'c']
    """
    waiting: deque[tuple[Batch, int]] = deque()
    for batch in fresh:
        yield batch
        waiting.append((batch, times - 1))
        if len(waiting) <= apart:
            continue
        for _ in range(times - 1):
            again, left = waiting.popleft()
            yield again
            if left > 1:
                waiting.append((again, left - 1))
