import random
import sys

import torch

from llava_chat.engine.local.feature_cache import FeatureCache
from llava_chat.engine.local.kv_cache import KeysValues, ReservedCache
from llava_chat.engine.local.prefix_cache import KeyPart, PrefixCache

LAYERS, HEADS, SIZE = 2, 2, 3
POSITION_BYTES = LAYERS * 2 * HEADS * SIZE * 4


def computed(key: list[KeyPart]) -> list[KeysValues]:
    """Stands for a model: what a position holds depends on everything up to it."""
    layers = []
    for layer in range(LAYERS):
        rows = [random.Random(repr((layer, key[: p + 1]))).random() for p in range(len(key))]
        keys = torch.tensor(rows).view(1, 1, -1, 1).expand(1, HEADS, -1, SIZE)
        layers.append((keys, -keys))
    return layers


def keep(cache: PrefixCache, key: list[KeyPart]) -> None:
    layers = computed(key)
    cache.keep(
        key, lambda start, end: [(k[:, :, start:end], v[:, :, start:end]) for k, v in layers]
    )


def assert_right(cache: PrefixCache, key: list[KeyPart]) -> None:
    """Whatever is found is what would be computed."""
    known = cache.match(key)
    reserved = ReservedCache(LAYERS, len(key) + 1, cache.segments(key[:known]))
    assert reserved.get_seq_length() == known
    if known:
        for (keys, values), (right, _) in zip(
            reserved.between(0, known), computed(key[:known]), strict=True
        ):
            torch.testing.assert_close(keys, right)
            torch.testing.assert_close(values, -right)


def test_the_longest_beginning_is_found_across_branches() -> None:
    cache = PrefixCache(2**20)
    keep(cache, [1, 2, "a", "a", 3, 4])
    keep(cache, [1, 2, "a", "a", 5])
    keep(cache, [1, 2, "b", "b", 3])
    lengths = {(1, 2, "a", "a", 3, 4, 9): 6, (1, 2, "a", "a", 5, 6): 5, (1, 2, "b", 3): 3, (7,): 0}
    for key, known in lengths.items():
        assert cache.match(list(key)) == known
        assert_right(cache, list(key))


def test_shared_beginnings_are_kept_once() -> None:
    cache = PrefixCache(2**20)
    keep(cache, [1, 2, 3, 4])
    keep(cache, [1, 2, 3, 5, 6])
    keep(cache, [1, 2])
    assert cache.bytes == 6 * POSITION_BYTES


def test_the_least_recently_used_end_leaves_first() -> None:
    cache = PrefixCache(6 * POSITION_BYTES)
    keep(cache, [1, 2, 3])
    keep(cache, [4, 5, 6])
    assert cache.match([1, 2, 3]) == 3
    keep(cache, [7])
    assert [cache.match(key) for key in ([1, 2, 3], [4, 5, 6], [7])] == [3, 0, 1]
    assert cache.bytes == 4 * POSITION_BYTES


def test_an_entry_larger_than_the_budget_is_not_kept() -> None:
    cache = PrefixCache(2 * POSITION_BYTES)
    keep(cache, [1, 2, 3])
    assert (cache.bytes, cache.match([1, 2, 3])) == (0, 0)


def test_a_tree_deeper_than_the_stack_is_kept_within_the_budget() -> None:
    length = 2 * sys.getrecursionlimit()
    cache = PrefixCache(length * POSITION_BYTES)
    one = torch.zeros(1, HEADS, 1, SIZE)

    def between(start: int, end: int) -> list[KeysValues]:
        rows = one.expand(-1, -1, end - start, -1)
        return [(rows, rows)] * LAYERS

    key: list[KeyPart] = list(range(length))
    for end in range(1, length + 1):
        cache.keep(key[:end], between)
    assert (cache.bytes, cache.match(key)) == (length * POSITION_BYTES, length)
    cache.keep([-1], between)
    assert cache.bytes == length * POSITION_BYTES
    assert cache.match(key) == length - 1


def test_random_schedules_stay_right_and_within_the_budget() -> None:
    chance = random.Random(5)
    for budget in (5, 20, 1000):
        cache = PrefixCache(budget * POSITION_BYTES)
        for _ in range(150):
            parts: list[KeyPart] = [1, 2, "a", "b"]
            key = [chance.choice(parts) for _ in range(chance.randint(1, 12))]
            assert_right(cache, key)
            keep(cache, key)
            assert cache.bytes <= budget * POSITION_BYTES
            assert_right(cache, [*key, 9])
        cache.clear()
        assert (cache.bytes, cache.match([1, 2])) == (0, 0)


def test_what_is_kept_is_no_view_of_a_running_reply() -> None:
    cache = PrefixCache(2**20)
    mine = ReservedCache(LAYERS, 50, [computed([1, 2, 3])])
    cache.keep([1, 2, 3], mine.between)
    for keys, values in mine.between(0, 3):
        keys.zero_()
        values.zero_()
    assert_right(cache, [1, 2, 3])
    for keys, _ in cache.segments([1, 2, 3])[0]:
        assert keys.untyped_storage().nbytes() == keys.nbytes


def test_features_leave_in_the_order_of_their_use() -> None:
    features = torch.zeros(4, 2)
    cache = FeatureCache(2 * features.nbytes)
    cache.put("a", features)
    cache.put("b", features)
    assert cache.get("a") is features
    cache.put("c", features)
    assert [name in cache for name in "abc"] == [True, False, True]
    assert cache.bytes == 2 * features.nbytes
    assert cache.get("b") is None
    cache.put("d", torch.zeros(100, 100))
    assert cache.bytes <= 2 * features.nbytes
    cache.clear()
    assert cache.bytes == 0
