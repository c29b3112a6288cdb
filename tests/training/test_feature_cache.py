"""The tower's features on disk: what is read is what would be computed, within a bound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llava_chat.model.checkpoint import Checkpoint
from llava_chat.model.encoder import VisionTower
from llava_chat.training.feature_cache import FeatureCache

PLENTY = 10**9


@pytest.fixture
def tower(new_checkpoint: Callable[[], Checkpoint]) -> VisionTower:
    return new_checkpoint().model.tower


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(3, 3, 28, 28, generator=torch.Generator().manual_seed(0))


def test_features_come_back_by_what_is_seen(
    tower: VisionTower, pixels: torch.Tensor, tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path, tower, PLENTY)
    keys, features = cache.keys(pixels), tower(pixels)
    assert len(set(keys)) == 3 and cache.keys(pixels[1:2]) == keys[1:2]
    assert cache.read(keys) is None
    cache.write(keys, features)
    again = FeatureCache(tmp_path, tower, PLENTY).read(keys[::-1])
    assert again is not None and torch.equal(again, features.flip(0))
    assert not [*tmp_path.rglob(".*")]


def test_another_tower_or_number_format_has_features_of_its_own(
    tower: VisionTower, pixels: torch.Tensor, tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path, tower, PLENTY)
    keys = cache.keys(pixels)
    cache.write(keys, tower(pixels))
    assert FeatureCache(tmp_path, tower, PLENTY, "bfloat16").read(keys) is None
    tower.vision.get_parameter("embeddings.patch_embedding.weight").data += 1
    assert FeatureCache(tmp_path, tower, PLENTY).read(keys) is None


def test_a_damaged_file_is_as_none(
    tower: VisionTower, pixels: torch.Tensor, tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path, tower, PLENTY)
    keys = cache.keys(pixels)
    cache.write(keys, tower(pixels))
    next(tmp_path.rglob("*.safetensors")).write_bytes(b"half")
    assert cache.read(keys) is None


def test_it_grows_no_further_than_its_bound(
    tower: VisionTower, pixels: torch.Tensor, tmp_path: Path
) -> None:
    size = tower(pixels)[0].nbytes
    cache = FeatureCache(tmp_path, tower, 2 * size)
    cache.write(cache.keys(pixels), tower(pixels))
    assert len([*tmp_path.rglob("*.safetensors")]) == 2
    for numbers in ("", "bfloat16"):
        more = FeatureCache(tmp_path, tower, 2 * size, numbers)
        more.write(more.keys(pixels), tower(pixels))
        assert len([*tmp_path.rglob("*.safetensors")]) == 2
    # Of what is left, two, each of two processes that go on adds its half.
    both = [FeatureCache(tmp_path, tower, 4 * size, processes=2) for _ in range(2)]
    for one, others in zip(both, (pixels.flip(1), pixels.flip(2)), strict=True):
        one.write(one.keys(others), tower(others))
    assert len([*tmp_path.rglob("*.safetensors")]) == 4
