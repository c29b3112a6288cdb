"""Sample number -> row: the order that a run takes rows in, the same however often it was stopped.

Imports numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

BATCHES_ALIKE = 50
"""Rows are sorted by length among so many batches' worth, as LengthGroupedSampler does."""


def in_epochs(count: int, seed: int) -> Callable[[int], int]:
    """Sample number -> row: every row once an epoch, each epoch in another order.

    >>> row_of = in_epochs(3, seed=0)
    >>> sorted(row_of(n) for n in range(3)), sorted(row_of(n) for n in range(3, 6))
    ([0, 1, 2], [0, 1, 2])
    """
    return _by_epoch(count, lambda epoch: np.random.default_rng((seed, epoch)).permutation(count))


def in_groups(
    lengths: Sequence[int] | np.ndarray,
    has_picture: Sequence[bool] | np.ndarray,
    batch_size: int,
    seed: int,
) -> Callable[[int], int]:
    """Sample number -> row: every row once an epoch, in batches of one modality and like lengths.

    Batch k is the samples k * batch_size and on. Of an epoch at most the batches at its two ends,
    and one between, hold both modalities: of what fills no batch. After `group_by_modality_length`
    of the reference (haotian-liu/LLaVA), whose README reports a quarter less time by it.

    >>> row_of = in_groups([5, 9, 6, 8], [True, False, True, False], batch_size=2, seed=0)
    >>> sorted(sorted(row_of(n) for n in (k, k + 1)) for k in (0, 2))
    [[0, 2], [1, 3]]
    """
    sizes, seen = np.asarray(lengths), np.asarray(has_picture, bool)
    kinds = [np.flatnonzero(seen), np.flatnonzero(~seen)]
    count = len(sizes)

    def order_of(epoch: int) -> np.ndarray:
        rng = np.random.default_rng((seed, epoch))
        whole: list[np.ndarray] = []
        rest: list[np.ndarray] = []
        for rows in kinds:
            batches, left = _alike(rng.permutation(rows), sizes, batch_size)
            whole += batches
            rest.append(left)
        # The epoch before ended within a batch: its rest comes first, so that ours begin as batches
        # do.
        lead = min(-epoch * count % batch_size, count)
        tail = (count - lead) % batch_size
        while sum(map(len, rest)) < lead + tail:
            rest.append(whole.pop(int(rng.integers(len(whole)))))
        loose = np.concatenate(rest)
        ends = lead + (len(loose) - tail - lead) // batch_size * batch_size
        whole += np.split(loose[lead:ends], range(batch_size, ends - lead, batch_size))
        batches = [whole[place] for place in rng.permutation(len(whole))]
        return np.concatenate([loose[:lead], *batches, loose[ends:]])

    return _by_epoch(count, order_of)


def _alike(
    rows: np.ndarray, lengths: np.ndarray, batch_size: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Shuffled rows as whole batches of like lengths, and those that fill none."""
    full = len(rows) // batch_size * batch_size
    kept, left = rows[:full], rows[full:]
    batches: list[np.ndarray] = []
    for start in range(0, full, BATCHES_ALIKE * batch_size):
        part = kept[start : start + BATCHES_ALIKE * batch_size]
        part = part[np.argsort(-lengths[part], kind="stable")]
        batches += np.split(part, range(batch_size, len(part), batch_size))
    return batches, left


def _by_epoch(count: int, order_of: Callable[[int], np.ndarray]) -> Callable[[int], int]:
    kept = lru_cache(maxsize=2)(order_of)  # a batch may lie across two epochs

    def row_of(number: int) -> int:
        epoch, place = divmod(number, count)
        return int(kept(epoch)[place])

    return row_of
