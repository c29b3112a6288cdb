"""Picture files made for a test, and what a refused one must say."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llava_chat.errors import PictureError
from llava_chat.image import (
    Picture,
    PictureLimits,
    picture_from_image,
    read_picture,
)

TIGHT = PictureLimits(decode_memory_bytes=256 * 2**20, decode_timeout_s=2)
RED, WHITE = (255, 0, 0), (255, 255, 255)


def encode(image: Image.Image, format_name: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


def noise(width: int = 40, height: int = 30) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int,
    height: int,
    rows: bytes | None,
    *,
    bits: int = 8,
    colour_type: int = 2,
    before_pixels: bytes = b"",
) -> bytes:
    """A PNG written by hand; `rows` None leaves its pixels out."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    pixels = b"" if rows is None else chunk(b"IDAT", zlib.compress(rows, 1))
    parts = chunk(b"IHDR", header) + before_pixels + pixels + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def refusal(source: bytes | Path, limits: PictureLimits | None = None) -> str:
    """The sentence that the sender reads; checks that it is one, and that reading goes on."""
    with pytest.raises(PictureError) as refused:
        read_picture(source, limits or PictureLimits())
    sentence = str(refused.value)
    assert sentence.endswith(".") and "\n" not in sentence and "Traceback" not in sentence
    assert len(sentence) < 200
    assert read_picture(encode(noise(), "PNG")) == picture_from_image(noise())
    return sentence


def corner(picture: Picture) -> tuple[int, ...]:
    pixel = picture.rgb().getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel
