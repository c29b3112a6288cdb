"""Untrusted bytes to upright RGB, and the child process that does it.

A decoder is where hostile files strike, so reader.py runs this file as a program of its own, with
limits on memory and processor time, and trusts nothing that comes back. It imports the standard
library and Pillow only, so that the child starts quickly and has room under its memory limit.

A request on stdin is REQUEST and then the file's bytes. The answer on stdout is one line of JSON:
`{"width", "height", "notice"}` followed by width x height x 3 bytes of RGB, or `{"refused"}`, the
rest of a sentence that begins with the picture's name.
"""

from __future__ import annotations

import io
import json
import math
import re
import signal
import struct
import sys
import time
from collections.abc import Iterator
from typing import BinaryIO

if __name__ == "__main__":  # the child is started without site-packages: reader.py names its own
    sys.path.append(sys.argv[1])

from PIL import (
    GifImagePlugin,
    Image,
    ImageMath,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

# bytes of the file, max_pixels, max_side_px, decode_memory_bytes, seconds of processor time
REQUEST = struct.Struct("<5Q")

FORMATS = ("JPEG", "PNG", "WebP", "GIF")
ANIMATION_NOTICE = "This is an animation: only its first frame is looked at."

# A progressive JPEG is read once more for each scan, so a few megabytes of empty scans keep a
# decoder busy for minutes (libjpeg-turbo, "Two Issues with the JPEG Standard"). The default script
# of libjpeg has 10 scans.
MAX_JPEG_SCANS = 64
JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN, TEMPORARY = 0xD8, 0xD9, 0xDA, 0x01

PNG_END = b"IEND\xaeB`\x82"  # the last chunk's name and checksum; Pillow does not miss it

# What undoes each value of the EXIF tag Orientation (Exif 2.32, table 6).
ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

STRIP_PIXELS = 2**20

# By what Pillow multiplies the grey of a PNG of so many bits: 255 / (2^bits - 1).
GREY_SCALE = {2: 85, 4: 17}


class Refused(Exception):
    """The file is no picture that is accepted; the text follows the picture's name."""


def decode(data: bytes, *, max_pixels: int, max_side_px: int) -> tuple[Image.Image, str | None]:
    """Decode a file of one of FORMATS: upright RGB pixels, and a notice for the user or None.

    Everything that the header tells is checked before a pixel is decoded. Raises Refused.
    """
    format_name = sniff_format(data)
    if format_name is None:
        *others, last = FORMATS
        accepted = f"{', '.join(others)} or {last}"
        raise Refused(f"is not a {accepted} file: save it as one of these and send that.")
    header_size = size_in_header(data, format_name)
    if header_size is not None:
        check_size(*header_size, max_pixels, max_side_px)
    if format_name == "JPEG" and jpeg_scans(data) > MAX_JPEG_SCANS:
        raise Refused(f"has more than {MAX_JPEG_SCANS} progressive scans: save it anew.")
    damaged = Refused(f"is a damaged or incomplete {format_name}: send it again.")
    if format_name == "PNG" and PNG_END not in data:
        raise damaged
    try:
        with Image.open(io.BytesIO(data), formats=[format_name.upper()]) as image:
            check_size(*image.size, max_pixels, max_side_px)
            image.load()
            if format_name == "PNG" and image.mode == "L":
                scale_transparent_grey(image, data[24])
            # A JPEG of several pictures (MPO: depth or gain maps) is a photograph, no animation.
            animated = format_name != "JPEG" and getattr(image, "is_animated", False)
            return upright_rgb(image), ANIMATION_NOTICE if animated else None
    except Refused:
        raise
    except MemoryError:
        raise Refused("needs too much memory to decode: make it smaller and send that.") from None
    except Exception as error:  # Pillow's parsers raise nearly every type there is on damaged files
        raise Refused(
            f"is a damaged or incomplete {format_name}: save or send it again."
        ) from error


def sniff_format(data: bytes) -> str | None:
    r"""Name the format by its first bytes, or None; a file's name and claimed type say nothing.

    >>> sniff_format(b"\xff\xd8\xff\xe0"), sniff_format(b"<svg>")
    ('JPEG', None)
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
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
    llava_chat.image.decoder.Refused: is 1 x 100,000 pixels; at most 16,384 on a side are accepted.
    """
    shape = f"is {width:,} x {height:,} pixels"
    if width < 1 or height < 1:
        raise Refused(f"{shape}: send one that shows something.")
    if max(width, height) > max_side_px:
        raise Refused(f"{shape}; at most {max_side_px:,} on a side are accepted.")
    if width * height > max_pixels:
        raise Refused(f"{shape}; at most {max_pixels:,} pixels are accepted: make it smaller.")


def jpeg_scans(data: bytes) -> int:
    r"""Count a JPEG's scans up to its end, or to one more than MAX_JPEG_SCANS.

    Segments are skipped by their lengths, so bytes inside EXIF or a thumbnail do not count.

    >>> jpeg_scans(b"\xff\xd8" + b"\xff\xda\x00\x02scan" * 3 + b"\xff\xd9\xff\xda")
    3
    """
    scans = 0
    position = 0
    while scans <= MAX_JPEG_SCANS and (marker := JPEG_MARKER.search(data, position)):
        position = marker.end()
        code = data[position - 1]
        if code == END_OF_IMAGE:
            break
        scans += code == START_OF_SCAN
        if code not in (START_OF_IMAGE, TEMPORARY):
            position += int.from_bytes(data[position : position + 2], "big")
    return scans


def scale_transparent_grey(image: Image.Image, bits: int) -> None:
    """Make the transparent grey of a PNG comparable to its pixels, which alone Pillow scales.

    bits: of a pixel in the file; of the transparent grey no more count (PNG specification 11.3.2).
    """
    grey = image.info.get("transparency")
    if isinstance(grey, int) and bits in GREY_SCALE:
        image.info["transparency"] = (grey & (2**bits - 1)) * GREY_SCALE[bits]


def upright_rgb(image: Image.Image) -> Image.Image:
    """Turn any Pillow image into RGB, upright, transparency on white.

    Only the pixels of the result are meant: it may be `image` itself, and hold its metadata.
    """
    turn = UPRIGHT.get(_orientation(image))
    return _on_white(image if turn is None else image.transpose(turn))


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF raises nearly anything, and is no reason to refuse a picture
        return 1
    return orientation if isinstance(orientation, int) else 1


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        flatten = _from_16_bits
    elif "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        flatten = _with_alpha
    else:
        return image if image.mode == "RGB" else image.convert("RGB")
    flat = Image.new("RGB", image.size, "white")
    for box in _strips(image.size):  # a large picture in one piece would need four copies at once
        strip, opacity = flatten(image.crop(box))
        flat.paste(strip, box, mask=opacity)
    return flat


def _strips(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    width, height = size
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)


def _with_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    colour = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(colour, tuple) and max(colour) > 255:
        # Pillow keeps the upper byte of 16-bit pixels, but both of the transparent colour.
        image.info["transparency"] = tuple(value >> 8 for value in colour)
    translucent = image.convert("RGBA")
    return translucent.convert("RGB"), translucent.getchannel("A")


def _from_16_bits(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    grey = image.convert("I")  # Pillow's own conversion to RGB would clip at 255
    rgb = grey.point(lambda value: value * (1 / 257) + 0.5).convert("L").convert("RGB")
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return rgb, None
    opaque = ImageMath.lambda_eval(lambda of: (of["grey"] != transparent) * 255, grey=grey)
    return rgb, opaque.convert("L")


def _limit_resources(memory_bytes: int, processor_s: int) -> None:
    if (
        sys.platform != "linux"
    ):  # elsewhere RLIMIT_AS is missing or ignored; the clock still ends us
        return
    import resource

    limits = {
        resource.RLIMIT_AS: memory_bytes,
        # Ends a busy child whose parent was killed and cannot end it any more.
        resource.RLIMIT_CPU: math.ceil(time.process_time()) + processor_s,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,  # the child has no file to write
    }
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, hard))


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until the other side closes its end."""
    while len(header := requests.read(REQUEST.size)) == REQUEST.size:
        data_bytes, max_pixels, max_side_px, memory_bytes, processor_s = REQUEST.unpack(header)
        _limit_resources(memory_bytes, processor_s)
        image = None
        answer: dict[str, int | str | None]
        try:
            data = requests.read(data_bytes)
            image, notice = decode(data, max_pixels=max_pixels, max_side_px=max_side_px)
            answer = {"width": image.width, "height": image.height, "notice": notice}
        except Refused as error:
            answer = {"refused": str(error)}
        answers.write(json.dumps(answer).encode() + b"\n")
        if image is not None:
            for box in _strips(image.size):
                answers.write(image.crop(box).tobytes())
        answers.flush()
        del image, data  # not held while waiting for the next


def main() -> None:
    """Run as the child process: `python decoder.py DIRECTORY-OF-PILLOW`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends us
    Image.MAX_IMAGE_PIXELS = None  # check_size decides, with the limits of the request
    serve(sys.stdin.buffer, sys.stdout.buffer)


# Pillow finds these by itself, but only after it imported all of its formats.
PLUGINS = (GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin)

if __name__ == "__main__":
    main()
