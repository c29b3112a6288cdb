"""A folder of one process's own, and the removal of those that killed processes left behind."""

from __future__ import annotations

import shutil
import sys
import time
import uuid
from pathlib import Path
from typing import IO

YOUNG_S = 60.0  # a folder this new may be of a process that has not locked it yet


class OwnFolder:
    """A new folder below `parent`, locked while this process lives."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._path = parent / uuid.uuid4().hex
        self._lock: IO[bytes] | None = None

    def open(self) -> Path:
        """The folder, made the first time. Raises OSError."""
        if self._lock is None:
            self._parent.mkdir(parents=True, exist_ok=True)
            for other in self._parent.iterdir():
                if time.time() - other.stat().st_mtime > YOUNG_S and not _in_use(other):
                    shutil.rmtree(other, ignore_errors=True)
            self._path.mkdir()
            self._lock = _lock_file(self._path).open("wb")
            _locked(self._lock)
        return self._path

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
            shutil.rmtree(self._path, ignore_errors=True)


def _lock_file(folder: Path) -> Path:
    return folder / ".lock"


def _in_use(folder: Path) -> bool:
    try:
        with _lock_file(folder).open("rb") as file:
            return not _locked(file)
    except OSError:
        return False


if sys.platform == "win32":

    def _locked(file: IO[bytes]) -> bool:
        return False  # who lives cannot be told there, so that nothing is removed

else:
    import fcntl

    def _locked(file: IO[bytes]) -> bool:
        """Lock a file until it is closed; whether nobody else has."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
