"""What is remembered of pictures."""

import torch

from llava_chat.engine.local.feature_cache import FeatureCache


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
