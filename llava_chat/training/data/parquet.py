"""Rows of a Parquet file, as Hugging Face's `datasets` write them, their pictures inside.

It wants `pyarrow`, which is imported only here and only then. Imports errors and `strict`.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from llava_chat.errors import TrainingDataError, UsageError
from llava_chat.training.data.strict import RowProblem

COLUMNS = ("id", "image", "conversations")


class ParquetFile:
    """Rows by number. The group of rows that was read last is kept, and no other."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow.parquet  # noqa: F401
        except ModuleNotFoundError as error:
            raise UsageError(
                f"{path}: Parquet needs the package pyarrow; run `pip install pyarrow`"
            ) from error
        self.path = path
        self._opened: tuple[int, Any] | None = None
        self._group: tuple[int, int, Any] | None = None
        metadata = self._file().metadata
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        self._firsts: list[int] = [0, *accumulate(group.num_rows for group in groups)]
        if not len(self):
            raise TrainingDataError(f"{path}: the file must hold at least one row")
        self.fingerprint = _fingerprint(path, groups)

    def __len__(self) -> int:
        return self._firsts[-1]

    def row(self, number: int, where: str) -> Any:
        """A row's columns as a dictionary."""
        import pyarrow

        group = bisect_right(self._firsts, number) - 1
        try:
            table = self._table(group)
            return table.slice(number - self._firsts[group], 1).to_pylist()[0]
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise RowProblem("unreadable", f"{where}: {_line(error)}") from error

    def _table(self, group: int) -> Any:
        here = os.getpid()
        if self._group is None or self._group[:2] != (here, group):
            self._group = None  # before the next one comes, not beside it
            file = self._file()
            columns = [name for name in COLUMNS if name in file.schema_arrow.names]
            # Without threads: those of a process that was forked are not there any more.
            table = file.read_row_group(group, columns=columns, use_threads=False)
            self._group = (here, group, table)
        return self._group[2]

    def _file(self) -> Any:
        """The opened file, of this process: workers would share one's place in it."""
        import pyarrow
        import pyarrow.parquet

        if self._opened is None or self._opened[0] != os.getpid():
            try:
                opened = pyarrow.parquet.ParquetFile(self.path)
            except (pyarrow.ArrowException, ValueError) as error:
                sentence = f"{self.path}: it is no whole Parquet file ({_line(error)})"
                raise TrainingDataError(sentence) from error
            self._opened = (os.getpid(), opened)
        return self._opened[1]


def _fingerprint(path: Path, groups: Sequence[Any]) -> str:
    """Of the footer, which tells how large everything is, and of every column but the pictures.

    Those may be some hundred gigabytes.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = file.seek(-8, os.SEEK_END) + 8
        footer_bytes = int.from_bytes(file.read(4), "little")
        file.seek(size - 8 - footer_bytes)
        digest.update(file.read(footer_bytes))
        columns = (group.column(number) for group in groups for number in range(group.num_columns))
        for column in columns:
            if column.path_in_schema.partition(".")[0] != "image":
                file.seek(column.dictionary_page_offset or column.data_page_offset)
                digest.update(file.read(column.total_compressed_size))
    return digest.hexdigest()[:16]


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
