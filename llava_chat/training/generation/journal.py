"""Every reply of a server, on the disk as it comes, so that a run may be killed at any time.

A line of JSON each, flushed to the disk before the next thing is asked; the first line says what
is asked, since replies to something else must not be mixed in. A journal without replies, as a run
with a wrong address leaves it, may be gone on with by any other.

Imports errors and the writing of files beside this package.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from llava_chat.errors import TrainingDataError, UsageError
from llava_chat.training.writing import unwritable

NAME = "journal.jsonl"
_FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """One reply. picture: its id. estimated: the token counts are not the server's."""

    kind: str
    picture: str
    text: str
    finish: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False


class Journal:
    """The journal in a folder, read and ready for more; for one thread, and one run at a time.

    asked: what the replies depend on, by a name that a person understands. entries: what was there.
    Raises UsageError where something else was asked, TrainingDataError for a file that cannot be
    read or written, or that another run is writing.
    """

    def __init__(self, folder: Path, asked: Mapping[str, object]) -> None:
        self.path = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
        except OSError as error:
            raise unwritable(self.path, error) from error
        try:
            self.entries = self._begin(asked)
        except BaseException:
            self._file.close()
            raise

    def append(self, entry: Entry) -> None:
        """On the disk when it returns. Raises TrainingDataError."""
        try:
            self._write(asdict(entry))
        except OSError as error:
            raise unwritable(self.path, error) from error

    def close(self) -> None:
        """Let another run have it."""
        with suppress(OSError):  # half a line on a full disk, of which `append` has told
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, asked: Mapping[str, object]) -> list[Entry]:
        try:
            _lock(self._file, self.path)
            lines = self._whole_lines()
            before = _asked_before(lines[0], self.path) if lines else asked
            if len(lines) < 2:
                self._file.truncate(0)
                self._write({"journal": _FORMAT, "asked": dict(asked)})
                return []
        except OSError as error:
            raise unwritable(self.path, error) from error
        _check_asked(before, asked, self.path)
        return [_entry(line, f"{self.path}, line {n}") for n, line in enumerate(lines[1:], 2)]

    def _whole_lines(self) -> list[bytes]:
        self._file.seek(0)
        lines = self._file.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            # A kill in the middle of a line: nobody was told that it is kept.
            half = lines.pop()
            self._file.truncate(self._file.tell() - len(half))
        return lines

    def _write(self, row: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _lock(file: BinaryIO, path: Path) -> None:
    if os.name != "posix":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise TrainingDataError(
            f"Another run is writing {path}; wait for it, or name another --output."
        ) from None


def _asked_before(line: bytes, path: Path) -> dict[str, Any]:
    first = _object(line)
    asked = first.get("asked")
    if first.get("journal") != _FORMAT or not isinstance(asked, dict):
        raise TrainingDataError(f"{path} is no journal of generate-data; name another --output.")
    return asked


def _check_asked(before: Mapping[str, Any], asked: Mapping[str, object], path: Path) -> None:
    other = [name for name, value in asked.items() if before.get(name) != value]
    if other:
        raise UsageError(
            f"{path} was begun with another {' and '.join(other)}. Give the same again to go on, "
            "or name another --output."
        )


def _entry(line: bytes, where: str) -> Entry:
    try:
        row = Entry(**_object(line))
    except TypeError:
        row = None
    counts = (row.prompt_tokens, row.completion_tokens) if row else ()
    texts = (row.kind, row.picture, row.text, row.finish) if row else ()
    whole = all(isinstance(n, int) for n in counts) and all(isinstance(t, str) for t in texts)
    if row is None or not whole:
        raise TrainingDataError(
            f"{where}: it is no reply of a server; the file was changed by something else"
        )
    return row


def _object(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {"": None}
    return row if isinstance(row, dict) else {"": None}
