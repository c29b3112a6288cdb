"""What a scene holds: shapes with a colour, a size and a place, and how they stand to each other.

Everything that is said about a picture comes from here, never from its pixels.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from llava_chat.training.scenes.boxes import Box, apart, box_around, shared
from llava_chat.training.scenes.outlines import drawn_box, filled_share
from llava_chat.training.scenes.printed import PrintedText, random_text

SHAPES = (
    "circle",
    "square",
    "triangle",
    "rectangle",
    "oval",
    "star",
    "heart",
    "diamond",
    "hexagon",
    "cross",
)
COLOURS = (
    "red",
    "orange",
    "yellow",
    "green",
    "cyan",
    "blue",
    "purple",
    "pink",
    "brown",
    "black",
    "white",
    "gray",
)
SIZES = ("small", "medium", "large")
MAX_OBJECTS = 6

# Diameter as a share of the picture's longer side: the gaps between the ranges keep the three
# words apart, and the smallest still shows a hexagon's corners at 144 pixels.
SIZE_RANGES = {"small": (0.14, 0.18), "medium": (0.23, 0.285), "large": (0.34, 0.43)}
# Centres keep this far (share of the side) from the lines between the thirds that name a place.
PLACE_MARGIN = 0.025
# Centres of a scene differ by at least this share of its width, so that their order is clear.
ORDER_MARGIN = 0.035
# Where two centres differ by less than this share of the side, people differ about left and right,
# above and below.
SPOKEN_MARGIN = 0.06

# A square turned by much more than this could be a diamond, and a diamond a square.
_NEAR_ANOTHER_SHAPE = {"square": 10.0, "diamond": 10.0}

Direction = Literal["left of", "right of", "above", "below"]
DIRECTIONS: tuple[Direction, ...] = ("left of", "right of", "above", "below")


@dataclass(frozen=True)
class World:
    """What pictures may show, and be asked about, beyond shapes apart and almost upright.

    tilted: share of the shapes that are turned, by up to tilt_deg degrees. overlap: the share of
    the smaller of two boxes that both may cover. printed: share of the pictures with a word or a
    number. boxes: whether the box of an object is asked for.
    """

    tilted: float = 0.3
    tilt_deg: float = 10.0
    overlap: float = 0.0
    printed: float = 0.0
    boxes: bool = False


CORE = World()
FURTHER = World(tilted=0.5, tilt_deg=30.0, overlap=0.15, printed=0.35, boxes=True)


@dataclass(frozen=True)
class SceneObject:
    """One shape. x, y: centre, width, height: its box, all in pixels; tilt in degrees."""

    shape: str
    colour: str
    size: str
    x: float
    y: float
    width: float
    height: float
    tilt: float = 0.0

    @property
    def box(self) -> Box:
        """Left, top, right, bottom in pixels, before it is turned."""
        return box_around(self.x, self.y, self.width, self.height)

    @cached_property
    def drawn_box(self) -> Box:
        """Left, top, right, bottom in pixels, as it is drawn."""
        return drawn_box(self.shape, self.x, self.y, self.width, self.height, self.tilt)

    @property
    def area(self) -> float:
        """Square pixels that it covers."""
        return self.width * self.height * filled_share(self.shape)


@dataclass(frozen=True)
class Scene:
    """A picture's own description. Objects stand from left to right by their centres."""

    width: int
    height: int
    objects: tuple[SceneObject, ...]
    printed: PrintedText | None = None

    def place(self, item: SceneObject) -> str:
        """The third of the picture that holds the centre, in words.

        >>> dot = SceneObject("circle", "red", "small", 10, 50, 8, 8)
        >>> Scene(100, 100, (dot,)).place(dot)
        'on the left'
        """
        column = min(2, int(3 * item.x / self.width))
        row = min(2, int(3 * item.y / self.height))
        return PLACES[row][column]

    def box_shares(self, item: SceneObject) -> Box:
        """The box of the object as it is drawn, as shares of the picture's width and height.

        >>> dot = SceneObject("circle", "red", "small", 10, 50, 8, 8)
        >>> Scene(100, 200, (dot,)).box_shares(dot)
        (0.06, 0.23, 0.14, 0.27)
        """
        left, top, right, bottom = item.drawn_box
        return left / self.width, top / self.height, right / self.width, bottom / self.height

    def related(self, item: SceneObject, direction: Direction) -> tuple[SceneObject, ...] | None:
        """The objects whose centres lie in `direction` of the item's, from left to right.

        None when one of them is so nearly level with the item that people would differ.
        """
        found = []
        for other in self.objects:
            if other is item:
                continue
            lead = self.lead(other, item, direction)
            if abs(lead) < SPOKEN_MARGIN:
                return None
            if lead > 0:
                found.append(other)
        return tuple(found)

    def lead(self, one: SceneObject, other: SceneObject, direction: Direction) -> float:
        """How far `one` lies in `direction` of `other`, as a share of the side; negative behind.

        >>> a = SceneObject("circle", "red", "small", 10, 50, 8, 8)
        >>> b = SceneObject("star", "blue", "small", 60, 55, 8, 8)
        >>> Scene(100, 100, (a, b)).lead(a, b, "left of")
        0.5
        """
        if direction in ("left of", "right of"):
            lead = (other.x - one.x) / self.width
        else:
            lead = (other.y - one.y) / self.height
        return lead if direction in ("left of", "above") else -lead

    def nearest(self, item: SceneObject) -> SceneObject | None:
        """The object that is nearest by its centre, by a fifth, and by its edge; None in doubt."""
        others = sorted((o for o in self.objects if o is not item), key=lambda o: distance(o, item))
        if not others:
            return None
        if len(others) > 1 and distance(others[1], item) < 1.2 * distance(others[0], item):
            return None
        return others[0] if others[0] is min(others, key=lambda o: gap(o, item)) else None


PLACES = (
    ("at the top left", "at the top", "at the top right"),
    ("on the left", "in the middle", "on the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)


def distance(one: SceneObject, other: SceneObject) -> float:
    """Pixels between the centres."""
    return math.hypot(one.x - other.x, one.y - other.y)


def gap(one: SceneObject, other: SceneObject) -> float:
    """Pixels between the boxes.

    >>> dot = SceneObject("circle", "red", "small", 10, 50, 8, 8)
    >>> gap(dot, SceneObject("star", "blue", "small", 21, 54, 8, 8))
    3.0
    """
    beside = abs(one.x - other.x) - (one.width + other.width) / 2
    over = abs(one.y - other.y) - (one.height + other.height) / 2
    return math.hypot(max(0.0, beside), max(0.0, over))


def random_scene(rng: random.Random, world: World = CORE) -> Scene:
    """A scene of 0 to 6 objects that keep clear of the edge, and of each other as `world` says."""
    width, height = _random_canvas(rng)
    wanted = rng.choices(range(MAX_OBJECTS + 1), weights=(2, 8, 12, 14, 12, 10, 8))[0]
    colours = COLOURS if rng.random() < 0.7 else tuple(rng.sample(COLOURS, 3))
    shapes = SHAPES if rng.random() < 0.7 else tuple(rng.sample(SHAPES, 3))
    objects: list[SceneObject] = []
    for _ in range(60):
        if len(objects) == wanted:
            break
        item = _random_object(rng, width, height, colours, shapes, world)
        if item and _fits(item, objects, width, height, world.overlap):
            objects.append(item)
    printed = None
    if world.printed and rng.random() < world.printed:
        printed = random_text(rng, [item.drawn_box for item in objects], width, height)
    return Scene(width, height, tuple(sorted(objects, key=lambda o: o.x)), printed)


def _random_canvas(rng: random.Random) -> tuple[int, int]:
    longer = rng.randint(144, 320)
    if rng.random() < 0.35:
        return longer, longer
    shorter = max(80, round(longer * rng.uniform(0.52, 1.0)))
    return (longer, shorter) if rng.random() < 0.6 else (shorter, longer)


def _random_object(
    rng: random.Random,
    width: int,
    height: int,
    colours: tuple[str, ...],
    shapes: tuple[str, ...],
    world: World,
) -> SceneObject | None:
    shape, size = rng.choice(shapes), rng.choice(SIZES)
    diameter = rng.uniform(*SIZE_RANGES[size]) * max(width, height)
    box_w = box_h = diameter
    if shape in ("rectangle", "oval"):
        narrow = diameter * rng.uniform(0.48, 0.68)
        box_w, box_h = (diameter, narrow) if rng.random() < 0.6 else (narrow, diameter)
    elif shape in ("diamond", "heart", "triangle"):
        box_w = diameter * rng.uniform(0.8, 1.0)
    edge = 0.02 * max(width, height)
    if box_w + 2 * edge >= width or box_h + 2 * edge >= height:
        return None
    x = rng.uniform(edge + box_w / 2, width - edge - box_w / 2)
    y = rng.uniform(edge + box_h / 2, height - edge - box_h / 2)
    most = min(world.tilt_deg, _NEAR_ANOTHER_SHAPE.get(shape, world.tilt_deg))
    tilt = rng.uniform(-most, most) if rng.random() < world.tilted else 0.0
    return SceneObject(shape, rng.choice(colours), size, x, y, box_w, box_h, tilt)


def _fits(
    item: SceneObject, placed: list[SceneObject], width: int, height: int, overlap: float
) -> bool:
    for share in (item.x / width, item.y / height):
        if min(abs(share - 1 / 3), abs(share - 2 / 3)) < PLACE_MARGIN:
            return False
    least = 0.015 * max(width, height)
    left, top, right, bottom = item.drawn_box
    if min(left, top) < least or right > width - least or bottom > height - least:
        return False
    for other in placed:
        if abs(item.x - other.x) < ORDER_MARGIN * width:
            return False
        if apart(item.drawn_box, other.drawn_box, least):
            continue
        # Alike in colour, two shapes that overlap would be one.
        if item.colour == other.colour or shared(item.drawn_box, other.drawn_box) > overlap:
            return False
    return True
