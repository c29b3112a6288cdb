"""Which row a conversation gets, and that what is in it is what would be computed."""

import random

import pytest
import torch
from hypothesis import given, strategies as st

from llava_chat.engine.local.rows import OneRow, RowCache, Shape
from llava_chat.engine.local.slots import KeyPart, Slots, Taken

LAYERS, HEADS, SIZE, CAPACITY = 2, 2, 3, 12
SHAPES = [Shape(HEADS, SIZE, torch.device("cpu"), torch.float32)] * LAYERS


def take(slots: Slots, key: list[KeyPart]) -> Taken:
    """A slot for a prompt of that key, all of which may be reused but its last place."""
    return slots.take(key, lambda known: min(known, len(key) - 1))


def fill(slots: Slots, key: list[KeyPart]) -> Taken:
    """A reply from beginning to end."""
    taken = take(slots, key)
    taken.slot.key[:] = key
    slots.leave(taken.slot)
    return taken


def test_a_conversation_comes_back_to_its_row() -> None:
    slots = Slots(3)
    rows = [fill(slots, [n, 1, 2]).slot.row for n in range(3)]
    assert sorted(rows) == [0, 1, 2]
    for n in (1, 0, 2):
        taken = fill(slots, [n, 1, 2, 3, 4])
        assert (taken.slot.row, taken.reused, taken.source) == (rows[n], 3, None)


def test_the_least_recently_used_row_goes_first() -> None:
    slots = Slots(3)
    first, second, third = (fill(slots, [n, 1, 2]).slot for n in range(3))
    fill(slots, [0, 1, 2, 3])
    assert take(slots, [7, 8, 9]).slot is second
    assert take(slots, [8, 8, 9]).slot is third
    assert take(slots, [9, 8, 9]).slot is first


def test_a_shared_beginning_is_copied_to_a_row_of_its_own() -> None:
    slots = Slots(2)
    mine = fill(slots, [1, "a", "a", 2, 3, 4]).slot
    yours = take(slots, [1, "a", "a", 9])
    assert (yours.reused, yours.source) == (3, mine.row)
    assert yours.slot is not mine
    assert mine.key == [1, "a", "a", 2, 3, 4]
    assert yours.slot.key == [1, "a", "a"]


def test_what_is_being_written_is_copied_and_not_taken() -> None:
    slots = Slots(2)
    busy = take(slots, [1, 2, 3])
    busy.slot.key[:] = [1, 2, 3, 4]
    again = take(slots, [1, 2, 3])
    assert (again.reused, again.source) == (2, busy.slot.row)
    assert slots.free == 0


def test_a_reply_made_again_loses_less_than_a_conversation() -> None:
    slots = Slots(2)
    mine = fill(slots, [1, 2, 3, 4, 5, 6]).slot
    fill(slots, [7, 8, 9])
    taken = take(slots, [1, 2, 3, 4, 5, 0])
    assert (taken.slot, taken.reused, taken.source) == (mine, 5, None)


@pytest.mark.parametrize("places", [(0, 1), (2, 0)])
def test_rows_change_places(places: tuple[int, int]) -> None:
    cache = RowCache(SHAPES, 3, CAPACITY)
    numbers = {row: put(cache, row, [row, 5, row]) for row in range(3)}
    cache.swap(*places, 3)
    first, second = places
    assert torch.equal(read(cache, first, 3), numbers[second])
    assert torch.equal(read(cache, second, 3), numbers[first])


def put(cache: RowCache, row: int, key: list[KeyPart], start: int = 0) -> torch.Tensor:
    """Stands for a model: what a place holds depends on everything up to it."""
    places = range(start, len(key))
    seen = [random.Random(repr(key[: place + 1])).random() for place in places]
    states = torch.tensor(seen).view(1, 1, -1, 1).expand(1, HEADS, -1, SIZE)
    for layer in range(LAYERS):
        new = states + layer, -states - layer
        keys, values = cache.update(layer, new, OneRow(row, start))
        assert keys.shape[2] == values.shape[2] == len(key)
    return read(cache, row, len(key))


def read(cache: RowCache, row: int, tokens: int) -> torch.Tensor:
    return torch.stack([torch.cat(each) for each in cache.between(row, 0, tokens)])


KEYS = st.lists(st.sampled_from([1, 2, "a"]), min_size=1, max_size=CAPACITY)


@given(
    count=st.integers(1, 4),
    events=st.lists(st.tuples(st.booleans(), KEYS, st.integers(0, 3)), max_size=30),
)
def test_any_schedule_finds_what_would_be_computed(
    count: int, events: list[tuple[bool, list[KeyPart], int]]
) -> None:
    slots, cache, busy = Slots(count), RowCache(SHAPES, count, CAPACITY), []
    for arrives, key, who in events:
        if arrives and slots.free:
            taken = take(slots, key)
            if taken.source is not None:
                cache.copy(taken.source, taken.slot.row, taken.reused)
            assert taken.slot.key == key[: taken.reused]
            assert torch.equal(
                read(cache, taken.slot.row, taken.reused),
                put(RowCache(SHAPES, 1, CAPACITY), 0, key[: taken.reused]),
            )
            put(cache, taken.slot.row, key, taken.reused)
            taken.slot.key[:] = key
            busy.append(taken.slot)
        elif busy:
            slots.leave(busy.pop(who % len(busy)))
        assert slots.free == count - len(busy)
        assert sorted(slots.at(row).row for row in range(count)) == list(range(count))
