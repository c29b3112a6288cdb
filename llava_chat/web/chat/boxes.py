"""Where a reply points: the boxes that it names, drawn onto the picture it speaks of.

LLaVA writes a box as [x1, y1, x2, y2], shares from 0 to 1. LLaVA-1.5 and its line count them on
the picture padded to a square (https://github.com/haotian-liu/LLaVA/issues/606), the bundled model
on the picture itself. Pure functions.
"""

from __future__ import annotations

import re

from llava_chat.image import Picture

Box = tuple[float, float, float, float]

_SHARE = r"\s*([01](?:\.\d*)?|\.\d+)\s*"
_BOX = re.compile(rf"\[{_SHARE},{_SHARE},{_SHARE},{_SHARE}\]")
# A model that repeats itself could fill the page.
MAX_BOXES = 20


def boxes_in(text: str) -> tuple[Box, ...]:
    """The boxes of a text, in order: shares within 0 and 1, with some width and height.

    >>> boxes_in("It is at [0.1, 0.25, 0.5, 1.0].")
    ((0.1, 0.25, 0.5, 1.0),)
    >>> boxes_in("[1, 2, 3, 4] and [0.5, 0.5, 0.2, 0.9]")
    ()
    """
    found = []
    for match in _BOX.finditer(text):
        left, top, right, bottom = (float(share) for share in match.groups())
        if left < right <= 1 and top < bottom <= 1:
            found.append((left, top, right, bottom))
    return tuple(found[:MAX_BOXES])


def unpadded(box: Box, width: int, height: int) -> Box:
    """A box on the picture padded to a square -> the same on the picture itself, cut at its edges.

    >>> unpadded((0.25, 0.25, 0.75, 0.5), 200, 100)
    (0.25, 0.0, 0.75, 0.5)
    """
    side = max(width, height)
    aside = ((side - width) / 2, (side - height) / 2)
    lengths = (width, height)
    edges = (
        (share * side - aside[number % 2]) / lengths[number % 2] for number, share in enumerate(box)
    )
    left, top, right, bottom = (min(1.0, max(0.0, edge)) for edge in edges)
    return left, top, right, bottom


def boxed_picture(picture: Picture, boxes: tuple[Box, ...]) -> str:
    """A thumbnail with the boxes drawn on it, which enlarges with them."""
    named = "the place" if len(boxes) == 1 else f"the {len(boxes)} places"
    name = f"Your picture with {named} that the reply names"
    drawn = "".join(
        f'<rect x="{left:.4f}" y="{top:.4f}" width="{right - left:.4f}" '
        f'height="{bottom - top:.4f}"/>'
        for left, top, right, bottom in boxes
    )
    return (
        f'<button type="button" class="thumb boxed" data-click="enlarge" '
        f'aria-label="Enlarge: {name}" data-full="pictures/{picture.id}">'
        f'<img src="pictures/{picture.id}/thumbnail" alt="{name}">'
        '<svg viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<g class="halo">{drawn}</g><g>{drawn}</g></svg></button>'
    )
