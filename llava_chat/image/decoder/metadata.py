"""Cuts out of a file what is never used, so that damage there refuses no picture.

Pillow parses it with the pixels and raises nearly anything. What stays: all that pixels, colours
or orientation depend on, and a PNG's texts, for which Pillow bounds what they unpack to.
Imports headers.py only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from .headers import PNG_SIGNATURE, START_OF_SCAN, jpeg_segments

# The chunks of the PNG specification (third edition, 11.3) that no pixel here depends on.
UNUSED_PNG_CHUNKS = frozenset(
    b"iCCP gAMA cHRM sRGB cICP mDCV cLLI sBIT bKGD hIST pHYs sPLT tIME".split()
)
PNG_CHUNK = struct.Struct(">I4s")  # bytes of its data, and its type
PNG_CHECKSUM_BYTES = 4

# Applications' data (APP2 to APP13, APP15) and comments. APP0 (JFIF) and APP14 (Adobe) tell the
# colours, APP1 (EXIF) the orientation. APP2 holds profiles, and the index of a camera's several
# pictures (CIPA DC-007).
UNUSED_JPEG_SEGMENTS = frozenset((*range(0xE2, 0xEE), 0xEF, 0xFE))


def without_metadata(data: bytes, format_name: str) -> bytes:
    """A file's bytes without the metadata that is never used; `data` itself if it has none."""
    if format_name == "PNG":
        return _cut(data, _unused_png_chunks(data))
    if format_name == "JPEG":
        return _cut(data, _unused_jpeg_segments(data))
    return data


def _unused_png_chunks(data: bytes) -> Iterator[tuple[int, int]]:
    r"""Where they start and end.

    >>> [*_unused_png_chunks(PNG_SIGNATURE + b"\0\0\0\1gAMA?____" + b"\0\0\0\0IEND____")]
    [(8, 21)]
    """
    start = len(PNG_SIGNATURE)
    while start + PNG_CHUNK.size <= len(data):
        data_bytes, kind = PNG_CHUNK.unpack_from(data, start)
        end = start + PNG_CHUNK.size + data_bytes + PNG_CHECKSUM_BYTES
        if kind in UNUSED_PNG_CHUNKS:
            yield start, end
        start = end


def _unused_jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    for code, start, end in jpeg_segments(data):
        if code == START_OF_SCAN:
            return
        if code in UNUSED_JPEG_SEGMENTS:
            yield start, end


def _cut(data: bytes, spans: Iterable[tuple[int, int]]) -> bytes:
    """The bytes outside the spans, which are in order and may end behind the data.

    >>> _cut(b"0123456789", [(1, 3), (3, 5), (8, 20)])
    b'0567'
    """
    kept, position = [], 0
    for start, end in spans:
        kept.append(data[position:start])
        position = end
    return b"".join([*kept, data[position:]])
