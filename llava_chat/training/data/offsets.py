"""Where the rows of a JSON array, or of JSONL, lie in their file: found without parsing a row.

One pass over the file in pieces, with numpy; what stays is 16 bytes a row. A row is parsed when it
is asked for, which is when its own mistakes are told. Imports numpy and errors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llava_chat.errors import TrainingDataError

PIECE_BYTES = 2**22
_QUOTE, _BACKSLASH, _COMMA, _NEWLINE = b'"\\,\n'
_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"


def _table(steps: dict[bytes, int]) -> np.ndarray:
    table = np.zeros(256, np.int8)
    for letters, step in steps.items():
        table[list(letters)] = step
    return table


_IS_STRUCTURE = _table({b"[]{},": 1})
_DEPTH_STEP = _table({b"[{": 1, b"]}": -1})
_IS_INK = 1 - _table({_BLANK: 1})


@dataclass(frozen=True)
class Offsets:
    """Row n is the bytes starts[n] to ends[n] of the file, int64. sha256: of the whole file."""

    starts: np.ndarray
    ends: np.ndarray
    sha256: str


def array_offsets(path: Path, piece_bytes: int = PIECE_BYTES) -> Offsets:
    """Of the elements of the one array that a JSON file holds.

    Raises TrainingDataError when the file is no list, does not end, or is empty; OSError.
    """
    digest = hashlib.sha256()
    walk = _ArrayWalk(path)
    found = [walk.separators(each, offset) for each, offset in _pieces(path, digest, piece_bytes)]
    separators = np.concatenate([np.zeros(0, np.int64), *found])
    walk.finish(len(separators))
    starts, ends = separators[:-1] + 1, separators[1:]
    if len(starts) == 1 and not _holds_ink(path, int(starts[0]), int(ends[0])):
        raise _no_list(path)
    return Offsets(starts, ends, digest.hexdigest())


def line_offsets(path: Path, piece_bytes: int = PIECE_BYTES) -> Offsets:
    """Of the lines that are not blank. Raises TrainingDataError when there is none; OSError."""
    digest = hashlib.sha256()
    begun, inked, size = 0, False, 0
    starts, ends = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for piece, offset in _pieces(path, digest, piece_bytes):
        breaks = np.flatnonzero(piece == _NEWLINE)
        ink = np.concatenate([[0], np.cumsum(_IS_INK[piece], dtype=np.int64)])
        inks = np.diff(ink[breaks], prepend=0)
        if len(breaks):
            inks[0] += inked
            first = np.concatenate([[begun], breaks[:-1] + 1 + offset])
            starts.append(first[inks > 0])
            ends.append((breaks + offset)[inks > 0])
            begun, inked = int(breaks[-1]) + 1 + offset, False
        inked = inked or bool(ink[-1] > (ink[breaks[-1]] if len(breaks) else 0))
        size = offset + len(piece)
    if inked:
        starts.append(np.array([begun]))
        ends.append(np.array([size]))
    found = Offsets(np.concatenate(starts), np.concatenate(ends), digest.hexdigest())
    if not len(found.starts):
        raise TrainingDataError(f"{path}: the file must hold at least one row")
    return found


def _pieces(
    path: Path, digest: hashlib._Hash, piece_bytes: int
) -> Iterator[tuple[np.ndarray, int]]:
    """The file in pieces, each with where it begins."""
    with path.open("rb") as file:
        offset = 0
        while data := file.read(piece_bytes):
            digest.update(data)
            yield np.frombuffer(data, np.uint8), offset
            offset += len(data)


class _ArrayWalk:
    """Finds an array's brackets and commas, piece after piece, skipping strings and inner ones."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._in_string = False
        self._escaped = False  # the next piece begins with an escaped character
        self._depth = 0
        self._begun = self._ended = False

    def separators(self, piece: np.ndarray, offset: int) -> np.ndarray:
        """Where the array's own `[`, commas and `]` are in the file."""
        quotes = self._quotes(piece)
        places = np.flatnonzero(_IS_STRUCTURE[piece])
        inside = (np.searchsorted(quotes, places) + self._in_string) % 2 == 1
        places = places[~inside]
        self._in_string = bool((len(quotes) + self._in_string) % 2)
        if not self._begun:
            self._begin(piece, offset)
        if self._ended:
            self._only_blanks(piece)
            return np.zeros(0, np.int64)
        steps = _DEPTH_STEP[piece[places]]
        depth = self._depth + np.cumsum(steps, dtype=np.int64)
        self._depth = int(depth[-1]) if len(depth) else self._depth
        closing = np.flatnonzero(depth == 0)
        if len(closing):
            last = int(closing[0])
            self._ended, self._depth = True, 0
            self._only_blanks(piece[places[last] + 1 :])
            if piece[places[last]] != ord("]"):
                raise TrainingDataError(f"{self._path}: the list ends with }} in place of ]")
            places, steps, depth = places[: last + 1], steps[: last + 1], depth[: last + 1]
        # Only the first bracket leads from no depth to a depth of 1.
        own = ((depth == 1) & (steps >= 0)) | (depth == 0)
        found: np.ndarray = places[own] + offset
        return found

    def _begin(self, piece: np.ndarray, offset: int) -> None:
        text = piece.tobytes()
        text = text.removeprefix(_BOM) if offset == 0 else text
        left = text.lstrip(_BLANK)
        if left:
            self._begun = True
            if not left.startswith(b"["):
                raise _no_list(self._path)

    def _only_blanks(self, rest: np.ndarray) -> None:
        if _IS_INK[rest].any():
            raise TrainingDataError(f"{self._path}: there is more behind the end of the list")

    def _quotes(self, piece: np.ndarray) -> np.ndarray:
        """The quotes that begin or end a string: those without an odd run of backslashes before."""
        escaped = np.zeros(len(piece) + 1, bool)
        escaped[0] = self._escaped
        slashes = np.flatnonzero(piece == _BACKSLASH)
        if len(slashes):
            cuts = np.flatnonzero(np.diff(slashes) != 1)
            firsts = slashes[np.concatenate([[0], cuts + 1])]
            behind = slashes[np.concatenate([cuts, [len(slashes) - 1]])] + 1
            if self._escaped and firsts[0] == 0:
                firsts[0] = 1  # the first backslash is itself what is escaped
            escaped[behind[(behind - firsts) % 2 == 1]] = True
        self._escaped = bool(escaped[-1])
        quotes = np.flatnonzero(piece == _QUOTE)
        found: np.ndarray = quotes[~escaped[quotes]]
        return found

    def finish(self, count: int) -> None:
        """Raise TrainingDataError unless the array has ended."""
        if not self._begun:
            raise _no_list(self._path)
        if not self._ended:
            raise TrainingDataError(
                f"{self._path}: the list does not end, after {count - 1} whole rows; is the file "
                "cut off?"
            )


def _no_list(path: Path) -> TrainingDataError:
    return TrainingDataError(f"{path}: the file must hold a list of at least one row")


def _holds_ink(path: Path, start: int, end: int) -> bool:
    with path.open("rb") as file:
        file.seek(start)
        return bool(file.read(min(end - start, PIECE_BYTES)).strip(_BLANK))
