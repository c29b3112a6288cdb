"""A file of rows, each read by its number when it is asked for. Imports the modules beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from llava_chat.errors import PictureError, TrainingDataError
from llava_chat.training.data.offsets import Offsets, array_offsets, line_offsets
from llava_chat.training.data.parquet import ParquetFile
from llava_chat.training.data.sources import read_part
from llava_chat.training.data.strict import check_size, parsed
from llava_chat.training.data.tars import TarFile


class RowFile(Protocol):
    """One file. fingerprint: of its content."""

    path: Path
    fingerprint: str

    def __len__(self) -> int:
        """How many rows it holds."""

    def row(self, number: int, where: str) -> Any:
        """A row's content, not yet checked. Raises RowProblem, TrainingDataError."""


class TextFile:
    """JSON or JSONL, by the offsets of its rows."""

    def __init__(self, path: Path, offsets: Offsets) -> None:
        self.path = path
        self.fingerprint = offsets.sha256[:16]
        self._starts, self._ends = offsets.starts, offsets.ends

    def __len__(self) -> int:
        return len(self._starts)

    def row(self, number: int, where: str) -> Any:
        """Read and parse one row."""
        start, size = int(self._starts[number]), int(self._ends[number] - self._starts[number])
        check_size(size, where)
        try:
            text = read_part(self.path, start, size)
        except PictureError as error:
            raise TrainingDataError(f"{where}: {error}") from error
        return parsed(text, where)


_OPENERS: dict[str, Callable[[Path], RowFile]] = {
    ".json": lambda path: TextFile(path, array_offsets(path)),
    ".jsonl": lambda path: TextFile(path, line_offsets(path)),
    ".parquet": ParquetFile,
    ".tar": TarFile,
}
_COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip")


def row_files(data: Path) -> list[Path]:
    """The files that hold rows: `data` itself, or those in the folder, by name.

    Raises TrainingDataError for a folder without any.
    """
    if not data.is_dir():
        return [data]
    found = sorted(
        path for path in data.iterdir() if path.suffix.lower() in _OPENERS and path.is_file()
    )
    if not found:
        raise TrainingDataError(f"{data}: the folder holds no file that ends in {_endings()}")
    return found


def open_file(path: Path) -> RowFile:
    """Open one file of rows, by the ending of its name; one of another ending is read as JSON.

    Raises TrainingDataError for one that cannot be read or is not whole.
    """
    if path.suffix.lower() in _COMPRESSED:
        raise TrainingDataError(f"{path}: a compressed file has no rows by number; unpack it first")
    opener = _OPENERS.get(path.suffix.lower(), _OPENERS[".json"])
    try:
        return opener(path)
    except OSError as error:
        raise TrainingDataError(f"{path} cannot be read: {error.strerror}.") from error


def _endings() -> str:
    *others, last = _OPENERS
    return f"{', '.join(others)} or {last}"
