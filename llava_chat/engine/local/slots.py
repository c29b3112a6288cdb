"""Which conversation is in which row, and which row the next one gets.

A conversation's next turn, a reply made again, an edited message and another conversation about
the same picture all begin like something that is in a row already: what they share is not computed
again. Imports `tokens` only, and no torch: used by the inference thread alone, without a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llava_chat.tokens import Prompt

KeyPart = int | str
"""What one place of a row is: a token id, or the id of the picture that it belongs to.

All pictures share one placeholder id; only their hashes tell them apart.
"""


@dataclass(eq=False)
class Slot:
    """A row and what is in it. key: one part for each place whose keys and values are there.

    adapter: with which they were computed, by its name and revision; others give other ones.
    """

    row: int
    key: list[KeyPart] = field(default_factory=list)
    adapter: str | None = None
    busy: bool = False
    last_use: int = 0


@dataclass(frozen=True)
class Taken:
    """The slot for a prompt, whose first `reused` places are known.

    source: the row that they are to be copied from; None when they are in the slot already.
    """

    slot: Slot
    reused: int
    source: int | None = None


class Slots:
    """All slots of one engine, `count` of them."""

    def __init__(self, count: int) -> None:
        self._slots = [Slot(row) for row in range(count)]
        self._clock = 0

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def free(self) -> int:
        """How many nobody is answered in."""
        return sum(not slot.busy for slot in self._slots)

    @property
    def kept_tokens(self) -> int:
        """Places whose keys and values are known, of all rows together."""
        return sum(len(slot.key) for slot in self._slots)

    def at(self, row: int) -> Slot:
        """Whose row it is."""
        return next(slot for slot in self._slots if slot.row == row)

    def take(
        self,
        key: Sequence[KeyPart],
        reusable: Callable[[int], int],
        adapter: str | None = None,
    ) -> Taken:
        """The slot that a prompt of this key is answered in, busy until `leave`. One is free.

        reusable: how many of so many first places that agree can be used. Of the free slots the one
        is taken where the least is lost: the slot that knows the beginning loses what it has beyond
        it, the least recently used one everything.
        """
        agreed = {
            slot.row: common_length(slot.key, key) if slot.adapter == adapter else 0
            for slot in self._slots
        }
        known = max(self._slots, key=lambda slot: (agreed[slot.row], not slot.busy))
        reused = reusable(agreed[known.row])
        free = [slot for slot in self._slots if not slot.busy]
        oldest = min(free, key=lambda slot: (bool(slot.key), slot.last_use, slot.row))
        in_place = not known.busy and len(known.key) - reused <= len(oldest.key)
        slot = known if in_place else oldest
        slot.busy, slot.adapter = True, adapter
        slot.key[:] = known.key[:reused]
        source = None if slot is known or not reused else known.row
        return Taken(slot, reused, source)

    def leave(self, slot: Slot) -> None:
        """The reply is over; what is in the row stays until the row is needed."""
        self._clock += 1
        slot.busy, slot.last_use = False, self._clock

    def forget(self) -> None:
        """Nothing is known of any row that nobody is answered in."""
        for slot in self._slots:
            if not slot.busy:
                slot.key.clear()


def prefix_key(prompt: Prompt) -> list[KeyPart]:
    """The ids, with every picture's rows replaced by its hash."""
    key: list[KeyPart] = list(prompt.ids)
    for span in prompt.spans:
        key[span.start : span.start + span.length] = [span.picture.id] * span.length
    return key


def reusable(prompt: Prompt, known: int) -> int:
    """How many of the `known` first places to reuse: not half a picture, and not everything.

    The last place is always computed, because its logits are what is wanted.
    """
    known = min(known, len(prompt.ids) - 1)
    halved = (span.start for span in prompt.spans if span.start < known < span.start + span.length)
    return next(halved, known)


def common_length(first: Sequence[KeyPart], second: Sequence[KeyPart]) -> int:
    """How many of the first places agree.

    >>> common_length([1, "a", "a", 2], [1, "a", "a", 3, 4]), common_length([1], [])
    (3, 0)
    >>> common_length([1, 2, 3], [1, 2, 3, 4]), common_length([5], [6])
    (3, 0)
    """
    agreed, differ = 0, min(len(first), len(second)) + 1
    while differ - agreed > 1:  # slices are compared in C, thousands of places at a time
        middle = (agreed + differ) // 2
        if first[agreed:middle] == second[agreed:middle]:
            agreed = middle
        else:
            differ = middle
    return agreed
