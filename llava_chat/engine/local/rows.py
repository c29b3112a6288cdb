"""The keys and values of every conversation at hand: one row each of tensors that never grow.

A slot is a row. What is read goes to one row at consecutive places, a step that writes a token for
several replies goes to the first rows, each at a place of its own. Rows that belong together are
therefore moved: a copy of some hundred tokens costs far less than attention over rows that nobody
asked about. Imports torch and transformers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

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
class _Reading:
    """T tokens go to one row, from `start` on."""

    row: int
    start: int


@dataclass(frozen=True)
class _Writing:
    """One token goes to each of the first `count` rows; positions: (count,).

    length: how many places of the rows are looked at.
    """

    count: int
    positions: Tensor
    length: int


class _Layer(CacheLayerMixin):
    """Keys and values of one layer."""

    is_sliding = False

    def __init__(self, shape: Shape, rows: int, capacity: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._capacity = capacity
        # One place more: what a row that takes no part writes goes there, and is never read.
        size = rows, shape.heads, capacity + 1, shape.head_size
        self.keys = torch.empty(size, device=shape.device, dtype=shape.dtype)
        self.values = torch.empty(size, device=shape.device, dtype=shape.dtype)
        self.is_initialized = True
        self.at: _Reading | _Writing = _Reading(0, 0)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: the memory is reserved from the start."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> KeysValues:
        stored = cast(KeysValues, (self.keys, self.values))
        for whole, new in zip(stored, (key_states, value_states), strict=True):
            match self.at:
                case _Reading(row, start):
                    whole[row, :, start : start + new.shape[2]] = new[0]
                case _Writing(count, positions):
                    rows = torch.arange(count, device=whole.device)
                    whole[rows, :, positions.to(whole.device)] = new[:, :, 0]
        return self._seen(stored, key_states.shape[2])

    def _seen(self, stored: KeysValues, tokens: int) -> KeysValues:
        match self.at:
            case _Reading(row, start):
                rows, end = slice(row, row + 1), start + tokens
            case _Writing(count, _, length):
                rows, end = slice(count), length
        keys, values = stored
        return keys[rows, :, :end], values[rows, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        return self.at.start if isinstance(self.at, _Reading) else self.at.length - 1

    def get_max_length(self) -> int:
        return self._capacity


class RowCache(Cache):
    """A transformers Cache of so many `rows`, each of `capacity` tokens at most.

    shapes: of each layer. Before the model runs, `read_into` or `write_into` says where to.
    """

    def __init__(self, shapes: Sequence[Shape], rows: int, capacity: int) -> None:
        self.rows, self.capacity = rows, capacity
        layers = [_Layer(shape, rows, capacity) for shape in shapes]
        super().__init__(layers=[*layers])
        self._reserved = layers

    def read_into(self, row: int, start: int) -> None:
        """What the model reads next follows the first `start` tokens of a row."""
        self._go_to(_Reading(row, start))

    def write_into(self, positions: Tensor, length: int) -> None:
        """The model's next step writes one token in each of the first rows.

        positions: (count,), where; at `capacity` it is not kept. length: how many places of the
        rows attention gets to see; which of them are a row's own is the mask's to say.
        """
        self._go_to(_Writing(positions.shape[0], positions, length))

    def _go_to(self, at: _Reading | _Writing) -> None:
        for layer in self._reserved:
            layer.at = at

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

    def between(self, row: int, start: int, end: int) -> list[KeysValues]:
        """Each layer's keys and values of some tokens of a row, as views."""
        places = slice(row, row + 1), slice(None), slice(start, end)
        return [
            cast(KeysValues, (layer.keys[places], layer.values[places]))
            for layer in cast(Any, self._reserved)
        ]

    def _stored(self) -> list[Tensor]:
        return [cast(Tensor, each) for one in self._reserved for each in (one.keys, one.values)]
