"""Pictures as PNG files named by their hash, below one folder: written whole or not at all.

A file holds the checked pixels and nothing else: no EXIF, no profile, no name that a person gave.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from llava_chat.errors import NotFoundError
from llava_chat.image import Picture, png_bytes

_SHA256_HEX = re.compile(r"[0-9a-f]{64}")


class PictureFiles:
    """The pictures below `folder`, each at `ab/abcd….png`. OSError passes through."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found_again: set[str] = set()  # folders that a power cut would leave here

    def path(self, picture_id: str) -> Path:
        """Where a picture is or would be. Raises NotFoundError when the id is no SHA-256."""
        if not _SHA256_HEX.fullmatch(picture_id):
            raise NotFoundError("There is no such picture.")
        return self._folder / picture_id[:2] / f"{picture_id}.png"

    def keep(self, picture: Picture) -> int:
        """Write the picture unless it is there; returns the size of its file in bytes."""
        path = self.path(picture.id)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, png_bytes(picture))
            _sync_folder(path.parent)
            if path.parent.name not in self._found_again:
                _sync_folder(self._folder)
                self._found_again.add(path.parent.name)
        return path.stat().st_size

    def older_than(self, age: timedelta) -> Iterator[Path]:
        """Files that nobody has written for so long, also what a killed program left of one."""
        before = time.time() - age.total_seconds()
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    yield path

    def remove(self, picture_id: str) -> None:
        """Delete the picture's file, if there is one."""
        self.path(picture_id).unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write a file of which nobody ever sees a part, on the disk when this returns."""
    descriptor, aside = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines((content,) if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """A renamed file survives a power cut only once its folder is on the disk too."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
