"""Words and numbers printed in a picture: which, where, and how they look."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from llava_chat.training.scenes.boxes import Box, apart, box_around

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
# Height of the letters as a share of the longer side: at 224 pixels one or two patches each.
LETTER_HEIGHTS = (0.13, 0.18)
# Width of a letter's share of the box, as a share of its height: narrow to wide faces.
_LETTER_WIDTHS = (0.62, 0.8)
_DRAWN_PX = 96  # letters are drawn large once and brought down to their box
_SOUNDS = ("BCDFGHJKLMNPQRSTVWXZ", "AEIOUY")
COMMON_WORDS = (
    "STOP", "OPEN", "EXIT", "TAXI", "SALE", "HOTEL", "HELLO", "WELCOME", "CAFE", "BUS", "CAR",
    "DOG", "CAT", "SUN", "MOON", "STAR", "TREE", "HOUSE", "BOOK", "FISH", "BIRD", "MILK", "TEA",
    "BREAD", "WATER", "FIRE", "SNOW", "RAIN", "WIND", "HOME", "PARK", "ZOO", "SHOP", "BANK",
    "POST", "FREE", "NEW", "YES", "NO", "ON", "OFF", "UP", "DOWN", "IN", "OUT", "GO", "SLOW",
    "PUSH", "PULL", "LEFT", "RIGHT", "NORTH", "SOUTH", "EAST", "WEST", "ONE", "TWO", "TEN", "LOVE",
    "JAZZ", "QUIZ", "BOX", "KEY", "JAM", "PIZZA", "VAN", "WAX", "YAK", "LLAVA",
)  # fmt: skip


@dataclass(frozen=True)
class PrintedText:
    """A word or a number in capitals. x, y: centre, width, height: its box, all in pixels."""

    text: str
    x: float
    y: float
    width: float
    height: float

    @property
    def box(self) -> Box:
        """Left, top, right, bottom in pixels."""
        return box_around(self.x, self.y, self.width, self.height)


def random_text(
    rng: random.Random, taken: Sequence[Box], width: int, height: int
) -> PrintedText | None:
    """A word or a number clear of the boxes that are taken, or None where there is no room."""
    longer = max(width, height)
    edge = 0.02 * longer
    for _ in range(30):
        text = random_word(rng)
        tall = rng.uniform(*LETTER_HEIGHTS) * longer
        wide = tall * len(text) * rng.uniform(*_LETTER_WIDTHS)
        if wide + 2 * edge >= width or tall + 2 * edge >= height:
            continue
        x = rng.uniform(edge + wide / 2, width - edge - wide / 2)
        y = rng.uniform(edge + tall / 2, height - edge - tall / 2)
        printed = PrintedText(text, x, y, wide, tall)
        if all(apart(printed.box, box, 0.03 * longer) for box in taken):
            return printed
    return None


def random_word(rng: random.Random) -> str:
    """A number of up to three digits, a common word, or letters that can be spoken.

    What is printed can so not be guessed from the words that there are.
    """
    lot = rng.random()
    if lot < 0.35:
        return str(rng.randrange(10 ** rng.randint(1, 3)))
    if lot < 0.65:
        return rng.choice(COMMON_WORDS)
    return "".join(rng.choice(_SOUNDS[place % 2]) for place in range(rng.randint(2, 5)))


def letter_boxes(printed: PrintedText) -> list[tuple[str, Box]]:
    """Each letter with its box, from left to right."""
    font = ImageFont.load_default(_DRAWN_PX)
    ends = [font.getlength(printed.text[:count]) for count in range(len(printed.text) + 1)]
    left, top, _, bottom = printed.box
    xs = [left + end / ends[-1] * printed.width for end in ends]
    return [
        (letter, (xs[place], top, xs[place + 1], bottom))
        for place, letter in enumerate(printed.text)
    ]


def text_mask(printed: PrintedText, bold: int) -> Image.Image:
    """The letters as an L mask that fills the box; bold: how much thicker, in 96ths of a letter."""
    font = ImageFont.load_default(_DRAWN_PX)
    left, top, right, bottom = font.getbbox(printed.text, stroke_width=bold)
    mask = Image.new("L", (round(right - left), round(bottom - top)), 0)
    ImageDraw.Draw(mask).text((-left, -top), printed.text, 255, font, stroke_width=bold)
    size = (max(1, round(printed.width)), max(1, round(printed.height)))
    return mask.resize(size, Image.Resampling.LANCZOS)
