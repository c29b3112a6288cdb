"""The pictures show what the scenes say."""

import random
from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageChops

from llava_chat.training.scenes.draw import PALETTE, draw_scene, shape_mask
from llava_chat.training.scenes.outlines import outline_points
from llava_chat.training.scenes.world import (
    COLOURS,
    SHAPES,
    Scene,
    SceneObject,
    random_scene,
)


def drawn(seed: int) -> tuple[Scene, Image.Image]:
    rng = random.Random(seed)
    scene = random_scene(rng)
    return scene, draw_scene(scene, rng)


def lonely(shape: str, width: float = 80, height: float = 80, tilt: float = 0) -> SceneObject:
    return SceneObject(shape, "red", "large", 60, 60, width, height, tilt)


def mask(shape: str, tilt: float = 0, shrink: float = 0) -> np.ndarray:
    width, height = (80, 46) if shape in ("oval", "rectangle") else (80, 80)
    item = lonely(shape, width, height, tilt)
    shown = np.asarray(shape_mask(item, (width, height), 20, 3, shrink)) > 127
    above = (120 - shown.shape[0]) // 2
    return np.pad(shown, ((above, above), (0, 0)))


@pytest.mark.parametrize("seed", range(25))
def test_the_colour_is_really_there(seed: int) -> None:
    scene, picture = drawn(seed)
    pixels = np.asarray(picture, np.float32)
    for item in scene.objects:
        x, y = round(item.x), round(item.y)
        seen = np.median(pixels[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3), 0)
        shades = np.array(PALETTE[item.colour], np.float32)
        # Its own jitter, shading and JPEG move a shade by less than this.
        assert np.abs(shades - seen).max(1).min() < 40, item


@pytest.mark.parametrize("seed", range(10))
def test_the_same_seed_gives_the_same_bytes(seed: int) -> None:
    (scene, first), (_, second) = drawn(seed), drawn(seed)
    assert first.tobytes() == second.tobytes()
    assert first.size == (scene.width, scene.height) and first.mode == "RGB"


def test_shapes_stand_out_from_what_is_behind_them() -> None:
    for seed in (*range(60), 186, 440, *range(700, 760)):
        rng = random.Random(seed)
        scene = random_scene(rng)
        without = draw_scene(Scene(scene.width, scene.height, ()), random.Random(seed))
        shown = draw_scene(scene, random.Random(seed))
        changed = np.asarray(ImageChops.difference(shown, without)).max(2)
        for item in scene.objects:
            left, top, right, bottom = (round(side) for side in item.box)
            assert changed[top:bottom, left:right].max() > 40, item


def test_the_shapes_differ_by_far() -> None:
    masks = {shape: mask(shape) for shape in SHAPES}
    for one, other in combinations(SHAPES, 2):
        both, either = masks[one] & masks[other], masks[one] | masks[other]
        assert both.sum() / either.sum() < 0.9, (one, other)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_keeps_to_its_box_and_holds_its_centre(shape: str) -> None:
    points = outline_points(shape)
    assert max(abs(coordinate) for point in points for coordinate in point) == pytest.approx(1)
    shown = mask(shape)
    middle = shown.shape[0] // 2, shown.shape[1] // 2
    assert shown[middle]
    assert 0.2 < shown.sum() / (80 * (46 if shape in ("oval", "rectangle") else 80)) < 1.05


@pytest.mark.parametrize("shape", SHAPES)
def test_an_outline_takes_of_the_shape(shape: str) -> None:
    whole, thin = mask(shape), mask(shape, shrink=4)
    assert 0.4 * whole.sum() < thin.sum() < 0.95 * whole.sum()
    assert not (thin & ~whole).any()


def test_a_tilt_turns_everything_but_the_circle() -> None:
    for shape in SHAPES:
        assert (mask(shape) == mask(shape, tilt=9)).all() == (shape == "circle")


def test_there_is_a_palette_for_every_colour_word() -> None:
    assert set(PALETTE) == set(COLOURS)
