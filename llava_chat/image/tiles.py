"""A large picture in several views: the whole of it squashed, then tiles at a higher resolution.

LLaVA-1.6's anyres (the LLaVA-NeXT blog of 2024-01-30; haotian-liu/LLaVA, llava/mm_utils.py). The
views are those of transformers' LlavaNextImageProcessor on Pillow and of the reference alike, bit
for bit and at every size: both resize with Pillow's bicubic filter, round up, centre on black
before anything is normalised, and leave a tile as it is because it has the tower's size already.
No picture costs more than its best grid, so none is computed in another way to save memory.

**grid_pinpoints** are (height, width) pairs in pixels, multiples of the tower's side, as in
transformers' configurations. `model/anyres.py` tells how lists of (width, height) become such.

Pure functions of Pillow; imports views.py beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image

from llava_chat.image.views import stretch

Pinpoint = tuple[int, int]


def best_resolution(width: int, height: int, grid_pinpoints: Sequence[Pinpoint]) -> Pinpoint:
    """The (height, width) pinpoint that shows most of a picture's own pixels.

    Most: of the picture scaled into it, its own area at the most, since enlarging adds nothing.
    Among equals the one with least area left over, and of those the first in the list.
    Raises ValueError when there is no pinpoint.

    >>> grid = [(336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008)]
    >>> best_resolution(640, 480, grid), best_resolution(1000, 200, grid)
    ((672, 672), (336, 1008))
    >>> best_resolution(200, 200, grid), best_resolution(200, 200, grid[1:])
    ((336, 672), (672, 336))
    """

    def merit(pinpoint: Pinpoint) -> tuple[int, int]:
        grid_height, grid_width = pinpoint
        scale = min(grid_width / width, grid_height / height)
        effective = min(int(width * scale) * int(height * scale), width * height)
        return effective, effective - grid_height * grid_width

    return max(grid_pinpoints, key=merit)


def tile_grid(
    width: int, height: int, grid_pinpoints: Sequence[Pinpoint], size_px: int
) -> tuple[int, int]:
    """Rows and columns of tiles that a picture is cut into; (0, 0) where there is no pinpoint.

    >>> tile_grid(1920, 1080, [(336, 672), (672, 672)], 336)
    (2, 2)
    """
    if not grid_pinpoints:
        return 0, 0
    grid_height, grid_width = best_resolution(width, height, grid_pinpoints)
    return grid_height // size_px, grid_width // size_px


def views_of(
    image: Image.Image,
    grid_pinpoints: Sequence[Pinpoint],
    size_px: int,
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> list[Image.Image]:
    """V views of an RGB image, size_px square: the whole of it squashed, then tiles row by row.

    >>> len(views_of(Image.new("RGB", (640, 480)), [(336, 672), (672, 672)], 336))
    5
    """
    rows, columns = tile_grid(image.width, image.height, grid_pinpoints, size_px)
    views = [stretch(image, size_px, resample)]
    if not rows * columns:
        return views
    canvas = fit(image, columns * size_px, rows * size_px, resample)
    for top in range(0, canvas.height, size_px):
        for left in range(0, canvas.width, size_px):
            views.append(canvas.crop((left, top, left + size_px, top + size_px)))
    return views


def fit(
    image: Image.Image,
    width: int,
    height: int,
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> Image.Image:
    """Scale an RGB image into width x height, its proportions kept, and centre it on black.

    >>> fit(Image.new("RGB", (200, 100), "red"), 672, 672).getbbox()
    (0, 168, 672, 504)
    """
    scale = min(width / image.width, height / image.height)
    # Where the division rounded up, the longer side would come out a pixel too long.
    new_width = min(math.ceil(image.width * scale), width)
    new_height = min(math.ceil(image.height * scale), height)
    canvas = Image.new("RGB", (width, height))
    resized = image.resize((new_width, new_height), resample)
    canvas.paste(resized, ((width - new_width) // 2, (height - new_height) // 2))
    return canvas
