"""The keys and values of one running reply, in memory that is reserved once.

transformers' DynamicCache copies everything at every token; here a token is written in place.
Imports torch and transformers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

KeysValues = tuple[Tensor, Tensor]
"""One layer's keys and values, each (1, heads, tokens, head size)."""


class _ReservedLayer(CacheLayerMixin):
    """Keys and values of one layer, at most `capacity` tokens."""

    is_sliding = False

    def __init__(self, capacity: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._capacity = capacity
        self.length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys, self.values = (
            states.new_empty((*states.shape[:2], self._capacity, states.shape[3]))
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> KeysValues:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, self.length = self.length, self.length + key_states.shape[2]
        keys, values = self.until(self.length)
        keys[:, :, start:] = key_states
        values[:, :, start:] = value_states
        return keys, values

    def until(self, end: int) -> KeysValues:
        """The first `end` tokens, as views."""
        keys, values = cast(KeysValues, (self.keys, self.values))
        return keys[:, :, :end], values[:, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return self._capacity


class ReservedCache(Cache):
    """A transformers Cache for one reply of at most `capacity` tokens, prompt included.

    start: keys and values to begin with, as segments that follow each other, each a list of
    layers; they are copied, so whoever else holds them is not disturbed.
    """

    def __init__(self, layers: int, capacity: int, start: Sequence[Sequence[KeysValues]]) -> None:
        reserved = [_ReservedLayer(capacity) for _ in range(layers)]
        for segment in start:
            for layer, (keys, values) in zip(reserved, segment, strict=True):
                layer.update(keys, values)
        super().__init__(layers=[*reserved])
        self._reserved = reserved

    def between(self, start: int, end: int) -> list[KeysValues]:
        """Each layer's keys and values of tokens `start` to `end`, as views."""
        return [
            (keys[:, :, start:], values[:, :, start:])
            for keys, values in (layer.until(end) for layer in self._reserved)
        ]
