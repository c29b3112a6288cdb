"""From a file's bytes to upright RGB pixels. Imports Pillow and the modules beside it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import IO

from PIL import GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from .headers import Refused, check_size, check_whole, damaged, size_in_header, sniff_format
from .metadata import without_metadata
from .rgb import upright_rgb

# Image.open would import all of Pillow's formats to find these. It would also take a JPEG with an
# index of several pictures (MPO: depth or gain maps) for an animation, and fail on a wrong index.
OPENERS: Mapping[str, Callable[[IO[bytes]], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
}
ANIMATION_NOTICE = "This is an animation: only its first frame is looked at."

# By what Pillow multiplies the grey of a PNG of so many bits: 255 / (2^bits - 1).
GREY_SCALE = {2: 85, 4: 17}


def decode(data: bytes, *, max_pixels: int, max_side_px: int) -> tuple[Image.Image, str | None]:
    """Decode a file of one of OPENERS: upright RGB pixels, and a notice for the user or None.

    Everything that the header tells is checked before a pixel is decoded. Raises Refused.
    """
    format_name = sniff_format(data)
    if format_name is None:
        *others, last = OPENERS
        accepted = f"{', '.join(others)} or {last}"
        raise Refused(f"is not a {accepted} file: save it as one of these and send that.")
    data = without_metadata(data, format_name)
    header_size = size_in_header(data, format_name)
    if header_size is not None:
        check_size(*header_size, max_pixels, max_side_px)
    check_whole(data, format_name)
    try:
        image, is_animated = _load(data, format_name, max_pixels, max_side_px)
        return upright_rgb(image), ANIMATION_NOTICE if is_animated else None
    except Refused:
        raise
    except MemoryError:
        raise Refused("needs too much memory to decode: make it smaller and send that.") from None
    except Exception as error:  # Pillow's parsers raise nearly every type there is on damaged files
        raise damaged(format_name) from error


def _load(
    data: bytes, format_name: str, max_pixels: int, max_side_px: int
) -> tuple[Image.Image, bool]:
    """The first frame as it is in the file, and whether there are more."""
    with OPENERS[format_name](io.BytesIO(data)) as file:
        check_size(*file.size, max_pixels, max_side_px)
        file.load()
        if format_name == "PNG" and file.mode == "L":
            scale_transparent_grey(file, data[24])
        # A copy, because `file` holds its decoder, which may hold two more frames (WebP's does).
        return file.copy(), getattr(file, "is_animated", False)


def scale_transparent_grey(image: Image.Image, bits: int) -> None:
    """Make the transparent grey of a PNG comparable to its pixels, which alone Pillow scales.

    bits: of a pixel in the file; of the transparent grey no more count (PNG specification 11.3.2).
    """
    grey = image.info.get("transparency")
    if isinstance(grey, int) and bits in GREY_SCALE:
        image.info["transparency"] = (grey & (2**bits - 1)) * GREY_SCALE[bits]
