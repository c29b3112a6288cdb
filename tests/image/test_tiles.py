"""The views of anyres equal transformers' LlavaNext processor on Pillow, bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, strategies as st
from PIL import Image
from transformers.image_processing_utils import select_best_resolution
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)

from llava_chat.image import normalised, views_of
from llava_chat.image.tiles import best_resolution, fit, tile_grid

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
GRID = [(336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008)]
UPRIGHT_FIRST = [(width, height) for height, width in GRID]
SIDES = st.integers(1, 16_384)
SIZES = [
    (1, 1),
    (2, 3),
    (3, 2000),
    (2000, 3),
    (16_384, 1),
    (1, 16_384),
    (200, 200),
    (300, 200),
    (336, 336),
    (337, 335),
    (640, 480),
    (480, 641),
    (672, 336),
    (336, 672),
    (672, 672),
    (1008, 336),
    (336, 1008),
    (1344, 1344),
    (1201, 97),
    (97, 1201),
    (500, 1501),
    (704, 396),
    (1920, 1080),
    (5000, 700),
    (2016, 3024),
]


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def check(size: tuple[int, int], size_px: int, grid: list[tuple[int, int]], filter: int) -> None:
    image = noise(*size)
    processor = LlavaNextImageProcessorPil(
        size={"shortest_edge": size_px},
        crop_size={"height": size_px, "width": size_px},
        image_grid_pinpoints=[list(pinpoint) for pinpoint in grid],
        resample=filter,
    )
    theirs = processor(image, return_tensors="np")
    views = views_of(image, grid, size_px, Image.Resampling(filter))
    pixels = normalised(views, MEAN, STD)
    assert theirs["image_sizes"].tolist() == [[image.height, image.width]]
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, theirs["pixel_values"][0])


@pytest.mark.parametrize("size", SIZES)
def test_equals_transformers_llava_next_processor(size: tuple[int, int]) -> None:
    check(size, 336, GRID, Image.Resampling.BICUBIC)


@pytest.mark.parametrize("size", [(300, 200), (200, 301), (640, 480), (77, 901)])
def test_equals_it_with_other_grids_and_filters(size: tuple[int, int]) -> None:
    check(size, 336, UPRIGHT_FIRST, Image.Resampling.BILINEAR)
    check(size, 112, [(112, 112), (224, 336), (336, 224)], Image.Resampling.LANCZOS)


@given(width=SIDES, height=SIDES)
@example(1, 16_384)
@example(16_384, 1)
@example(704, 396)
def test_the_best_resolution_is_transformers(width: int, height: int) -> None:
    for grid in (GRID, UPRIGHT_FIRST):
        assert best_resolution(width, height, grid) == select_best_resolution((height, width), grid)


@given(width=st.integers(1, 2000), height=st.integers(1, 2000))
def test_the_picture_touches_two_sides_of_its_canvas_and_lies_in_the_middle(
    width: int, height: int
) -> None:
    canvas = fit(Image.new("RGB", (width, height), "white"), 96, 64)
    left, top, right, bottom = canvas.getbbox() or (0, 0, 0, 0)
    assert canvas.size == (96, 64)
    assert (left, right) == (0, 96) or (top, bottom) == (0, 64)
    assert 0 <= (96 - right) - left <= 1 and 0 <= (64 - bottom) - top <= 1
    scale = min(96 / width, 64 / height)
    assert math.isclose(right - left, width * scale, abs_tol=1)
    assert math.isclose(bottom - top, height * scale, abs_tol=1)


def test_the_whole_comes_first_and_then_tiles_row_by_row() -> None:
    quarters = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]
    image = Image.new("RGB", (672, 672))
    for number, colour in enumerate(quarters):
        image.paste(colour, (number % 2 * 336, number // 2 * 336, 672, 672))
    base, *tiles = views_of(image, GRID, 336)
    corners = [(0, 0), (335, 0), (0, 335), (335, 335)]
    assert [base.getpixel(corner) for corner in corners] == quarters
    assert [tile.getcolors() for tile in tiles] == [[(336 * 336, colour)] for colour in quarters]


def test_without_pinpoints_there_is_the_whole_alone() -> None:
    assert tile_grid(640, 480, (), 336) == (0, 0)
    assert [view.size for view in views_of(noise(64, 48), (), 336)] == [(336, 336)]
