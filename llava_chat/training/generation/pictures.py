"""Pictures as a language model reads them: what people said of each, and what is where in it.

Imports conversation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from llava_chat.conversation import well_formed

MOST_DECIMALS = 3  # of a share, as in the paper's contexts


@dataclass(frozen=True)
class Box:
    """corners: left, top, right, bottom, in shares of the picture's sides, 0 to 1."""

    category: str
    corners: tuple[float, float, float, float]


@dataclass(frozen=True)
class DescribedPicture:
    """image: what the picture's file is called where it will be trained on."""

    id: str
    image: str
    captions: tuple[str, ...]
    boxes: tuple[Box, ...] = ()

    @property
    def context(self) -> str:
        """What stands for the picture: a caption a line, an empty line, a box a line.

        >>> cat = Box("cat", (0.25, 0.1, 0.72, 1.0))
        >>> print(DescribedPicture("1", "1.jpg", ("A cat.", "Cat on a mat."), (cat,)).context)
        A cat.
        Cat on a mat.
        <BLANKLINE>
        cat: [0.25, 0.1, 0.72, 1.0]
        """
        boxes = [
            f"{box.category}: {[round(share, MOST_DECIMALS) for share in box.corners]}"
            for box in self.boxes
        ]
        return "\n".join([*self.captions, *(["", *boxes] if boxes else [])])


def one_line(caption: str) -> str:
    r"""A caption is a line of the context, whatever breaks and half characters are in it.

    >>> one_line(" A cat\non a mat. ")
    'A cat on a mat.'
    """
    lines = (line.strip() for line in well_formed(caption).splitlines())
    return " ".join(line for line in lines if line)


def four_numbers(value: object) -> tuple[float, float, float, float] | None:
    """The four numbers of a list in JSON; None for anything else, such as one with a boolean.

    >>> four_numbers([0, 1, 2.5, 3]), four_numbers([0, 1, 2]), four_numbers([0, 1, 2, 10**400])
    ((0.0, 1.0, 2.5, 3.0), None, None)
    """
    if not isinstance(value, list) or len(value) != 4:
        return None
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in value):
        return None
    try:
        first, second, third, fourth = map(float, value)
    except OverflowError:
        return None
    found = (first, second, third, fourth)
    return found if all(map(math.isfinite, found)) else None
