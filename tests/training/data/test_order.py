"""The order of rows: each once an epoch, the same for every process and after every stop."""

import numpy as np
from hypothesis import given, settings, strategies as st

from llava_chat.training.data import in_epochs, in_groups


def test_every_row_comes_once_an_epoch_in_another_order() -> None:
    row_of = in_epochs(20, seed=1)
    epochs = [[row_of(number) for number in range(20 * e, 20 * e + 20)] for e in range(3)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert [in_epochs(20, seed=1)(number) for number in range(20)] == epochs[0]
    assert [in_epochs(20, seed=2)(number) for number in range(20)] != epochs[0]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=90),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 3),
)
def test_groups_hold_every_row_once_an_epoch(
    rows: list[tuple[int, bool]], batch_size: int, seed: int
) -> None:
    lengths, has_picture = zip(*rows, strict=True)
    count = len(rows)
    row_of = in_groups(lengths, has_picture, batch_size, seed)
    order = [row_of(number) for number in range(3 * count)]
    for epoch in range(3):
        assert sorted(order[epoch * count : (epoch + 1) * count]) == list(range(count))
    batches = [order[start : start + batch_size] for start in range(0, 3 * count, batch_size)]
    mixed = [len({has_picture[row] for row in batch}) > 1 for batch in batches]
    # At an epoch's two ends, and between them where what is left of both kinds makes a batch more.
    assert sum(mixed) <= 3 * 3
    again = in_groups(lengths, has_picture, batch_size, seed)
    assert [again(number) for number in reversed(range(3 * count))] == order[::-1]


def test_groups_are_of_like_lengths_and_shuffled() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 1000, 4000)
    has_picture = rng.random(4000) < 0.5

    def padding(order: list[int]) -> float:
        batches = lengths[order].reshape(-1, 16)
        return float((batches.max(1, keepdims=True) - batches).sum() / lengths.sum())

    row_of, plain = in_groups(lengths, has_picture, 16, seed=0), in_epochs(4000, seed=0)
    orders = [[row_of(n) for n in range(e * 4000, (e + 1) * 4000)] for e in range(2)]
    assert padding(orders[0]) < 0.05 and padding([plain(n) for n in range(4000)]) > 0.5
    firsts = [lengths[order].reshape(-1, 16)[:, 0] for order in orders]
    assert all(abs(np.corrcoef(np.arange(250), each)[0, 1]) < 0.2 for each in firsts)
    assert orders[0] != orders[1]
