"""What a picture may cost grows with the pixels that are accepted, up to what Pillow opens."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest
from PIL import Image

from llava_chat.assembly import picture_limits
from llava_chat.errors import SettingError
from llava_chat.image import Picture, PictureLimits, read_picture
from llava_chat.image.limits import DECODE_BYTES_PER_PIXEL
from llava_chat.settings import load_settings
from tests.made_pictures import encode, png

MOST_PIXELS = 89_478_485
ORIENTATION = 0x0112


def limits_of(pixels: int) -> PictureLimits:
    return picture_limits(load_settings(argparse.Namespace(max_picture_pixels=str(pixels))))


def test_no_more_pixels_can_be_asked_for_than_pillow_opens() -> None:
    assert limits_of(MOST_PIXELS).max_pixels == MOST_PIXELS == Image.MAX_IMAGE_PIXELS
    with pytest.raises(SettingError, match=r"must be less than or equal to 89478485"):
        limits_of(MOST_PIXELS + 1)


def test_the_largest_kept_picture_opens_without_a_warning(tmp_path: Path) -> None:
    side_px = int(MOST_PIXELS**0.5)
    path = tmp_path / "kept.png"
    path.write_bytes(
        png(side_px, side_px, bytes(side_px * (1 + -(-side_px // 8))), bits=1, colour_type=0)
    )
    assert Picture("", side_px, side_px, path).rgb().size == (side_px, side_px)


def test_memory_and_time_grow_with_the_pixels() -> None:
    small, large = limits_of(10_000_000), limits_of(80_000_000)
    assert large.decode_memory_bytes - small.decode_memory_bytes == 16 * 70_000_000
    assert (small.decode_timeout_s, large.decode_timeout_s) == (10, 16)
    assert PictureLimits().decode_memory_bytes == limits_of(50_000_000).decode_memory_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces RLIMIT_AS")
@pytest.mark.parametrize("is_animated", [False, True])
def test_the_dearest_pictures_need_no_more_than_is_counted_for_a_pixel(is_animated: bool) -> None:
    side_px = 4000
    frame = Image.new("RGBA", (side_px, side_px), (255, 0, 0, 128))
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    more = [Image.new("RGBA", frame.size, (0, 0, 255, 9))] if is_animated else []
    data = encode(
        frame,
        "WEBP",
        lossless=True,
        quality=0,
        method=0,
        exif=turned,
        save_all=is_animated,
        append_images=more,
    )
    # 96 MiB is what Python, Pillow and strips of the picture take; 4 bytes a pixel are 61 MiB.
    memory_bytes = 96 * 2**20 + DECODE_BYTES_PER_PIXEL * side_px**2
    picture = read_picture(data, PictureLimits(decode_memory_bytes=memory_bytes))
    assert picture.rgb().getpixel((0, 0)) == (255, 127, 127)
