"""What a file tells of itself before it is decoded, and what is refused for it.

Imports nothing but the standard library.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

# A progressive JPEG is read once more for each scan, so a few megabytes of empty scans keep a
# decoder busy for minutes (libjpeg-turbo, "Two Issues with the JPEG Standard"). The default script
# of libjpeg has 10 scans.
MAX_JPEG_SCANS = 64
# Of the fill bytes FF before a marker the last is enough; a pattern for all of them would begin
# anew at each, in quadratic time. A code of 0 or of a restart stands between a scan's data.
JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN, TEMPORARY = 0xD8, 0xD9, 0xDA, 0x01

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_END = b"IEND\xaeB`\x82"  # the last chunk's name and checksum; Pillow does not miss it


class Refused(Exception):
    """The file is no picture that is accepted; the text follows the picture's name."""


def damaged(format_name: str) -> Refused:
    """What a file is refused with whose header was right, but not what follows."""
    return Refused(f"is a damaged or incomplete {format_name}: save or send it again.")


def sniff_format(data: bytes) -> str | None:
    r"""Name the format by its first bytes, or None; a file's name and claimed type say nothing.

    >>> sniff_format(b"\xff\xd8\xff\xe0"), sniff_format(b"<svg>")
    ('JPEG', None)
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(PNG_SIGNATURE):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    return "GIF" if data.startswith((b"GIF87a", b"GIF89a")) else None


def size_in_header(data: bytes, format_name: str) -> tuple[int, int] | None:
    r"""Width and height where they stand at a fixed place (not in a JPEG), or None.

    Pillow makes room for whole WebP and GIF canvases while it opens them, so these sizes are
    needed before. Places: PNG specification 11.2.2, GIF89a section 18, RFC 9649 section 2.

    >>> size_in_header(b"GIF89a\x02\x00\x03\x00", "GIF")
    (2, 3)
    """
    if format_name == "PNG" and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    if format_name == "GIF" and len(data) >= 10:
        width, height = struct.unpack_from("<HH", data, 6)
        return width, height
    if format_name == "WebP" and len(data) >= 30:
        chunk = data[12:16]
        if chunk == b"VP8X":
            return (
                int.from_bytes(data[24:27], "little") + 1,
                int.from_bytes(data[27:30], "little") + 1,
            )
        if chunk == b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def check_size(width: int, height: int, max_pixels: int, max_side_px: int) -> None:
    """Raise Refused unless the picture has pixels, and not too many of them.

    >>> check_size(1, 100_000, 50_000_000, 16_384)
    Traceback (most recent call last):
    llava_chat.image.decoder.headers.Refused: is 1 x 100,000 pixels; at most 16,384 on a side \
are accepted.
    """
    shape = f"is {width:,} x {height:,} pixels"
    if width < 1 or height < 1:
        raise Refused(f"{shape}: send one that shows something.")
    if max(width, height) > max_side_px:
        raise Refused(f"{shape}; at most {max_side_px:,} on a side are accepted.")
    if width * height > max_pixels:
        raise Refused(f"{shape}; at most {max_pixels:,} pixels are accepted: make it smaller.")


def check_whole(data: bytes, format_name: str) -> None:
    """Raise Refused for what Pillow would not miss in a file, or look for byte after byte."""
    if format_name == "PNG" and PNG_END not in data:
        raise damaged(format_name)
    if format_name != "JPEG":
        return
    scans = jpeg_scans(data)
    if not scans:
        raise damaged(format_name)
    if scans > MAX_JPEG_SCANS:
        raise Refused(f"has more than {MAX_JPEG_SCANS} progressive scans: save it anew.")


def jpeg_scans(data: bytes) -> int:
    r"""Count a JPEG's scans up to its end, or to one more than MAX_JPEG_SCANS.

    >>> jpeg_scans(b"\xff\xd8" + b"\xff\xda\x00\x02scan" * 3 + b"\xff\xd9\xff\xda")
    3
    """
    scans = 0
    for code, _, _ in jpeg_segments(data):
        scans += code == START_OF_SCAN
        if code == END_OF_IMAGE or scans > MAX_JPEG_SCANS:
            break
    return scans


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    r"""The code of each marker of a JPEG, where it starts, and where the segment says that it ends.

    Segments are skipped by their lengths, so bytes inside EXIF or a thumbnail are no markers. The
    last may claim to end behind the file.

    >>> [*jpeg_segments(b"\xff\xd8\xff\xe2\x00\x04\xff\xd9\xff\xd9")]
    [(216, 0, 2), (226, 2, 8), (217, 8, 10)]
    """
    position = 0
    while marker := JPEG_MARKER.search(data, position):
        start, position = marker.span()
        code = data[position - 1]
        if code not in (START_OF_IMAGE, END_OF_IMAGE, TEMPORARY):
            position += int.from_bytes(data[position : position + 2], "big")
        yield code, start, position
