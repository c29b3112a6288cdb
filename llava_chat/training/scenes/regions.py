"""What each patch of a picture shows: the phrases that an encoder learns to find."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llava_chat.image import clip_pixels
from llava_chat.model.preprocessing import CLIP_MEAN, CLIP_STD
from llava_chat.training.scenes.draw import draw_scene
from llava_chat.training.scenes.other_pictures import KINDS, draw_other
from llava_chat.training.scenes.printed import LETTERS, letter_boxes
from llava_chat.training.scenes.world import (
    COLOURS,
    CORE,
    PLACES,
    SHAPES,
    SIZES,
    Scene,
    SceneObject,
    World,
    random_scene,
)

OTHER_SHARE = 0.15
IGNORED = -100
# A letter may be narrower than a patch: each half of one has a letter of its own.
_HALVES = ("left letter", "right letter")
_LETTER_CENTRES = ("no centre", "left centre", "right centre", "both centres")

Aspects = dict[str, tuple[str, ...]]
_PLACE_PHRASES = tuple(phrase for row in PLACES for phrase in row)
_ASPECTS: Aspects = {
    "colour": COLOURS,
    "shape": SHAPES,
    "size": SIZES,
    "place": _PLACE_PHRASES,
    "part": ("centre", "part"),
    "ground": ("shape", "empty", *KINDS),
}


def aspects_of(world: World) -> Aspects:
    """What a patch can be called, aspect by aspect.

    "empty" is ground or padding; what no aspect but "ground" names is another kind of picture.
    """
    if not world.printed:
        return _ASPECTS
    ground = (*_ASPECTS["ground"], "text")
    halves = dict.fromkeys(_HALVES, tuple(LETTERS))
    return {**_ASPECTS, "ground": ground, **halves, "letters": _LETTER_CENTRES}


@dataclass(frozen=True)
class RegionSample:
    """pixels: float32 (3, S, S). labels: aspect -> int64 (P,), -100 where it does not apply.

    boxes: float32 (P, 4), the box of the object at each patch as shares of the picture's sides;
    NaN where there is none.
    """

    pixels: np.ndarray
    labels: dict[str, np.ndarray]
    boxes: np.ndarray


@dataclass(frozen=True)
class RegionBatch:
    """The same for N samples, as tensors: (N, 3, S, S), (N, P) by aspect, (N, P, 4)."""

    pixels: Tensor
    labels: dict[str, Tensor]
    boxes: Tensor

    def to(self, device: torch.device) -> RegionBatch:
        """The same batch on a device."""
        labels = {aspect: values.to(device) for aspect, values in self.labels.items()}
        return RegionBatch(self.pixels.to(device), labels, self.boxes.to(device))


def patch_centres(scene: Scene, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """X and y of the grid x grid patch centres in the scene's own pixels, padded to a square."""
    longer = max(scene.width, scene.height)
    spots = (np.arange(grid) + 0.5) / grid * longer
    xs = np.tile(spots, grid) - (longer - scene.width) / 2
    ys = np.repeat(spots, grid) - (longer - scene.height) / 2
    return xs, ys


def object_patches(scene: Scene, item: SceneObject, grid: int) -> tuple[np.ndarray, int]:
    """Which patches show `item` (bool (P,)), and the number of the one at its centre."""
    xs, ys = patch_centres(scene, grid)
    central = int(np.argmin((xs - item.x) ** 2 + (ys - item.y) ** 2))
    # 0.8 of the box: patches that hold only a corner of it may hold more ground than shape.
    inside = (np.abs(xs - item.x) < 0.4 * item.width) & (np.abs(ys - item.y) < 0.4 * item.height)
    inside[central] = True
    return inside, central


@dataclass(frozen=True)
class LetterHalves:
    """The printed letters by patch and half of a patch, left and right.

    covering: int64 (P, 2), the letter that lies over the middle of each half, -100 where none.
    centred: bool (P, 2), whether that letter has its centre there. A letter has it once.
    """

    covering: np.ndarray
    centred: np.ndarray

    @property
    def shown(self) -> np.ndarray:
        """Bool (P,): patches that show a letter."""
        seen: np.ndarray = (self.covering != IGNORED).any(1)
        return seen


def letter_halves(scene: Scene, grid: int) -> LetterHalves:
    """Which letter of the printed text stands where."""
    covering = np.full((grid * grid, 2), IGNORED, np.int64)
    centred = np.zeros((grid * grid, 2), bool)
    if scene.printed is None:
        return LetterHalves(covering, centred)
    xs, ys = patch_centres(scene, grid)
    half = max(scene.width, scene.height) / grid / 2
    xs, ys = np.stack([xs - half / 2, xs + half / 2], 1), np.stack([ys, ys], 1)
    letters = [(LETTERS.index(letter), box) for letter, box in letter_boxes(scene.printed)]
    for letter, (left, top, right, bottom) in letters:
        covering[(xs > left) & (xs < right) & (ys > top) & (ys < bottom)] = letter
    for letter, (left, top, right, bottom) in letters:
        x, y = (left + right) / 2, (top + bottom) / 2
        spot = np.unravel_index(
            np.argmin(((xs - x) / half) ** 2 + ((ys - y) / half / 2) ** 2), xs.shape
        )
        covering[spot], centred[spot] = letter, True
    return LetterHalves(covering, centred)


def near_any(scene: Scene, grid: int) -> np.ndarray:
    """Bool (P,): patches that some object or letter may reach into."""
    xs, ys = patch_centres(scene, grid)
    half = max(scene.width, scene.height) / grid / 2
    near = np.zeros(grid * grid, bool)
    for item in (*scene.objects, *((scene.printed,) if scene.printed else ())):
        near |= (np.abs(xs - item.x) < item.width * 0.6 + half) & (
            np.abs(ys - item.y) < item.height * 0.6 + half
        )
    return near


def scene_labels(scene: Scene, grid: int, world: World = CORE) -> dict[str, np.ndarray]:
    """Aspect -> labels (P,) of a scene's patches."""
    aspects = aspects_of(world)
    labels = _no_labels(aspects, grid)
    labels["ground"][~near_any(scene, grid)] = aspects["ground"].index("empty")
    for item in scene.objects:
        inside, central = object_patches(scene, item, grid)
        labels["colour"][inside] = COLOURS.index(item.colour)
        labels["shape"][inside] = SHAPES.index(item.shape)
        labels["size"][inside] = SIZES.index(item.size)
        labels["place"][inside] = _PLACE_PHRASES.index(scene.place(item))
        labels["part"][inside] = 1
        labels["part"][central] = 0
        labels["ground"][inside] = 0
    if scene.printed is not None and world.printed:
        halves = letter_halves(scene, grid)
        for side, name in enumerate(_HALVES):
            labels[name] = halves.covering[:, side]
        left, right = halves.centred[halves.shown].T
        labels["letters"][halves.shown] = left + 2 * right
        labels["ground"][halves.shown] = aspects["ground"].index("text")
    return labels


def scene_boxes(scene: Scene, grid: int) -> np.ndarray:
    """The box of the object at each patch (P, 4), NaN where there is none."""
    boxes = np.full((grid * grid, 4), np.nan, np.float32)
    for item in scene.objects:
        boxes[object_patches(scene, item, grid)[0]] = scene.box_shares(item)
    return boxes


def region_sample(
    rng: random.Random, *, size_px: int, grid: int, world: World = CORE
) -> RegionSample:
    """A fresh picture and what its patches show, grid x grid of them."""
    if rng.random() < OTHER_SHARE:
        kind, picture = draw_other(rng)
        aspects = aspects_of(world)
        labels = _no_labels(aspects, grid)
        width, height = picture.size
        scene = Scene(width, height, ())
        xs, ys = patch_centres(scene, grid)
        inside = (xs > 0) & (xs < width) & (ys > 0) & (ys < height)
        labels["ground"][inside] = aspects["ground"].index(kind)
    else:
        scene = random_scene(rng, world)
        picture, labels = draw_scene(scene, rng), scene_labels(scene, grid, world)
    pixels = clip_pixels(picture, size_px=size_px, mean=CLIP_MEAN, std=CLIP_STD, aspect="pad")
    return RegionSample(pixels, labels, scene_boxes(scene, grid))


def _no_labels(aspects: Aspects, grid: int) -> dict[str, np.ndarray]:
    return {aspect: np.full(grid * grid, IGNORED, np.int64) for aspect in aspects}


def collate(samples: list[RegionSample]) -> RegionBatch:
    """Samples -> a batch."""
    labels = {
        aspect: torch.from_numpy(np.stack([s.labels[aspect] for s in samples]))
        for aspect in samples[0].labels
    }
    pixels = torch.from_numpy(np.stack([s.pixels for s in samples]))
    return RegionBatch(pixels, labels, torch.from_numpy(np.stack([s.boxes for s in samples])))
