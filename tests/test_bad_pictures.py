"""Pictures that must not hurt the app: each is refused with one clear sentence, or read rightly.

The hostile files are made here, small and quickly. The two that would keep a decoder busy for
minutes run under limits of 2 s and 256 MiB, and must be refused for what they are.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from llava_chat.errors import PictureError
from llava_chat.image import (
    Picture,
    PictureLimits,
    clip_pixels,
    picture_from_image,
    png_bytes,
    read_picture,
    thumbnail,
)

TIGHT = PictureLimits(decode_memory_bytes=256 * 2**20, decode_timeout_s=2)
RED, WHITE = (255, 0, 0), (255, 255, 255)
EXIF_ORIENTATION, EXIF_GPS = 0x0112, 0x8825


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


# -- not whole ------------------------------------------------------------------------------------


def test_zero_bytes() -> None:
    assert "empty" in refusal(b"")


@pytest.mark.parametrize("missing_bytes", [1, 2, 12, 20, 400, 1000])
@pytest.mark.parametrize("progressive", [False, True])
def test_truncated_jpeg(missing_bytes: int, progressive: bool) -> None:
    whole = encode(noise(), "JPEG", progressive=progressive)
    assert "incomplete JPEG" in refusal(whole[:-missing_bytes])


@pytest.mark.parametrize("missing_bytes", [1, 4, 12, 20, 400, 3000])
def test_truncated_png(missing_bytes: int) -> None:
    assert "incomplete PNG" in refusal(encode(noise(), "PNG")[:-missing_bytes])


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
    for aspect in ("pad", "square"):
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


# -- colours --------------------------------------------------------------------------------------


def test_cmyk_jpeg() -> None:
    red = read_picture(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    grey = read_picture(encode(Image.new("CMYK", (16, 16), (0, 0, 0, 127)), "JPEG"))
    assert np.abs(np.subtract(corner(red), RED)).max() <= 3
    assert np.abs(np.subtract(corner(grey), 128)).max() <= 3


def test_16_bit_grey_png() -> None:
    values = np.array([[0, 257 * 100, 257 * 200, 65_535]], np.uint16)
    picture = read_picture(encode(Image.fromarray(values), "PNG"))
    assert np.asarray(picture.rgb())[0].tolist() == [[v, v, v] for v in (0, 100, 200, 255)]


@pytest.mark.parametrize(
    ("colour_type", "pixel", "transparent", "expected"),
    [
        (2, (65_535, 257 * 100, 0), b"", (255, 100, 0)),
        (2, (65_535, 257 * 100, 0), struct.pack(">3H", 65_535, 257 * 100, 0), WHITE),
        (6, (65_535, 0, 0, 257 * 128), b"", (255, 127, 127)),
        (4, (0, 0), b"", WHITE),
        (0, (257 * 7,), struct.pack(">H", 257 * 7), WHITE),
        (0, (257 * 7,), struct.pack(">H", 257 * 8), (7, 7, 7)),
    ],
)
def test_16_bit_png(
    colour_type: int,
    pixel: tuple[int, ...],
    transparent: bytes,
    expected: tuple[int, int, int],
) -> None:
    rows = b"\0" + struct.pack(f">{len(pixel)}H", *pixel)
    data = png(
        1,
        1,
        rows,
        bits=16,
        colour_type=colour_type,
        before_pixels=chunk(b"tRNS", transparent) if transparent else b"",
    )
    assert corner(read_picture(data)) == expected


def test_palette_with_transparency() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, 0, 0, 255, 0, 255, 0])
    image.putdata([0, 1, 2])
    picture = read_picture(encode(image, "PNG", transparency=bytes([255, 128, 0])))
    assert np.asarray(picture.rgb())[0].tolist() == [[255, 0, 0], [127, 127, 255], [255] * 3]


@pytest.mark.parametrize("format_name", ["PNG", "WEBP"])
def test_rgba_on_white(format_name: str) -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 128))
    image.putpixel((1, 0), (0, 0, 0, 0))
    picture = read_picture(encode(image, format_name, lossless=True))
    assert np.asarray(picture.rgb())[0].tolist() == [[255, 127, 127], [255, 255, 255]]


def test_transparent_picture_of_several_strips() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (600, 2000, 4), dtype=np.uint8)
    alpha = pixels[..., 3:].astype(float) / 255
    expected = pixels[..., :3] * alpha + 255 * (1 - alpha)
    picture = read_picture(encode(Image.fromarray(pixels), "PNG", compress_level=1))
    assert np.abs(np.asarray(picture.rgb()) - expected).max() <= 1


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG"])
def test_animation_shows_its_first_frame_and_says_so(format_name: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, (0, 255, 0), (0, 0, 255))]
    options = {"save_all": True, "append_images": frames[1:], "lossless": True}
    picture = read_picture(encode(frames[0], format_name, **options))
    assert corner(picture) == RED
    assert picture.notice is not None and "first frame" in picture.notice
    assert read_picture(encode(frames[0], format_name, lossless=True)).notice is None


# -- what comes along with the pixels -------------------------------------------------------------


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("profile", [b"", b"nonsense" * 100, None])
def test_icc_profile_is_ignored(format_name: str, profile: bytes | None) -> None:
    corrupt = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    corrupt[100:200] = bytes(100)
    data = encode(noise(), format_name, icc_profile=bytes(corrupt) if profile is None else profile)
    picture = read_picture(data)
    assert picture == read_picture(encode(noise(), format_name))
    assert b"ICC" not in png_bytes(picture) + thumbnail(picture, 64)


def test_corrupt_compressed_icc_profile_in_a_png() -> None:
    rows = b"\0" + bytes(RED)
    data = png(1, 1, rows, before_pixels=chunk(b"iCCP", b"name\0\0" + b"no zlib stream"))
    assert corner(read_picture(data)) == RED


def test_10_mb_of_exif_in_a_jpeg() -> None:
    whole = encode(noise(), "JPEG")
    body = b"Exif\0\0" + random.Random(0).randbytes(65_000)
    segments = (b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body) * 155
    assert read_picture(whole[:2] + segments + whole[2:]) == read_picture(whole)


def test_10_mb_of_exif_in_a_png() -> None:
    exif = chunk(b"eXIf", random.Random(0).randbytes(10_000_000))
    assert corner(read_picture(png(1, 1, b"\0" + bytes(RED), before_pixels=exif))) == RED


def gps_and_orientation_6() -> Image.Exif:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    exif.get_ifd(EXIF_GPS).update({1: "N", 2: (48.0, 51.0, 29.0)})
    exif[0x010E] = "at home"
    return exif


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
def test_gps_in_exif_is_gone_and_orientation_6_upright(format_name: str) -> None:
    image = Image.new("RGB", (64, 32), WHITE)
    image.paste(RED, (0, 0, 16, 32))  # red on the left of the sensor is red on top for the eye
    data = encode(image, format_name, exif=gps_and_orientation_6())
    assert b"at home" in data
    picture = read_picture(data)
    assert (picture.width, picture.height) == (32, 64)
    column = np.asarray(picture.rgb())[:, 16].astype(int)
    assert np.abs(column[4] - RED).max() <= 3 and column[60].tolist() == [*WHITE]
    assert picture.rgb().info == {} and not picture.rgb().getexif()
    for made in (png_bytes(picture), thumbnail(picture, 32)):
        assert b"Exif" not in made and b"eXIf" not in made and b"at home" not in made
        assert not Image.open(io.BytesIO(made)).getexif()


def test_jpeg_of_80000_scans() -> None:
    plain = encode(Image.new("RGB", (1500, 1500)), "JPEG", progressive=True)
    last_scan = plain.rindex(b"\xff\xda")
    scan = plain[last_scan:-2]
    bomb = plain[:last_scan] + scan * 80_000 + b"\xff\xd9"
    assert "progressive scans" in refusal(bomb, TIGHT)
    assert read_picture(plain[:last_scan] + scan * 3 + b"\xff\xd9").width == 1500


def gigabyte_of_zeros() -> bytes:
    """A zlib stream; the megabytes after the first are written alike, so one is enough."""
    stream = zlib.compressobj(9)
    first, again = (
        stream.compress(bytes(2**20)) + stream.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
    )
    return first + again * 1023 + stream.flush()


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_png_with_a_gigabyte_of_compressed_text(kind: bytes) -> None:
    head = b"Comment\0\0" if kind == b"zTXt" else b"Comment\0\1\0\0\0"
    text = chunk(kind, head + gigabyte_of_zeros())
    for bomb in (
        png(1, 1, b"\0" + bytes(RED), before_pixels=text),
        png(1, 1, b"\0" + bytes(RED))[:-12] + text + chunk(b"IEND", b""),
    ):
        assert "damaged or incomplete PNG" in refusal(bomb, TIGHT)


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
