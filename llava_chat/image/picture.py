"""The checked picture that every other part handles, its identity and the files made of it.

Imports Pillow and decoder/rgb.py; anything may import it.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from llava_chat.image.decoder.rgb import upright_rgb

THUMBNAIL_JPEG_QUALITY = 85


@dataclass(frozen=True)
class Picture:
    """A checked picture: upright RGB without metadata.

    id: SHA-256 (hex) of mode, size and pixels. width, height: pixels. source: the pixels, or the
    path of a PNG that this project wrote itself, opened only when the pixels are needed. notice:
    what the user should know about how the file was read, or None.
    Two pictures are equal when their ids are.
    """

    id: str
    width: int = field(compare=False)
    height: int = field(compare=False)
    source: Image.Image | Path = field(compare=False, repr=False)
    notice: str | None = field(default=None, compare=False)

    def rgb(self) -> Image.Image:
        """The pixels, mode RGB, size (width, height). Copy them before drawing on them."""
        if isinstance(self.source, Path):
            with Image.open(self.source, formats=["PNG"]) as stored:
                return stored.convert("RGB")
        return self.source


def picture_from_image(image: Image.Image) -> Picture:
    """Make a picture of an image in memory, of any mode; the image itself is left as it is."""
    rgb = upright_rgb(image)
    return picture_from_pixels(rgb.width, rgb.height, rgb.tobytes())


def picture_from_pixels(
    width: int, height: int, pixels: bytes | bytearray, notice: str | None = None
) -> Picture:
    """Make a picture of width x height x 3 bytes of RGB.

    The size is part of the identity: the same bytes in another shape are another picture.

    >>> wide = picture_from_pixels(2, 1, bytes(6))
    >>> tall = picture_from_pixels(1, 2, bytes(6))
    >>> wide == tall, wide == picture_from_pixels(2, 1, bytes(6))
    (False, True)
    """
    identity = hashlib.sha256(f"RGB {width}x{height}\n".encode())
    identity.update(pixels)
    image = Image.frombytes("RGB", (width, height), pixels)
    return Picture(identity.hexdigest(), width, height, image, notice)


def thumbnail(picture: Picture, side_px: int) -> bytes:
    """JPEG bytes of the picture, at most side_px on its longer side, never enlarged."""
    scale = min(1.0, side_px / max(picture.width, picture.height))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    small = picture.rgb().resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=THUMBNAIL_JPEG_QUALITY)
    return file.getvalue()


def png_bytes(picture: Picture) -> bytes:
    """Encode the picture without loss, for a store: its pixels give the same id again."""
    file = io.BytesIO()
    # Level 1 takes a fraction of the default's time; photographs hardly get smaller above it.
    picture.rgb().save(file, "PNG", compress_level=1)
    return file.getvalue()
