"""A published folder whose weights or configuration are wrong is refused by their name.

The readers of single files have tests of their own; here is the whole road.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.model.published.copies import (
    Ask,
    edit_json,
    edit_weights,
    file_with,
    not_finite,
)
from tests.model.published.rows import CLIP_336

V1_5 = "llava-v1.5-7b-original"
INSIDE = "llava-v1.5-trained-on-original"
V1_6 = "llava-v1.6-mistral-7b-original"
V1_6_HF = "llava-v1.6-mistral-7b-hf-hf4"
NORM = "model.norm.weight"
LORA = "base_model.model.model.layers.1.self_attn.q_proj.lora_{}.weight"


@pytest.mark.parametrize(
    ("name", "weight", "shape"),
    [
        (V1_5, NORM, (7,)),
        (V1_5, "model.mm_projector.0.weight", (32, 48)),
        (INSIDE, "model.vision_tower.vision_tower.vision_model.pre_layrnorm.bias", (7,)),
        (INSIDE, "lm_head.weight", (48,)),
        (V1_6, "model.image_newline", (7,)),
        (V1_6_HF, "image_newline", (1, 48)),
    ],
)
def test_wrong_shapes(
    a_copy: Ask, refused: Callable[..., None], name: str, weight: str, shape: tuple[int, ...]
) -> None:
    copy = a_copy(name)
    path = file_with(copy.folder, weight)
    edit_weights(path, lambda weights: weights.update({weight: torch.zeros(shape)}))
    refused(copy, weight)


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        (V1_5, NORM),
        (V1_5, "model.mm_projector.2.bias"),
        (INSIDE, "model.vision_tower.vision_tower.vision_model.embeddings.class_embedding"),
        (V1_6, "model.image_newline"),
        (V1_6_HF, "image_newline"),
    ],
)
def test_missing_weights(a_copy: Ask, refused: Callable[..., None], name: str, weight: str) -> None:
    copy = a_copy(name)
    edit_weights(file_with(copy.folder, weight), lambda weights: weights.pop(weight))
    refused(copy, "missing", weight.rpartition("vision_model.")[2])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("name", "weight"),
    [(V1_5, NORM), (V1_5, "model.mm_projector.2.bias"), (V1_6, "model.image_newline")],
)
def test_numbers_that_are_not_finite(
    a_copy: Ask, refused: Callable[..., None], name: str, weight: str, value: float
) -> None:
    copy = a_copy(name)
    edit_weights(file_with(copy.folder, weight), not_finite(weight, value))
    refused(copy, weight, "not finite")


@pytest.mark.parametrize(
    ("name", "file", "weight"),
    [
        (V1_5, "the tower", "vision_model.pre_layrnorm.bias"),
        ("lora-bin", "adapter_model.bin", LORA.format("A")),
        ("lora-safetensors", "adapter_model.safetensors", LORA.format("B")),
        ("lora-bin", "non_lora_trainables.bin", "base_model.model.model.mm_projector.0.bias"),
        ("projector-only", "mm_projector.bin", "model.mm_projector.0.bias"),
    ],
)
def test_numbers_that_are_not_finite_in_what_is_added(
    a_copy: Ask, refused: Callable[..., None], name: str, file: str, weight: str
) -> None:
    copy = a_copy(name)
    tower = copy.repository(CLIP_336) / "pytorch_model.bin"
    edit_weights(tower if file == "the tower" else copy.folder / file, not_finite(weight))
    refused(copy, weight, "not finite")


def test_a_tower_of_another_size(a_copy: Ask, refused: Callable[..., None]) -> None:
    copy = a_copy(V1_5)
    path = copy.repository(CLIP_336) / "pytorch_model.bin"
    wrong = {"vision_model.embeddings.position_embedding.weight": torch.zeros(5, 32)}
    edit_weights(path, lambda weights: weights.update(wrong))
    refused(copy, "position_embedding")


@pytest.mark.parametrize("name", [V1_5, V1_6])
def test_missing_shards(a_copy: Ask, refused: Callable[..., None], name: str) -> None:
    copy = a_copy(name)
    shard = sorted(
        [*copy.folder.glob("*-00002-of-*.bin"), *copy.folder.glob("*-00002-of-*.safet*")]
    )
    shard[0].unlink()
    refused(copy, shard[0].name)


@pytest.mark.parametrize(
    "shard", ["../../../etc/passwd", "/etc/passwd", "a.pth", "x" * 300 + ".bin"]
)
def test_index_that_leads_elsewhere(a_copy: Ask, refused: Callable[..., None], shard: str) -> None:
    copy = a_copy(V1_5)
    path = copy.folder / "pytorch_model.bin.index.json"
    edit_json(path, lambda content: content["weight_map"].update({NORM: shard}))
    refused(copy, shard[:30])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"mm_projector_type": "mlp9x_gelu"}, "mm_projector_type"),
        ({"mm_projector_type": "../../evil"}, "mm_projector_type"),
        ({"mm_projector_type": ["linear"]}, "mm_projector_type"),
        ({"mm_vision_select_layer": 99}, "99"),
        ({"mm_vision_select_layer": "last"}, "config.json"),
        ({"mm_vision_select_feature": "cls"}, "mm_vision_select_feature"),
        ({"image_aspect_ratio": "highres"}, "image_aspect_ratio"),
        ({"image_aspect_ratio": ["pad"]}, "image_aspect_ratio"),
        ({"mm_patch_merge_type": "maxpool2x2"}, "mm_patch_merge_type"),
        ({"image_grid_pinpoints": "__import__('os')"}, "image_grid_pinpoints"),
        ({"image_grid_pinpoints": []}, "image_grid_pinpoints"),
        ({"image_grid_pinpoints": None}, "image_grid_pinpoints"),
        ({"image_grid_pinpoints": [[0, 24]]}, "image_grid_pinpoints"),
        ({"image_grid_pinpoints": [[-24, 24]]}, "image_grid_pinpoints"),
        ({"image_grid_pinpoints": [[25, 24]]}, "image_grid_pinpoints"),
        ({"image_grid_pinpoints": [[24, 24, 24]]}, "image_grid_pinpoints"),
        ({"image_grid_pinpoints": [[24 * 10**6, 24]]}, "image_grid_pinpoints"),
        ({"model_type": "llava_mpt", "architectures": ["LlavaMptForCausalLM"]}, "llava_mpt"),
        ({"hidden_size": 47}, "config.json"),
        ({"num_hidden_layers": 10**9}, "1000000000 layers"),
        ({"vocab_size": 7}, "7"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
    ],
    ids=str,
)
def test_fields_of_the_authors_layout(
    a_copy: Ask, refused: Callable[..., None], change: dict[str, Any], expected: str
) -> None:
    copy = a_copy(V1_6)
    edit_json(copy.folder / "config.json", lambda content: content.update(change))
    refused(copy, expected)
