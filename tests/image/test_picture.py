"""Identity, orientation, and the files made of a picture."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from llava_chat.errors import SettingError
from llava_chat.image import (
    Picture,
    PictureLimits,
    picture_from_image,
    png_bytes,
    read_picture,
    thumbnail,
)
from tests.made_pictures import chunk, png


def noise(width: int = 40, height: int = 30) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_id_is_the_sha256_of_mode_size_and_pixels() -> None:
    image = noise()
    expected = hashlib.sha256(b"RGB 40x30\n" + image.tobytes()).hexdigest()
    assert picture_from_image(image).id == expected


def test_same_pixels_in_another_format_are_the_same_picture() -> None:
    pictures = set()
    for format_name in ("PNG", "WEBP"):
        file = io.BytesIO()
        noise().save(file, format_name, lossless=True)
        pictures.add(read_picture(file.getvalue()))
    assert pictures == {picture_from_image(noise())}


def test_picture_keeps_its_pixels_when_the_image_changes() -> None:
    image = noise()
    picture = picture_from_image(image)
    image.paste("black", (0, 0, 40, 30))
    assert picture.rgb().tobytes() == noise().tobytes()


@pytest.mark.parametrize("orientation", range(10))
def test_orientation(orientation: int) -> None:
    image = noise()
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(file.getvalue())))
    assert read_picture(file.getvalue()) == picture_from_image(upright.copy())
    assert read_picture(file.getvalue()).rgb().size == upright.size


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F"])
def test_images_of_any_mode(mode: str) -> None:
    image = Image.new("L", (3, 2), 255).convert(mode)
    if mode == "I":
        image = image.point(lambda value: value * 257)
    picture = picture_from_image(image)
    assert np.asarray(picture.rgb()).tolist() == [[[255] * 3] * 3] * 2


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_transparent_grey_of_a_png_of_few_bits(bits: int) -> None:
    most = 2**bits - 1
    greys = [1, most // 2, 0, most]
    row = sum(grey << (8 - bits) - place * bits for place, grey in enumerate(greys[: 8 // bits]))
    shown = [grey * 255 // most for grey in greys[: 8 // bits]]
    for grey in {*greys}:
        transparent = chunk(b"tRNS", struct.pack(">H", grey))
        width = len(shown)
        data = png(width, 1, bytes([0, row]), bits=bits, colour_type=0, before_pixels=transparent)
        clear = grey * 255 // most
        expected = [255 if value == clear else value for value in shown]
        assert np.asarray(read_picture(data).rgb())[0, :, 0].tolist() == expected


def test_stored_png_gives_the_same_picture_again(tmp_path: Path) -> None:
    picture = picture_from_image(noise())
    path = tmp_path / f"{picture.id}.png"
    path.write_bytes(png_bytes(picture))
    stored = Picture(picture.id, picture.width, picture.height, path)
    assert picture_from_image(stored.rgb()) == picture == read_picture(path)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((400, 300), (100, 75)),
        ((300, 400), (75, 100)),
        ((60, 20), (60, 20)),
        ((3000, 1), (100, 1)),
        ((100, 100), (100, 100)),
    ],
)
def test_thumbnail_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    small = Image.open(io.BytesIO(thumbnail(picture_from_image(noise(*size)), 100)))
    assert (small.format, small.size) == ("JPEG", expected)


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_limits_are_checked(value: float) -> None:
    with pytest.raises(SettingError, match="decode_timeout_s must be above 0"):
        PictureLimits(decode_timeout_s=value)
