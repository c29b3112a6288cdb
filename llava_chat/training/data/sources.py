"""Where a picture's bytes are, and where the name that a row gives it leads to.

Imports image, errors and the modules beside it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from tarfile import BLOCKSIZE, ENCODING, HeaderError, TarInfo
from typing import Any, Protocol

from llava_chat.errors import MissingPictureError, PictureError, TrainingDataError
from llava_chat.image import Picture, file_below, read_picture
from llava_chat.image.limits import DEFAULT_LIMITS


@dataclass(frozen=True)
class Member:
    """A file inside a tar: `size` bytes of it, from `start` on."""

    path: Path
    start: int
    size: int

    @property
    def name(self) -> str:
        """What the tar calls it, from the header that stands before it; long ones are cut."""
        try:
            header = read_part(self.path, self.start - BLOCKSIZE, BLOCKSIZE)
            return TarInfo.frombuf(header, ENCODING, "surrogateescape").name
        except (PictureError, HeaderError):
            return self.path.name

    def read(self, max_bytes: int) -> bytes:
        """What it holds, cut after max_bytes. Raises PictureError."""
        return read_part(self.path, self.start, min(self.size, max_bytes))


@dataclass(frozen=True)
class Absent:
    """A picture that is not there; the reason goes on after the row's name."""

    reason: str


Source = Path | Member | bytes | Absent
"""A whole file, one inside a tar, the bytes themselves, or the reason why there is nothing."""


def read_source(source: Source) -> Picture:
    """Decode a picture in the safe reader. Raises PictureError."""
    match source:
        case Absent():
            raise MissingPictureError(source.reason)
        case Member():
            try:
                return read_picture(source.read(DEFAULT_LIMITS.max_bytes + 1))
            except PictureError as error:
                raise PictureError(f"{source.path}, {source.name}: {error}") from error
        case _:
            return read_picture(source)


def source_bytes(source: Source) -> bytes:
    """What a picture's file holds, no more than is ever read and a byte. Raises PictureError."""
    most = DEFAULT_LIMITS.max_bytes + 1
    match source:
        case Absent():
            raise MissingPictureError(source.reason)
        case Member():
            return source.read(most)
        case bytes():
            return source
        case _:
            return read_part(source, 0, most)


def read_part(path: Path, start: int, size: int) -> bytes:
    """`size` bytes of a file from `start` on. Raises PictureError."""
    try:
        # Opened each time: workers that share one opened file would share its place in it.
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size)
    except OSError as error:
        raise PictureError(f"{path} cannot be read: {error.strerror}") from error


class Pictures(Protocol):
    """What the names of rows are looked up in."""

    def find(self, name: str) -> Source:
        """Absent where there is none of that name. Raises PictureError for one that leads out."""


class NoPictures:
    """Where nobody said what the pictures are kept in."""

    def find(self, name: str) -> Source:
        """Raise PictureError."""
        raise PictureError("there is a picture, but --images names no folder")


class FolderPictures:
    """Files below one folder.

    A folder that was once found to lie inside is not looked up again: a picture in it costs one
    question to the file system, which may be on another machine.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._inside: set[str] = set()

    def find(self, name: str) -> Source:
        """The file, Absent where there is none. Raises PictureError for a name that leads out."""
        above = os.path.dirname(name)
        if above in self._inside and not {"\0", "\\"} & {*name} and _is_plain(self._folder / name):
            return self._folder / name
        try:
            path = file_below(self._folder, name)
        except MissingPictureError as error:
            return Absent(str(error))
        self._inside.add(above)
        return path


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def image_path(name: Any, where: str, images: Path) -> Path:
    """The file that a row names, below the folder `images`. Raises TrainingDataError."""
    if not isinstance(name, str) or not name:
        raise TrainingDataError(f"{where}: it must be a path below the folder of pictures")
    try:
        return file_below(images, name)
    except PictureError as error:
        raise TrainingDataError(f"{where}: {error}") from error
