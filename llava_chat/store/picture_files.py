"""Pictures as PNG files named by their hash, below one folder: written whole or not at all.

A file holds the checked pixels and nothing else: no EXIF, no profile, no name that a person gave.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from llava_chat.errors import NotFoundError
from llava_chat.image import Picture, png_bytes

_SHA256_HEX = re.compile(r"[0-9a-f]{64}")


class PictureFiles:
    """The pictures below `folder`, each at `ab/abcd….png`. OSError passes through."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

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
            _write_whole(path, png_bytes(picture))
            for folder in (path.parent, self._folder):
                _sync_folder(folder)
        return path.stat().st_size

    def remove(self, picture_id: str) -> None:
        """Delete the picture's file, if there is one."""
        self.path(picture_id).unlink(missing_ok=True)


def _write_whole(path: Path, content: bytes) -> None:
    descriptor, aside = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
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
