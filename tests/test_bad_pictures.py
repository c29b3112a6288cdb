"""Pictures that must not hurt the app: each is refused with one clear sentence, or read rightly.

The hostile files are made here, small and quickly. The two that would keep a decoder busy for
minutes run under limits of 2 s and 256 MiB, and must be refused for what they are.
"""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llava_chat.errors import PictureError
from llava_chat.image import (
    PictureLimits,
    clip_pixels,
    picture_from_image,
    read_picture,
    thumbnail,
)
from tests.made_pictures import RED, TIGHT, encode, noise, png, refusal

# -- not whole ------------------------------------------------------------------------------------


def test_zero_bytes() -> None:
    assert "empty" in refusal(b"")


@pytest.mark.parametrize("missing_bytes", [1, 2, 12, 20, 400, 1000])
@pytest.mark.parametrize("progressive", [False, True])
def test_truncated_jpeg(missing_bytes: int, progressive: bool) -> None:
    whole = encode(noise(), "JPEG", progressive=progressive)
    assert "incomplete JPEG" in refusal(whole[:-missing_bytes])


def test_jpeg_of_a_megabyte_of_fill_bytes() -> None:
    # Any number of them may stand before a marker; here none comes.
    assert "incomplete JPEG" in refusal(b"\xff\xd8" + b"\xff" * 10**6 + b"\0", TIGHT)
    whole = encode(noise(), "JPEG")
    assert read_picture(whole[:2] + b"\xff" * 1000 + whole[2:]) == read_picture(whole)


@pytest.mark.parametrize("kind", [b"iCCP", b"tEXt", b"IDAT"])
def test_png_with_a_chunk_that_claims_more_than_the_file(kind: bytes) -> None:
    for claimed_bytes in (5000, 2**31 - 1, 2**32 - 1):
        claims = struct.pack(">I", claimed_bytes) + kind + bytes(9)
        assert "incomplete PNG" in refusal(png(1, 1, b"\0" * 4, before_pixels=claims))


@pytest.mark.parametrize("missing_bytes", [1, 4, 12, 20, 400, 3000])
def test_truncated_png(missing_bytes: int) -> None:
    assert "incomplete PNG" in refusal(encode(noise(), "PNG")[:-missing_bytes])


@pytest.mark.parametrize("missing_bytes", [20, 400, 1500])
def test_truncated_gif(missing_bytes: int) -> None:
    assert "incomplete GIF" in refusal(encode(noise(), "GIF")[:-missing_bytes])


@pytest.mark.parametrize("missing_bytes", [1, 20, 400])
def test_truncated_gif_whose_first_frame_is_whole(missing_bytes: int) -> None:
    frames = [Image.new("L", (40, 30), 200), noise().convert("L")]
    whole = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert read_picture(whole[:-missing_bytes]) == picture_from_image(frames[0])


@pytest.mark.parametrize("missing_bytes", [1, 100, 900])
def test_truncated_webp(missing_bytes: int) -> None:
    assert "incomplete WebP" in refusal(encode(noise(), "WEBP", lossless=True)[:-missing_bytes])


def test_random_bytes_named_jpg(tmp_path: Path) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(random.Random(0).randbytes(5000))
    sentence = refusal(path)
    assert "holiday.jpg" in sentence and "is not a JPEG, PNG, WebP or GIF" in sentence


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "GIF"])
def test_changed_bytes_give_a_picture_or_a_sentence(format_name: str) -> None:
    whole = encode(noise(), format_name)
    chance = random.Random(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            picture = read_picture(bytes(damaged))
        except PictureError as error:
            assert str(error).startswith("This picture ")
        else:
            assert picture.rgb().size == (picture.width, picture.height)


# -- too large ------------------------------------------------------------------------------------


def test_one_bit_png_of_13370_x_13370() -> None:
    rows = bytes(13_370 * (1 + 13_370 // 8 + 1))
    bomb = png(13_370, 13_370, rows, bits=1, colour_type=0)
    assert "13,370 x 13,370 pixels; at most 50,000,000" in refusal(bomb, TIGHT)


@pytest.mark.parametrize("size", [(1, 100_000), (100_000, 1)])
def test_1_x_100000(size: tuple[int, int]) -> None:
    width, height = size
    strip = png(width, height, bytes(height * (1 + 3 * width)))
    assert "100,000 pixels; at most 16,384 on a side" in refusal(strip).replace("x 1 ", "")


@pytest.mark.parametrize("size", [(2**31 - 1, 1), (2**16, 2**15), (2**31 - 1, 2**31 - 1)])
def test_header_claiming_2_to_the_31_pixels(size: tuple[int, int]) -> None:
    # There are no pixels to decode, so the header alone must have been enough.
    assert "at most" in refusal(png(*size, None))


@pytest.mark.parametrize("limits", [PictureLimits(max_side_px=10**6), PictureLimits()])
def test_headers_of_the_other_formats_are_read_before_decoding(limits: PictureLimits) -> None:
    vp8x = struct.pack("<B3x", 0) + (16_383).to_bytes(3, "little") * 2
    webp_chunks = b"WEBPVP8X" + struct.pack("<I", len(vp8x)) + vp8x
    webp = b"RIFF" + struct.pack("<I", len(webp_chunks)) + webp_chunks
    gif = b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b";"
    jpeg = bytearray(encode(noise(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0") + 5
    jpeg[frame : frame + 4] = struct.pack(">HH", 60_000, 60_000)
    for claimed in (webp, gif, bytes(jpeg)):
        assert "at most" in refusal(claimed, limits)


def test_1_x_1_pixel_is_answered() -> None:
    picture = read_picture(encode(Image.new("RGB", (1, 1), RED), "PNG"))
    assert (picture.width, picture.height) == (1, 1)
    for aspect in ("pad", "square", "stretch"):
        pixels = clip_pixels(
            picture.rgb(), size_px=336, mean=(0, 0, 0), std=(1, 1, 1), aspect=aspect
        )
        assert (pixels == np.array([1, 0, 0], np.float32)[:, None, None]).all()
    assert Image.open(io.BytesIO(thumbnail(picture, 64))).size == (1, 1)


def test_one_byte_over_the_size_limit(tmp_path: Path) -> None:
    data = encode(noise(), "PNG")
    path = tmp_path / "noise.png"
    path.write_bytes(data)
    enough, too_few = PictureLimits(max_bytes=len(data)), PictureLimits(max_bytes=len(data) - 1)
    assert read_picture(data, enough) == read_picture(path, enough)
    for source in (data, path):
        assert f"over the limit of {len(data) - 1:,} bytes" in refusal(source, too_few)


# -- another kind of file -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://169.254.169.254/"/></svg>',
        b'<?xml version="1.0"?><svg onload="alert(1)"/>',
    ],
)
def test_svg(data: bytes) -> None:
    assert "is not a JPEG" in refusal(data)


def test_html_named_png(tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    path.write_bytes(b"<!DOCTYPE html><script>alert(1)</script>")
    assert "page.png" in refusal(path)


def test_eps() -> None:
    assert "is not a JPEG" in refusal(encode(noise(), "EPS"))


def test_tiff_named_jpg(tmp_path: Path) -> None:
    path = tmp_path / "scan.jpg"
    path.write_bytes(encode(noise(), "TIFF"))
    assert "is not a JPEG" in refusal(path)


# -- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../../x", "a" * 400 + ".png", "nul\0byte.png", "line\nbreak.png", "<b>.png", "."]
)
def test_hostile_file_names_are_not_there(tmp_path: Path, name: str) -> None:
    sentence = refusal(tmp_path / name)
    assert "cannot be read" in sentence and str(tmp_path) not in sentence


@pytest.mark.parametrize("make_name", [lambda: "<b>\u202e.png", lambda: "é" * 100])
def test_file_name_leaves_no_trace_in_the_picture(
    tmp_path: Path, make_name: Callable[[], str]
) -> None:
    path = tmp_path / make_name()
    path.write_bytes(encode(noise(), "PNG"))
    picture = read_picture(path)
    assert picture == picture_from_image(noise())
    assert path.name not in repr(picture) and not isinstance(picture.source, Path)


def test_same_pixels_in_another_shape_are_another_picture() -> None:
    pixels = noise(30, 100).tobytes()
    tall, wide = (
        read_picture(encode(Image.frombytes("RGB", size, pixels), "PNG"))
        for size in ((30, 100), (100, 30))
    )
    assert tall.rgb().tobytes() == wide.rgb().tobytes()
    assert tall.id != wide.id
