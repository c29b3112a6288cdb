"""What a picture of several views takes in a prompt: tiles put together, padding cropped, newlines.

LLaVA-1.6's `spatial_unpad` (the LLaVA-NeXT blog of 2024-01-30; haotian-liu/LLaVA,
llava/model/llava_arch.py). The views themselves are made by `image/tiles.py`.

**Grid pinpoints** are (height, width) pairs everywhere in this project, as in the configurations of
transformers' LlavaNext; among equals the first of the list is taken. The configurations of the
original layout hold (width, height) pairs. Both publish the same list, (336, 672), (672, 336),
(672, 672), (1008, 336), (336, 1008), and the two are the same set: turning every pair round changes
their order only. That order decides for pictures of at most 336 x 336 pixels, which every grid
shows whole (and for strips of more than 1008 : 1, which none does): the authors put them on an
upright canvas, transformers on a flat one. So a 300 x 200 picture takes 976 rows with the original
layout and 1464 with the converted one, in each as the software that it was published for has it.
`pinpoints_from` reads both lists, and keeps the order.

Imports torch and image.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from llava_chat.image.tiles import Pinpoint, tile_grid

# LLaVA-NeXT's finest published grid has 6 x 6 tiles; a larger one would not fit into any prompt.
MAX_TILES = 64


def pinpoints_from(value: Any, size_px: int, *, width_first: bool = False) -> tuple[Pinpoint, ...]:
    """(height, width) pinpoints out of a configuration's `image_grid_pinpoints`.

    value: a list of pairs, or such a list as text, as the reference's training writes it.
    width_first: the pairs are (width, height), as in the original layout. Raises ValueError
    when they are no pairs of multiples of size_px, the tower's side, of at most MAX_TILES tiles.

    >>> pinpoints_from([[336, 672], [1008, 336]], 336)
    ((336, 672), (1008, 336))
    >>> pinpoints_from("[(336, 672), (1008, 336)]", 336, width_first=True)
    ((672, 336), (336, 1008))
    """
    try:
        if isinstance(value, str):
            value = json.loads(value.replace("(", "[").replace(")", "]"))
        pairs = [(first, second) for first, second in value]
    except (TypeError, ValueError, RecursionError):
        pairs = []
    if not pairs or not all(_is_grid(pair, size_px) for pair in pairs):
        raise ValueError(
            f"image_grid_pinpoints must be a list of pairs of multiples of {size_px} pixels, of at "
            f"most {MAX_TILES} squares of that side each, not {str(value)[:100]!r}."
        )
    return tuple((second, first) if width_first else (first, second) for first, second in pairs)


def _is_grid(pair: tuple[Any, Any], size_px: int) -> bool:
    are_sides = all(type(side) is int and side > 0 and side % size_px == 0 for side in pair)
    return are_sides and bool(math.prod(pair) <= MAX_TILES * size_px**2)


def token_count(
    width: int,
    height: int,
    *,
    grid_pinpoints: Sequence[Pinpoint],
    size_px: int,
    patches_per_side: int,
) -> int:
    """How many rows of the prompt a picture of width x height pixels takes, newlines included.

    As many as `pack` gives, and as transformers' LlavaNextProcessor counts.

    >>> grid = [(336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008)]
    >>> tower = {"grid_pinpoints": grid, "size_px": 336, "patches_per_side": 24}
    >>> [token_count(width, height, **tower) for height, width in grid]
    [1752, 1776, 2928, 2376, 2328]
    >>> token_count(640, 480, **tower), token_count(1920, 1080, **tower)
    (2340, 1948)
    >>> token_count(200, 200, **tower)
    1176
    """
    base = patches_per_side**2
    rows, columns = tile_grid(width, height, grid_pinpoints, size_px)
    if not rows * columns:
        return base + 1
    rows, columns = unpadded(width, height, rows * patches_per_side, columns * patches_per_side)
    return base + rows * (columns + 1)


def unpadded(width: int, height: int, rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns that stay of a grid of features when a picture's padding is cropped.

    Both sides lose as much, so where an odd number would be lost one line of padding stays. The
    extent is rounded to 7 decimals before it is cut to whole features, as transformers does; the
    reference cuts what the division gave, and where that is a hair too small it loses a line more
    on either side. That befalls 20 of the sizes up to 1200 x 1200 on 2 x 2 tiles; of 704 x 396
    pixels 28 rows stay here, and 26 there.
    A strip thinner than one feature keeps nothing of its tiles, only the base view, in both.

    >>> unpadded(640, 480, 48, 48), unpadded(704, 396, 48, 48), unpadded(16_384, 1, 24, 48)
    ((36, 48), (28, 48), (0, 48))
    """
    if width / height > columns / rows:
        extent = int(round(height * (columns / width), 7))
        return rows - 2 * ((rows - extent) // 2), columns
    extent = int(round(width * (rows / height), 7))
    return rows, columns - 2 * ((columns - extent) // 2)


def pack(
    features: Tensor,
    width: int,
    height: int,
    *,
    grid_pinpoints: Sequence[Pinpoint],
    size_px: int,
    newline: Tensor,
) -> Tensor:
    """Features (V, P, D) of a picture's views -> (rows, D), what stands in the prompt for it.

    First the base view's P rows; then the tiles put together to one grid, its padding cropped,
    line by line, each ended by `newline` (D,). A picture without tiles (V = 1, no pinpoints) has
    one newline after its P rows. width, height: of the picture in pixels.
    Raises ValueError when the features are not those of the picture's views.
    """
    rows, columns = tile_grid(width, height, grid_pinpoints, size_px)
    views, patches, dim = features.shape
    side = math.isqrt(patches)
    if (views, patches) != (1 + rows * columns, side**2):
        raise ValueError(
            f"a picture of {width} x {height} pixels has {1 + rows * columns} views of a square "
            f"of patches each, but features of {views} views of {patches} patches were given"
        )
    newline = newline.to(features)
    if not rows * columns:
        return torch.cat((features[0], newline[None]))
    tiles = features[1:].view(rows, columns, side, side, dim)
    grid = tiles.transpose(1, 2).reshape(rows * side, columns * side, dim)
    grid = _cropped(grid, *unpadded(width, height, rows * side, columns * side))
    lines = torch.cat((grid, newline.expand(len(grid), 1, dim)), dim=1)
    return torch.cat((features[0], lines.flatten(0, 1)))


def _cropped(grid: Tensor, rows: int, columns: int) -> Tensor:
    """The rows x columns in the middle of a grid (height, width, D)."""
    top, left = (len(grid) - rows) // 2, (grid.shape[1] - columns) // 2
    return grid[top : top + rows, left : left + columns]
