"""Pictures of rare kinds are read as people see them, and nothing but their pixels is kept."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from llava_chat.image import (
    picture_from_image,
    png_bytes,
    read_picture,
    thumbnail,
)
from tests.made_pictures import RED, TIGHT, WHITE, chunk, corner, encode, noise, png, refusal

EXIF_ORIENTATION, EXIF_GPS = 0x0112, 0x8825


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


def wrong_checksum(kind: bytes, data: bytes) -> bytes:
    return chunk(kind, data)[:-4] + b"\1\2\3\4"


PROFILE = zlib.compress(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
DAMAGED_CHUNKS = {
    "a profile that is no zlib stream": chunk(b"iCCP", b"name\0\0no zlib stream"),
    "a profile compressed in another way": chunk(b"iCCP", b"name\0\1" + PROFILE),
    "an empty profile": chunk(b"iCCP", b""),
    "a profile's name without an end": chunk(b"iCCP", b"name"),
    "a profile of 2 MiB": chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(2**21))),
    "a profile's checksum": wrong_checksum(b"iCCP", b"name\0\0" + PROFILE),
    "a short gamma": chunk(b"gAMA", b"\0"),
    "chromaticities of odd length": chunk(b"cHRM", bytes(31)),
    "an empty rendering intent": chunk(b"sRGB", b""),
    "a short resolution": chunk(b"pHYs", bytes(8)),
    "other checksums": b"".join(
        wrong_checksum(kind, bytes(9))
        for kind in b"cICP mDCV cLLI sBIT bKGD hIST sPLT tIME".split()
    ),
}


@pytest.mark.parametrize("metadata", DAMAGED_CHUNKS.values(), ids=DAMAGED_CHUNKS.keys())
def test_damaged_png_metadata_is_ignored(metadata: bytes) -> None:
    rows = b"\0" + bytes(RED)
    plain = png(1, 1, rows)
    assert corner(read_picture(png(1, 1, rows, before_pixels=metadata * 2))) == RED
    assert corner(read_picture(plain[:-12] + metadata + plain[-12:])) == RED


@pytest.mark.parametrize(
    "metadata",
    [
        chunk(b"gAMA", struct.pack(">I", 220_000)),
        chunk(b"iCCP", b"name\0\0" + PROFILE),
        chunk(b"sRGB", b"\0") + chunk(b"pHYs", struct.pack(">IIB", 2, 1, 0)),
        chunk(b"bKGD", bytes(6)) + chunk(b"cHRM", struct.pack(">8I", *range(8))),
    ],
)
def test_sound_png_metadata_changes_no_pixel(metadata: bytes) -> None:
    rows = b"".join(b"\0" + bytes(row) for row in np.asarray(noise()))
    assert read_picture(png(40, 30, rows, before_pixels=metadata)) == picture_from_image(noise())


def test_animated_png_with_damaged_metadata_shows_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, (0, 255, 0))]
    data = encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
    after_header = data.index(b"IHDR") + 4 + 13 + 4
    damaged = chunk(b"iCCP", b"")
    parts = data[:after_header], data[after_header:-12], data[-12:]
    picture = read_picture(damaged.join(parts))
    assert corner(picture) == RED
    assert picture.notice is not None and "first frame" in picture.notice


@pytest.mark.parametrize(
    ("marker", "body"),
    [
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"ICC_PROFILE\0\1\5of five parts"),
        (0xE2, b"MPF\0no index"),
        (0xED, b"Photoshop 3.0\x008BIM\4\4"),
        (0xFE, b"a comment"),
    ],
)
def test_damaged_jpeg_metadata_is_ignored(marker: int, body: bytes) -> None:
    whole = encode(noise(), "JPEG")
    segment = struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
    assert read_picture(whole[:2] + segment + whole[2:]) == read_picture(whole)


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


@pytest.mark.parametrize("listed", [2, 5])  # 5: the index names more pictures than it describes
def test_a_telephones_file_of_two_pictures_is_its_first(listed: int) -> None:
    data = encode(noise(), "MPO", save_all=True, append_images=[Image.new("RGB", (40, 30), RED)])
    number_of_images = struct.pack("<HHI", 0xB001, 4, 1)  # tag, type and count of the index entry
    place = data.index(number_of_images) + len(number_of_images)
    assert data[place] == 2
    picture = read_picture(data[:place] + bytes([listed]) + data[place + 1 :])
    assert picture == read_picture(encode(noise(), "JPEG"))
    assert picture.notice is None


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
