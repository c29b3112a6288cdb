"""From an RGB image to the pixels that a vision tower reads. Pure functions of Pillow and numpy.

The results are those of transformers' CLIPImageProcessor, LlavaImageProcessor (padding) and
SiglipImageProcessor (stretching) on Pillow, bit for bit, at a fraction of their time; training
calls them thousands of times a minute. Pictures that would cost more than MAX_EXACT_PIXELS to pad
or to crop (long strips, tall ones above 5,792 pixels) come out within a few of 255 levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

Aspect = Literal["pad", "square", "stretch"]
Colour = tuple[int, int, int]
Channels = tuple[float, float, float]

# int(mean x 255) of CLIP's mean: the reference LLaVA (haotian-liu/LLaVA) pads with it.
PAD_COLOUR: Colour = (122, 116, 104)

# A strip of 16,384 x 1 pixels, scaled or padded as the reference does, would take gigabytes.
MAX_EXACT_PIXELS = 2**25
STRIP_PIXELS = 2**22


def pad_to_square(image: Image.Image, colour: Colour = PAD_COLOUR) -> Image.Image:
    """Centre an RGB image on a square of its longer side.

    >>> pad_to_square(Image.new("RGB", (4, 2))).size
    (4, 4)
    """
    side = max(image.size)
    if image.size == (side, side):
        return image
    padded = Image.new("RGB", (side, side), colour)
    padded.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return padded


def square(
    image: Image.Image,
    size_px: int,
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> Image.Image:
    """Resize the shorter side to size_px and crop the centre: CLIP's own view.

    >>> square(Image.new("RGB", (1000, 10)), 224).size
    (224, 224)
    """
    short, long = sorted(image.size)
    resized_long = int(size_px * long / short)
    offset = (resized_long - size_px) // 2
    is_wide = image.width >= image.height
    if resized_long * size_px <= MAX_EXACT_PIXELS:
        resized = (resized_long, size_px) if is_wide else (size_px, resized_long)
        left, top = (offset, 0) if is_wide else (0, offset)
        return image.resize(resized, resample).crop((left, top, left + size_px, top + size_px))
    # Only the crop is computed. It comes out close, since Pillow keeps the edges of a box in single
    # precision. Rows first as above: asked for both at once, Pillow takes columns of strips first.
    start, end = offset * long / resized_long, (offset + size_px) * long / resized_long
    rows_box = (start, 0, end, short) if is_wide else None
    rows = image.resize((size_px, image.height), resample, box=rows_box)
    return rows.resize((size_px, size_px), resample, None if is_wide else (0, start, size_px, end))


def padded_square(
    image: Image.Image,
    size_px: int,
    colour: Colour,
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> Image.Image:
    """`pad_to_square(image, colour)` resized to size_px, in little time and memory.

    Pillow resizes along the rows first, each row for itself, and a row of one colour stays as it
    is. So only the image's own rows are padded and resized, in strips, and then the columns.
    """
    side = max(image.size)
    left, top, rows = (side - image.width) // 2, (side - image.height) // 2, side
    if image.width < image.height and image.height * side > MAX_EXACT_PIXELS:
        # Columns first: few rows are left to pad. Rounding between the two comes out otherwise.
        image, rows = image.resize((image.width, size_px), resample), size_px
    narrow = Image.new("RGB", (size_px, rows), colour)
    strip_rows = max(1, STRIP_PIXELS // side)
    for start in range(0, image.height, strip_rows):
        end = min(start + strip_rows, image.height)
        strip = image.crop((0, start, image.width, end))
        if image.width < side:
            padded = Image.new("RGB", (side, end - start), colour)
            padded.paste(strip, (left, 0))
            strip = padded
        narrow.paste(strip.resize((size_px, end - start), resample), (0, top + start))
    return narrow.resize((size_px, size_px), resample)


def stretch(
    image: Image.Image,
    size_px: int,
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> Image.Image:
    """Resize to size_px x size_px whatever the proportions are: SigLIP's own view.

    >>> stretch(Image.new("RGB", (1000, 10)), 384).size
    (384, 384)
    """
    return image.resize((size_px, size_px), resample)


def view_of(
    image: Image.Image,
    *,
    size_px: int,
    aspect: Aspect,
    colour: Colour = PAD_COLOUR,
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> Image.Image:
    """One view of an RGB image, size_px x size_px.

    aspect: "pad" pads to a square of `colour` first (LLaVA-1.5); "square" crops (LLaVA v1);
    "stretch" squashes (LLaVA on SigLIP).
    """
    if aspect == "pad":
        return padded_square(image, size_px, colour, resample)
    if aspect == "square":
        return square(image, size_px, resample)
    return stretch(image, size_px, resample)


def clip_pixels(
    image: Image.Image,
    *,
    size_px: int,
    mean: Channels,
    std: Channels,
    aspect: Aspect,
    colour: Colour = PAD_COLOUR,
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> npt.NDArray[np.float32]:
    """`view_of(image)` as pixels for a tower, shape (3, size_px, size_px)."""
    view = view_of(image, size_px=size_px, aspect=aspect, colour=colour, resample=resample)
    pixels: npt.NDArray[np.float32] = normalised([view], mean, std)[0]
    return pixels


def normalised(
    views: Sequence[Image.Image], mean: Channels, std: Channels
) -> npt.NDArray[np.float32]:
    """V views of one size as pixels, (V, 3, height, width): (value / 255 - mean) / std.

    >>> normalised([Image.new("RGB", (2, 1), (255, 0, 0))], (0.5,) * 3, (0.5,) * 3).tolist()
    [[[[1.0, 1.0]], [[-1.0, -1.0]], [[-1.0, -1.0]]]]
    """
    tables = _levels(tuple(mean), tuple(std))
    pixels = np.empty((len(views), 3, views[0].height, views[0].width), np.float32)
    for view, channels in zip(views, pixels, strict=True):
        levels = np.asarray(view)
        for channel, table in enumerate(tables):
            np.take(table, levels[..., channel], out=channels[channel])
    return pixels


@lru_cache(maxsize=8)
def _levels(mean: Channels, std: Channels) -> npt.NDArray[np.float32]:
    """What (value / 255 - mean) / std gives for each byte, (3, 256), rounded as transformers do."""
    values = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)
    means, stds = (np.array(channels, np.float32)[:, None] for channels in (mean, std))
    table: npt.NDArray[np.float32] = (values - means) / stds
    table.flags.writeable = False
    return table
