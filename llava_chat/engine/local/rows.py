"""The keys and values of every conversation at hand: one row each of tensors that never grow.

A slot is a row. What is read goes to one row at consecutive places, a step that writes a token for
several replies goes to rows side by side, each at a place of its own. Rows that belong together are
therefore moved: a copy of some hundred tokens costs far less than attention over rows that nobody
asked about. Imports torch only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

KeysValues = tuple[Tensor, Tensor]
"""One layer's keys and values, each (rows, heads, tokens, head size)."""


@dataclass(frozen=True)
class Shape:
    """Of one layer's keys, and of its values: heads, head size, where and in which numbers."""

    heads: int
    head_size: int
    device: torch.device
    dtype: torch.dtype

    @property
    def token_bytes(self) -> int:
        """What one token takes in one row of the layer."""
        return 2 * self.heads * self.head_size * self.dtype.itemsize


@dataclass(frozen=True)
class OneRow:
    """T tokens go to one row, from `start` on."""

    row: int
    start: int


@dataclass(frozen=True)
class SeveralRows:
    """One token goes to each of B rows, from the row `first` on.

    positions: (B,), where; at the row's capacity it is not kept. length: how many places of the
    rows attention gets to see; which of them are a row's own is the mask's to say.
    """

    positions: Tensor
    length: int
    first: int = 0


Where = OneRow | SeveralRows


class RowCache:
    """So many `rows`, each of `capacity` tokens at most. shapes: of each layer."""

    def __init__(self, shapes: Sequence[Shape], rows: int, capacity: int) -> None:
        self.rows, self.capacity = rows, capacity
        self._layers = [_reserved(shape, rows, capacity) for shape in shapes]

    def update(self, layer: int, new: KeysValues, where: Where) -> KeysValues:
        """Take in a layer's new keys and values, (B, heads, T, size); what attention then sees."""
        match where:
            case OneRow(row, start):
                end = start + new[0].shape[2]
                for whole, part in zip(self._layers[layer], new, strict=True):
                    whole[row, :, start:end] = part[0]
                rows = slice(row, row + 1)
            case SeveralRows(positions, end, first):
                rows = slice(first, first + positions.shape[0])
                for whole, part in zip(self._layers[layer], new, strict=True):
                    numbers = torch.arange(rows.start, rows.stop, device=whole.device)
                    whole[numbers, :, positions.to(whole.device)] = part[:, :, 0]
        keys, values = self._layers[layer]
        return keys[rows, :, :end], values[rows, :, :end]

    def copy(self, source: int, target: int, tokens: int) -> None:
        """Have the first `tokens` of one row in another one, too."""
        for keys_or_values in self._stored():
            keys_or_values[target, :, :tokens] = keys_or_values[source, :, :tokens]

    def swap(self, first: int, second: int, tokens: int) -> None:
        """Let two rows, of at most so many `tokens`, change places."""
        for keys_or_values in self._stored():
            before = keys_or_values[first, :, :tokens].clone()
            keys_or_values[first, :, :tokens] = keys_or_values[second, :, :tokens]
            keys_or_values[second, :, :tokens] = before

    def wipe(self, row: int) -> None:
        """Leave no number in a row, not even hidden ones: some of them may be none."""
        for keys_or_values in self._stored():
            keys_or_values[row] = 0

    def between(self, row: int, start: int, end: int) -> list[KeysValues]:
        """Each layer's keys and values of some tokens of a row, as views."""
        places = slice(row, row + 1), slice(None), slice(start, end)
        return [(keys[places], values[places]) for keys, values in self._layers]

    def _stored(self) -> list[Tensor]:
        return [each for layer in self._layers for each in layer]


def _reserved(shape: Shape, rows: int, capacity: int) -> KeysValues:
    # One place more: what a row that takes no part writes goes there, and is never read.
    size = rows, shape.heads, capacity + 1, shape.head_size
    # Zeros, not what is there by chance: a place that the mask hides still counts 0 times its
    # value, which of infinity is no number.
    keys, values = (torch.zeros(size, device=shape.device, dtype=shape.dtype) for _ in range(2))
    return keys, values
