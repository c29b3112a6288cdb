"""The outlines of the shapes, and how far they reach."""

from __future__ import annotations

import math
from functools import cache

from llava_chat.training.scenes.boxes import Box


def outline_points(
    shape: str, tilt_deg: float = 0.0, proportion: float = 1.0
) -> list[tuple[float, float]]:
    """The outline in a box from -1 to 1, y downwards, turned by `tilt_deg` about the centre.

    proportion: the box's height by its width, so that a turned rectangle keeps its corners.

    >>> outline_points("diamond")
    [(0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)]
    """
    points = _OUTLINES[shape]
    if not tilt_deg or shape == "circle":
        return list(points)
    cos, sin = math.cos(math.radians(tilt_deg)), math.sin(math.radians(tilt_deg))
    return [(x * cos - y * sin * proportion, x * sin / proportion + y * cos) for x, y in points]


def _regular(corners: int, start_deg: float) -> tuple[tuple[float, float], ...]:
    turns = [math.radians(start_deg + 360 * k / corners) for k in range(corners)]
    return tuple((math.cos(t), math.sin(t)) for t in turns)


def _star() -> tuple[tuple[float, float], ...]:
    # 0.42 lies between the pentagram's own 0.38 and the rounder stars of office programs.
    turns = [(math.radians(-90 + 36 * k), 1.0 if k % 2 == 0 else 0.42) for k in range(10)]
    return tuple((r * math.cos(t), r * math.sin(t)) for t, r in turns)


def _heart() -> tuple[tuple[float, float], ...]:
    # The well-known parametric heart curve, scaled into the box.
    turns = [2 * math.pi * k / 48 for k in range(48)]
    xs = [16 * math.sin(t) ** 3 for t in turns]
    ys = [
        13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        for t in turns
    ]
    middle, half = (max(ys) + min(ys)) / 2, (max(ys) - min(ys)) / 2
    return tuple((x / 16, -(y - middle) / half) for x, y in zip(xs, ys, strict=True))


_ARM = 0.34  # half the width of a cross's arm
_OUTLINES: dict[str, tuple[tuple[float, float], ...]] = {
    "circle": _regular(64, 0),
    "oval": _regular(64, 0),
    "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    "rectangle": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    "triangle": ((0.0, -1.0), (1.0, 1.0), (-1.0, 1.0)),
    "diamond": ((0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)),
    "hexagon": _regular(6, 0),
    "star": _star(),
    "heart": _heart(),
    "cross": (
        (-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM),
        (_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM),
    ),
}  # fmt: skip


def drawn_box(
    shape: str, x: float, y: float, width: float, height: float, tilt_deg: float = 0.0
) -> Box:
    """Left, top, right, bottom of a shape about (x, y) as it is drawn, turned.

    >>> [round(edge, 1) for edge in drawn_box("square", 50, 50, 20, 20, tilt_deg=45)]
    [35.9, 35.9, 64.1, 64.1]
    """
    points = outline_points(shape, tilt_deg, height / width)
    xs = [x + across * width / 2 for across, _ in points]
    ys = [y + down * height / 2 for _, down in points]
    return min(xs), min(ys), max(xs), max(ys)


@cache
def filled_share(shape: str) -> float:
    """The share of its box that a shape covers.

    >>> filled_share("square"), filled_share("triangle")
    (1.0, 0.5)
    """
    points = _OUTLINES[shape]
    pairs = zip(points, [*points[1:], points[0]], strict=True)
    return abs(sum(x * v - u * y for (x, y), (u, v) in pairs)) / 8
