"""Instruction data by row number, whatever the rows are kept in.

Nothing is read into memory whole, so that a run takes rows in any order and goes on at any step.
Imports conversation, image, errors and the modules beside it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

from llava_chat.conversation import Conversation
from llava_chat.errors import TrainingDataError
from llava_chat.training.data.files import RowFile, open_file, row_files
from llava_chat.training.data.row import Instruction, instruction_of
from llava_chat.training.data.sources import FolderPictures, NoPictures, Pictures
from llava_chat.training.data.strict import RowProblem, Tell, refuse
from llava_chat.training.data.tars import TarPictures


class Rows(Protocol):
    """Rows by number, from 0. name: what the data are called. fingerprint: of their content."""

    @property
    def name(self) -> str:
        """Such as the file's path."""

    @property
    def fingerprint(self) -> str:
        """The same for the same content, and else another."""

    def __len__(self) -> int:
        """How many rows there are."""

    def where(self, number: int) -> str:
        """What a row is called in an error: its file and its number there."""

    def instruction(self, number: int) -> Instruction:
        """A row, checked. Raises TrainingDataError naming file, row and field."""

    def conversation(self, number: int) -> Conversation:
        """A row with its pictures.

        Raises BrokenSampleError for a picture that is missing or broken, TrainingDataError for what
        is wrong in the row.
        """


class FileRows:
    """The rows of several files, one file after the other."""

    def __init__(self, name: str, files: Sequence[RowFile], pictures: Pictures) -> None:
        self.name = name
        self._files = files
        self._pictures = pictures
        self._firsts = [0, *accumulate(map(len, files))]

    @property
    def fingerprint(self) -> str:
        """Of one file its own, of several one of them all."""
        found = [file.fingerprint for file in self._files]
        whole = hashlib.sha256(" ".join(found).encode()).hexdigest()[:16]
        return found[0] if len(found) == 1 else whole

    def __len__(self) -> int:
        return self._firsts[-1]

    def where(self, number: int) -> str:
        """File and row."""
        file, place = self._place(number)
        return f"{file.path}, row {place}"

    def instruction(self, number: int) -> Instruction:
        """A row, checked."""
        found = self.examined(number, refuse)
        assert found is not None  # `refuse` raises what is wrong
        return found

    def conversation(self, number: int) -> Conversation:
        """A row with its pictures."""
        return self.instruction(number).conversation()

    def examined(self, number: int, tell: Tell) -> Instruction | None:
        """A row, with each of its problems told; None when there was one."""
        file, place = self._place(number)
        where = self.where(number)
        try:
            row: Any = file.row(place, where)
        except RowProblem as problem:
            tell(problem)
            return None
        return instruction_of(row, where, self._pictures, tell)

    def _place(self, number: int) -> tuple[RowFile, int]:
        if not 0 <= number < len(self):
            raise IndexError(number)
        part = bisect_right(self._firsts, number) - 1
        return self._files[part], number - self._firsts[part]


def open_rows(data: Path, images: Path | None = None) -> FileRows:
    """The rows of a `.json`, `.jsonl`, `.parquet` or `.tar` file, or of a folder of such files.

    images: what holds the pictures that rows name: a folder, a tar or a folder of tars. Raises
    TrainingDataError for a file that cannot be read or is not whole, UsageError where pyarrow is
    missing; what is wrong in a row is told when that row is asked for.
    """
    return FileRows(str(data), [open_file(path) for path in row_files(data)], open_pictures(images))


def open_pictures(images: Path | None) -> Pictures:
    """What the names of rows are looked up in. Raises TrainingDataError when it is not there."""
    if images is None:
        return NoPictures()
    try:
        if images.is_dir():
            tars = sorted(images.glob("*.tar"))
            folder = FolderPictures(images)
            return TarPictures(tars, folder) if tars else folder
        if images.is_file():
            return TarPictures([images])
    except OSError as error:
        raise TrainingDataError(f"{images} cannot be read: {error.strerror}.") from error
    raise TrainingDataError(f"--images: there is no folder and no tar {images}")


def read_instructions(
    file: Path, images: Path | None, *, pictures_only: bool = False
) -> list[Instruction]:
    """Every row at once, where they are few. images: the folder that `image` fields are below.

    pictures_only: refuse rows of text alone, of which a projector learns nothing. Raises
    TrainingDataError naming file, row and field at the first thing that is wrong, a missing picture
    too.
    """
    rows = open_rows(file, images)
    found = [rows.instruction(number).present() for number in range(len(rows))]
    for row in found if pictures_only else ():
        check_picture(row)
    return found


def check_picture(row: Instruction) -> None:
    """Raise RowProblem for a row of text alone, of which a projector learns nothing."""
    if not row.sources:
        raise RowProblem(
            "no picture",
            f"{row.where}, image: there is none, and this stage learns from pictures alone; "
            "leave the row out",
        )
