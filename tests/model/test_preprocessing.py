"""transformers' processors make the same pixels of the settings that are written, and read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    SiglipVisionConfig,
)

from llava_chat.errors import CheckpointError
from llava_chat.image import Picture, picture_from_image
from llava_chat.model.llava import ImageAspect, LlavaConfig
from llava_chat.model.preprocessing import (
    CLIP_MEAN,
    CLIP_STD,
    SIGLIP_MEAN,
    SIGLIP_STD,
    Preprocessing,
)

GRID = ((48, 96), (96, 48), (96, 96), (144, 48), (48, 144))
SIZES = [(1, 1), (40, 30), (37, 200), (300, 120), (96, 96)]
# What llava-hf's checkpoints of LLaVA-1.5, and of LLaVA on SigLIP, hold beside mean and deviation.
CROPS = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": 48},
    "do_center_crop": True,
    "crop_size": {"height": 48, "width": 48},
}
STRETCHES = {
    "image_processor_type": "SiglipImageProcessor",
    "size": {"height": 48, "width": 48},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def config_of(vision: Any = None, **changes: Any) -> LlavaConfig:
    vision = vision or CLIPVisionConfig(image_size=48, patch_size=8)
    return LlavaConfig(vision, LlamaConfig(), 32_000, **changes)


def noise(width: int, height: int) -> Picture:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return picture_from_image(Image.fromarray(pixels))


MADE = {
    "pad": Preprocessing(48),
    "square": Preprocessing(48, "square", mean=(0.4, 0.5, 0.6), std=(0.3, 0.2, 0.1)),
    "stretch": Preprocessing(48, "stretch", SIGLIP_MEAN, SIGLIP_STD),
    "bilinear": Preprocessing(48, "stretch", resample=Image.Resampling.BILINEAR),
    "anyres": Preprocessing(48, "anyres", grid_pinpoints=GRID),
    "anyres, lanczos": Preprocessing(
        48, "anyres", SIGLIP_MEAN, SIGLIP_STD, Image.Resampling.LANCZOS, GRID[1:4]
    ),
}


@pytest.mark.parametrize("made", MADE.values(), ids=MADE.keys())
def test_transformers_makes_the_same_pixels_of_what_is_written(
    made: Preprocessing, tmp_path: Path
) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(made.settings()), encoding="utf-8")
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    assert type(processor).__name__ == made.settings()["image_processor_type"] + "Pil"
    for size in SIZES:
        picture = noise(*size)
        pixels = made(picture)
        theirs = processor(picture.rgb(), return_tensors="pt")["pixel_values"]
        expected = theirs[0] if made.aspect == "anyres" else theirs
        assert pixels.dtype == torch.float32 and pixels.shape[1:] == (3, 48, 48)
        assert torch.equal(pixels, expected)


@pytest.mark.parametrize("made", MADE.values(), ids=MADE.keys())
def test_what_was_written_is_read_again_also_when_transformers_wrote_it(
    made: Preprocessing, tmp_path: Path
) -> None:
    config = config_of(image_aspect=made.aspect, grid_pinpoints=made.grid_pinpoints)
    assert Preprocessing.read(made.settings(), config) == made
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(made.settings()), encoding="utf-8")
    AutoImageProcessor.from_pretrained(tmp_path, backend="pil").save_pretrained(tmp_path)
    again = json.loads(path.read_text(encoding="utf-8"))
    assert again != made.settings()
    assert Preprocessing.read(again, config) == made


@pytest.mark.parametrize(
    ("settings", "aspect", "expected"),
    [
        ({}, "pad", "pad"),
        (CROPS, "pad", "pad"),
        (CROPS, "square", "square"),
        (CROPS | {"do_pad": True}, "pad", "pad"),
        (CROPS | {"size": 48, "crop_size": 48}, "pad", "pad"),
        (CROPS | {"size": {"height": 48, "width": 48}}, "pad", "pad"),
        (STRETCHES, "pad", "stretch"),
        (STRETCHES, "stretch", "stretch"),
        (STRETCHES, "square", "square"),
        (STRETCHES | {"do_pad": True}, "pad", "pad"),
    ],
)
def test_the_aspect(settings: dict[str, Any], aspect: ImageAspect, expected: str) -> None:
    read = Preprocessing.read(settings, config_of(image_aspect=aspect))
    assert (read.aspect, read.grid_pinpoints) == (expected, ())
    assert read(noise(30, 20)).shape == (1, 3, 48, 48)


def test_what_the_settings_leave_out_is_the_towers_own() -> None:
    siglip = SiglipVisionConfig(image_size=48, patch_size=8)
    stretched = Preprocessing.of(config_of(siglip, image_aspect="stretch"))
    assert stretched == MADE["stretch"]
    assert Preprocessing.read({"size": STRETCHES["size"]}, config_of(siglip)) == stretched
    plain = Preprocessing.of(config_of())
    assert (plain.mean, plain.std) == (CLIP_MEAN, CLIP_STD)
    assert Preprocessing.read(STRETCHES, config_of()).mean == SIGLIP_MEAN


def test_pinpoints_are_the_configurations_and_otherwise_the_settings() -> None:
    written = MADE["anyres"].settings()
    assert written["image_grid_pinpoints"] == [list(pinpoint) for pinpoint in GRID]
    silent, speaking = (
        config_of(image_aspect="anyres", grid_pinpoints=own) for own in ((), GRID[:2])
    )
    assert Preprocessing.read(written, silent).grid_pinpoints == GRID
    assert Preprocessing.read(written, speaking).grid_pinpoints == GRID[:2]
    assert Preprocessing.read({}, speaking).grid_pinpoints == GRID[:2]
    assert Preprocessing.read(written, config_of()).grid_pinpoints == ()
    for unusable in ({}, {"image_grid_pinpoints": [[48, 100]]}):
        with pytest.raises(CheckpointError, match="multiples of 48 pixels"):
            Preprocessing.read(unusable, silent)


def test_the_views_of_a_picture_are_as_many_as_its_best_grid_has_tiles() -> None:
    made = MADE["anyres"]
    assert [len(made(noise(*size))) for size in [(40, 30), (200, 150), (400, 100)]] == [3, 5, 4]
