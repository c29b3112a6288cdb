"""Boxes: left, top, right, bottom."""

from __future__ import annotations

Box = tuple[float, float, float, float]
_HAIR_BREADTH = 2.0


def box_around(x: float, y: float, width: float, height: float) -> Box:
    """The box of this size about a centre.

    >>> box_around(10, 20, 4, 6)
    (8.0, 17.0, 12.0, 23.0)
    """
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def apart(one: Box, other: Box, least: float) -> bool:
    """True when at least `least` lies between them, sideways or up and down."""
    beside = one[0] > other[2] + least or one[2] < other[0] - least
    return beside or one[1] > other[3] + least or one[3] < other[1] - least


def shared(one: Box, other: Box) -> float:
    """What both cover, as a share of the smaller; above 1 where they do not meet.

    Boxes that nearly touch are then neither apart nor overlapping a little.

    >>> shared((0, 0, 10, 10), (8, 0, 28, 20)), shared((0, 0, 10, 10), (11, 0, 28, 20))
    (0.2, 2.0)
    """
    covered = _covered(one, other)
    return covered / min(_area(one), _area(other)) if covered else _HAIR_BREADTH


def overlap_share(one: Box, other: Box) -> float:
    """Intersection over union.

    >>> round(overlap_share((0, 0, 2, 2), (1, 0, 3, 2)), 3)
    0.333
    """
    covered = _covered(one, other)
    union = _area(one) + _area(other) - covered
    return covered / union if union > 0 else 0.0


def _covered(one: Box, other: Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, across) * max(0.0, down)


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
