"""Files from anybody to checked pictures: what is refused before decoding, and the sentences.

Imports the other modules of this package but views.py; everything that takes pictures from users
imports it.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from llava_chat.errors import PictureError
from llava_chat.image.decoder.headers import Refused
from llava_chat.image.limits import DEFAULT_LIMITS, PictureLimits
from llava_chat.image.picture import Picture
from llava_chat.image.workers import decode_in_child

MAX_SPOKEN_NAME = 60


def read_picture(source: bytes | Path, limits: PictureLimits = DEFAULT_LIMITS) -> Picture:
    """Read a JPEG, PNG, WebP or GIF file of unknown origin, from its bytes or its path.

    The picture is upright, RGB, without metadata, transparency on white, and the first frame of an
    animation (`notice` then says so). Colour profiles are dropped, not applied: the pictures that
    CLIP was trained on were read like that. Safe to call from any thread. Raises PictureError.
    """
    try:
        data = _file_bytes(source, limits.max_bytes) if isinstance(source, Path) else source
        if not data:
            raise Refused("is empty (0 bytes): choose another file.")
        if len(data) > limits.max_bytes:
            raise Refused(f"is over the limit of {limits.max_bytes:,} bytes: make it smaller.")
        return decode_in_child(data, limits)
    except Refused as error:
        raise PictureError(f"{_subject(source)} {error}") from error


def warm_up() -> None:
    """Read a picture of one pixel, so that the first real one finds the decoder running.

    Raises PictureError when this machine cannot decode pictures at all.
    """
    pixel = io.BytesIO()
    Image.new("RGB", (1, 1)).save(pixel, "PNG")
    read_picture(pixel.getvalue())


def _subject(source: bytes | Path) -> str:
    return (
        "This picture" if isinstance(source, bytes) else f'The picture "{_speakable(source.name)}"'
    )


def _speakable(file_name: str) -> str:
    r"""Shorten a file name, which anybody may have chosen, to what fits a sentence.

    >>> _speakable("cat\x00\n.jpg"), len(_speakable("a" * 400))
    ('cat.jpg', 60)
    """
    printable = "".join(letter for letter in file_name if letter.isprintable())
    if len(printable) <= MAX_SPOKEN_NAME:
        return printable
    return printable[: MAX_SPOKEN_NAME - 1] + "…"


def _file_bytes(path: Path, max_bytes: int) -> bytes:
    try:
        if not path.is_file():  # reading a pipe or a device might never end
            raise Refused("cannot be read: there is no such file.")
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        raise Refused("cannot be read: check the file's name and permissions.") from error
