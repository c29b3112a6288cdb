"""The replies that are being written, in the first rows: those with one adapter side by side.

A step of the model is one for all who use the same weights. When somebody comes or goes, at most
one reply of each other group has to change its row. Imports the modules beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Generic, Protocol, TypeVar

from llava_chat.engine.local.adapted import Adapted
from llava_chat.engine.local.rows import RowCache
from llava_chat.engine.local.slots import Slot, Slots


class InSlot(Protocol):
    """A reply, which has a slot and what it is made with."""

    @property
    def slot(self) -> Slot:
        """Whose row it is in."""

    @property
    def made_with(self) -> Adapted:
        """The model, with an adapter or none."""


Reply = TypeVar("Reply", bound=InSlot)


class Written(Generic[Reply]):
    """Replies by row. plain: what those without an adapter are made with; they have the first."""

    def __init__(self, slots: Slots, cache: RowCache, plain: Adapted) -> None:
        self._slots = slots
        self._cache = cache
        self._plain = plain
        self._replies: list[Reply] = []

    def __len__(self) -> int:
        return len(self._replies)

    def __iter__(self) -> Iterator[Reply]:
        return iter([*self._replies])

    def __contains__(self, reply: object) -> bool:
        return reply in self._replies

    def groups(self) -> list[tuple[int, list[Reply]]]:
        """The first row of each group, and who is in it, in the order of their rows."""
        found, first = [], 0
        for _, group in groupby(self._replies, key=lambda reply: reply.made_with):
            members = [*group]
            found.append((first, members))
            first += len(members)
        return found

    def enter(self, reply: Reply) -> None:
        """One more: behind the others of its group, before the groups that came later."""
        firsts = self._firsts_behind(reply.made_with)
        place = len(self._replies)
        self._move(reply.slot, place)
        self._replies.append(reply)
        for first in reversed(firsts):
            self._exchange(place, first)
            place = first

    def leave(self, reply: Reply) -> None:
        """One less; what is in its row stays."""
        firsts = self._firsts_behind(reply.made_with)
        place = self._replies.index(reply)
        for end in [*firsts, len(self._replies)]:
            self._exchange(place, end - 1)
            place = end - 1
        self._replies.pop()

    def _firsts_behind(self, made_with: Adapted) -> list[int]:
        """The first rows of the groups that are behind one group; a new one comes last."""
        firsts = {members[0].made_with: first for first, members in self.groups()}
        own = firsts.get(made_with, -1 if made_with is self._plain else len(self))
        return [first for first in firsts.values() if first > own]

    def _exchange(self, place: int, other: int) -> None:
        if place != other:
            self._move(self._replies[place].slot, other)
            self._replies[place], self._replies[other] = self._replies[other], self._replies[place]

    def _move(self, slot: Slot, row: int) -> None:
        """Have a slot in a row, and what was there in its row."""
        if slot.row == row:
            return
        other = self._slots.at(row)
        if other.key:
            self._cache.swap(slot.row, row, max(len(slot.key), len(other.key)))
        else:
            self._cache.copy(slot.row, row, len(slot.key))
        slot.row, other.row = row, slot.row
