"""A picture's size from its header alone, where decoding every file would take too long.

Nothing is decoded and no library sees the bytes; what follows the header may still be damaged.
Imports errors and decoder/headers.py.
"""

from __future__ import annotations

from llava_chat.errors import PictureError
from llava_chat.image.decoder.headers import (
    Refused,
    check_size,
    damaged,
    jpeg_segments,
    size_in_header,
    sniff_format,
)
from llava_chat.image.limits import DEFAULT_LIMITS, PictureLimits

# ITU T.81, table B.1: the frames of every kind of JPEG; the codes between are of tables.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def outline_of(data: bytes, limits: PictureLimits = DEFAULT_LIMITS) -> tuple[int, int]:
    r"""Width and height in pixels, as the file stores them. Raises PictureError.

    >>> outline_of(b"GIF89a\x02\x00\x03\x00")
    (2, 3)
    >>> outline_of(b"<svg>")
    Traceback (most recent call last):
    llava_chat.errors.PictureError: This picture is not a JPEG, PNG, WebP or GIF file.
    """
    try:
        if len(data) > limits.max_bytes:
            raise Refused(f"is over the limit of {limits.max_bytes:,} bytes: make it smaller.")
        format_name = sniff_format(data)
        if format_name is None:
            raise Refused("is not a JPEG, PNG, WebP or GIF file.")
        size = _jpeg_size(data) if format_name == "JPEG" else size_in_header(data, format_name)
        if size is None:
            raise damaged(format_name)
        check_size(*size, limits.max_pixels, limits.max_side_px)
    except Refused as error:
        raise PictureError(f"This picture {error}") from error
    return size


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    for code, start, _ in jpeg_segments(data):
        if code in _START_OF_FRAME and len(data) >= start + 9:
            height, width = data[start + 5 : start + 7], data[start + 7 : start + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
    return None
