"""Endless training samples by number, so that a run resumes where it stopped.

Sample k of a stream is made from its number alone: the same whichever worker makes it, and however
often the run was interrupted.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Generic, TypeVar, cast

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from llava_chat.errors import LlavaChatError, TrainingDataError

Sample = TypeVar("Sample")
Batch = TypeVar("Batch")


class SampleStream(IterableDataset[list[Sample]], Generic[Sample]):
    """The samples of one batch after the other, shared out over the loader's workers by batches.

    make: a sample from its number. numbers: those of each batch.
    """

    def __init__(self, make: Callable[[int], Sample], numbers: Iterable[range]) -> None:
        self.make = make
        self.numbers = numbers

    def __iter__(self) -> Iterator[list[Sample]]:
        worker = get_worker_info()
        workers, place = (worker.num_workers, worker.id) if worker else (1, 0)
        # The loader takes a whole batch from each worker in turn.
        for batch in islice(self.numbers, place, None, workers):
            yield [self.make(number) for number in batch]


@dataclass(frozen=True)
class _Refused:
    """Takes the place of a sample: an exception would come out of a worker with its traceback."""

    sentence: str


def _apart(_worker: int) -> None:
    """One thread, and out of the trainer's process group.

    Launchers send SIGTERM to the whole group: a worker that died of it would end the trainer before
    its checkpoint is written. It ends with the trainer all the same.
    """
    torch.set_num_threads(1)
    if os.name == "posix":  # elsewhere there are no process groups
        os.setpgid(0, 0)


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
    """Batches of the samples from `first` on, without end, whatever the number of workers.

    workers: processes that make them ahead, on Linux; 0 makes them here. Raises TrainingDataError
    for a sample that cannot be made.
    """
    numbers = (range(start, start + batch_size) for start in count(first, batch_size))
    return _loaded(make, collate, numbers, workers)


def reused(
    make: Callable[[int], Sample],
    collate: Callable[[list[Sample]], Batch],
    *,
    batch_size: int,
    times: int,
    step: int = 0,
    workers: int = 1,
    apart: int = 40,
    parts: Sequence[range] | None = None,
) -> Iterator[Batch]:
    """The batch of every step from `step` on, each used `times` times where making costs the most.

    A run that goes on at a step gets the batches of one that never stopped: those that are still
    to be used again are made again. apart: about how many batches lie between two uses. parts:
    which samples of a step's batch come together, one part after the other; None is all of them.
    Otherwise as `batches`.
    """
    places = [range(batch_size)] if parts is None else parts
    used = Counter(islice(schedule(times, apart), step))
    numbers = (
        range(number * batch_size + part.start, number * batch_size + part.stop)
        for number in _once(islice(schedule(times, apart), step, None))
        for part in places
    )
    made = _loaded(make, collate, numbers, workers)
    kept: dict[int, list[Batch]] = {}
    for number in islice(schedule(times, apart), step, None):
        if number not in kept:
            kept[number] = [next(made) for _ in places]
        used[number] += 1
        yield from kept[number] if used[number] < times else kept.pop(number)


def schedule(times: int, apart: int) -> Iterator[int]:
    """The number of the batch that each step uses.

    >>> list(islice(schedule(times=2, apart=1), 7))
    [0, 1, 0, 2, 1, 3, 2]
    """
    if times == 1:
        yield from count()
    waiting: deque[tuple[int, int]] = deque()
    for number in count():
        yield number
        waiting.append((number, times - 1))
        if len(waiting) <= apart:
            continue
        for _ in range(times - 1):
            again, left = waiting.popleft()
            yield again
            if left > 1:
                waiting.append((again, left - 1))


def _once(numbers: Iterable[int]) -> Iterator[int]:
    seen: set[int] = set()
    for number in numbers:
        if number not in seen:
            seen.add(number)
            yield number


def _loaded(
    make: Callable[[int], Sample],
    collate: Callable[[list[Sample]], Batch],
    numbers: Iterable[range],
    workers: int,
) -> Iterator[Batch]:
    """The batches of these samples, made by the loader's workers."""

    def tried(number: int) -> Sample | _Refused:
        try:
            return make(number)
        except LlavaChatError as error:
            return _Refused(str(error))

    def collated(samples: list[Sample | _Refused]) -> Batch | _Refused:
        refused = [sample for sample in samples if isinstance(sample, _Refused)]
        return refused[0] if refused else collate(cast(list[Sample], samples))

    workers = workers if sys.platform == "linux" else 0
    loader: DataLoader[list[Sample | _Refused]] = DataLoader(
        SampleStream(tried, numbers),
        batch_size=None,
        collate_fn=collated,
        num_workers=workers,
        # What makes a sample is a closure, which only a fork takes along; no longer the default
        # from Python 3.14 on, nor in a process that was itself spawned.
        multiprocessing_context="fork" if workers else None,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_apart if workers else None,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # dropout's is left alone, whenever a loader begins
    )
    for batch in loader:
        if isinstance(batch, _Refused):
            raise TrainingDataError(batch.sentence)
        yield batch
