"""Keys and values of conversations, kept between turns in a tree of shared beginnings.

A conversation's next turn, a reply made again, an edited message and another conversation about
the same picture all begin like something that was computed before. The tree keeps each shared
beginning once (SGLang's radix tree, arXiv 2312.07104). What is in it never changes: a running
reply copies what it reuses into a cache of its own.
Imports torch and `kv_cache`. Used by the inference thread alone, so it needs no lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from llava_chat.engine.local.kv_cache import KeysValues

KeyPart = int | str
"""What one position of a prompt is: a token id, or the id of the picture a row belongs to.

All pictures share one placeholder id; only their hashes tell them apart.
"""


@dataclass(eq=False)
class _Segment:
    """Consecutive positions without a branch. layers: their keys and values."""

    key: tuple[KeyPart, ...]
    layers: list[KeysValues]
    last_use: int = 0
    children: dict[KeyPart, _Segment] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)


class PrefixCache:
    """The longest known beginning of a prompt. Least recently used ends leave first.

    max_bytes: what the kept keys and values may take together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._clock = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._root = _Segment(key=(), layers=[])
        self.bytes = 0

    def match(self, key: Sequence[KeyPart]) -> int:
        """How many of the first positions of `key` are known."""
        return sum(common for _, common in self._path(key))

    def segments(self, key: Sequence[KeyPart]) -> list[list[KeysValues]]:
        """Keys and values of the positions of `key`, all known, as views to copy from."""
        return [_slice(segment.layers, 0, common) for segment, common in self._path(key)]

    def keep(self, key: Sequence[KeyPart], between: Callable[[int, int], list[KeysValues]]) -> None:
        """Keep what was computed for `key`; between(start, end) gives it, new parts are copied.

        Afterwards at most max_bytes are kept.
        """
        parent, known = self._root, 0
        for segment, common in self._path(key):
            if common < len(segment.key):
                segment = self._split(parent, segment, common)
            parent, known = segment, known + common
        if known < len(key):
            new = tuple(key[known:])
            leaf = _Segment(new, _copy(between(known, len(key))), self._clock)
            parent.children[new[0]] = leaf
            self.bytes += leaf.bytes
        self._evict()

    def _path(self, key: Sequence[KeyPart]) -> list[tuple[_Segment, int]]:
        """The segments that `key` begins with, and how far each agrees; they count as used."""
        self._clock += 1
        path: list[tuple[_Segment, int]] = []
        segment, position = self._root, 0
        while position < len(key) and (child := segment.children.get(key[position])):
            common = common_length(child.key, key[position : position + len(child.key)])
            child.last_use = self._clock
            path.append((child, common))
            if common < len(child.key):
                break
            segment, position = child, position + common
        return path

    def _split(self, parent: _Segment, segment: _Segment, at: int) -> _Segment:
        """Cut `segment` in two after `at` positions; returns the first half."""
        head, tail = segment.key[:at], segment.key[at:]
        first = _Segment(head, _copy(_slice(segment.layers, 0, at)), segment.last_use)
        segment.layers = _copy(_slice(segment.layers, at, at + len(tail)))
        segment.key = tail
        first.children[tail[0]] = segment
        parent.children[head[0]] = first
        return first

    def _evict(self) -> None:
        while self.bytes > self._max_bytes:
            parent, leaf = min(_leaves(self._root), key=lambda found: found[1].last_use)
            del parent.children[leaf.key[0]]
            self.bytes -= leaf.bytes


def _leaves(root: _Segment) -> Iterator[tuple[_Segment, _Segment]]:
    """Every (parent, leaf) below `root`.

    No recursion: a reply stopped a token later each time makes a tree as deep as it is long.
    """
    waiting = [root]
    while waiting:
        parent = waiting.pop()
        for child in parent.children.values():
            if child.children:
                waiting.append(child)
            else:
                yield parent, child


def common_length(first: Sequence[KeyPart], second: Sequence[KeyPart]) -> int:
    """How many of the first positions agree.

    >>> common_length([1, "a", "a", 2], [1, "a", "a", 3, 4]), common_length([1], [])
    (3, 0)
    """
    pairs = enumerate(zip(first, second, strict=False))
    shorter = min(len(first), len(second))
    return next((position for position, (one, other) in pairs if one != other), shorter)


def _slice(layers: list[KeysValues], start: int, end: int) -> list[KeysValues]:
    return [(keys[:, :, start:end], values[:, :, start:end]) for keys, values in layers]


def _copy(layers: list[KeysValues]) -> list[KeysValues]:
    # A plain clone could keep a view's strides, and so more memory than is counted.
    compact = torch.contiguous_format
    return [
        (keys.clone(memory_format=compact), values.clone(memory_format=compact))
        for keys, values in layers
    ]
