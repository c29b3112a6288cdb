"""`train check`: everything in instruction data, before a run: what is wrong, how long, how many.

Every row is looked at, in several processes; what is kept of one is a few numbers. Imports image,
errors, progress, numpy and the modules of training beside it.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from llava_chat.errors import MissingPictureError, PictureError, TrainingDataError
from llava_chat.image import Picture, outline_of
from llava_chat.progress import Report
from llava_chat.training.data import Instruction, RowProblem
from llava_chat.training.data.files import RowFile, open_file, row_files
from llava_chat.training.data.rows import FileRows, check_picture, open_pictures
from llava_chat.training.data.sources import Absent, Source, read_source, source_bytes
from llava_chat.training.measure import Measure, stand_in
from llava_chat.training.survey import each_row

PictureCheck = Literal["decode", "header", "none"]
SHOWN = 3
"""Problems of a kind that are told in full; the others are counted."""
_OUTCOMES_KEPT = 1024  # of pictures, each often spoken of in several rows that stand together


@dataclass(frozen=True)
class CheckOptions:
    """max_tokens: rows are cut after so many. pictures: decoded, looked at by their header, or only
    looked for. pictures_only: a row of text alone is wrong. workers: processes that look.
    """

    max_tokens: int
    pictures: PictureCheck = "decode"
    pictures_only: bool = False
    workers: int = 1


@dataclass(frozen=True)
class _Look:
    """What one row told. tokens: uncut, 0 where they cannot be told. id_hash: 0 without an id."""

    problems: tuple[tuple[str, str], ...]
    turns: int = 0
    pictures: int = 0
    tokens: int = 0
    id_hash: int = 0


@dataclass
class Findings:
    """What a check found.

    kinds: problems counted, first: the sentences of the first few of each. lengths: of the rows
    that can be learned from, in tokens. repeated: for each row whose id an earlier one has, that
    row and it; repeated_count: how many there are.
    """

    data: str
    max_tokens: int
    pictures_by: PictureCheck
    files: int = 0
    rows: int = 0
    turns: int = 0
    pictures: int = 0
    with_picture: int = 0
    with_several: int = 0
    text_alone: int = 0
    wrong_rows: int = 0
    repeated_count: int = 0
    repeated: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[str]] = field(default_factory=dict)
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def problems(self) -> int:
        """How many there are in all."""
        return self.kinds.total()

    @property
    def cut(self) -> int:
        """How many rows are cut at the limit, and learned from in part."""
        return int((self.lengths > self.max_tokens).sum())

    def tell(self, kind: str, sentence: str) -> None:
        """Count a problem."""
        self.kinds[kind] += 1
        shown = self.first.setdefault(kind, [])
        if len(shown) < SHOWN:
            shown.append(sentence)


def check(
    data: Path,
    images: Path | None,
    measure: Measure,
    options: CheckOptions,
    report: Report | None = None,
) -> Findings:
    """Look at all of `data`, going on behind whatever is wrong.

    Raises TrainingDataError when there is no such file, folder or `images`, UsageError where
    pyarrow is missing.
    """
    findings = Findings(str(data), options.max_tokens, options.pictures)
    rows = FileRows(str(data), _whole_files(data, findings), open_pictures(images))
    look = _looker(rows, measure, options)
    lengths, hashes = array("q"), array("Q")
    for seen in each_row(len(rows), look, options.workers, report):
        _count(findings, seen)
        hashes.append(seen.id_hash)
        if seen.tokens:
            lengths.append(seen.tokens)
    findings.lengths = np.array(lengths, np.int64)
    _find_repeated(findings, np.array(hashes, np.uint64), rows)
    return findings


def _whole_files(data: Path, findings: Findings) -> list[RowFile]:
    """The files that can be read at all; of the others it is told why they cannot."""
    found: list[RowFile] = []
    for path in row_files(data):
        try:
            found.append(open_file(path))
        except TrainingDataError as error:
            if not path.exists():
                raise
            findings.tell("file", str(error))
    findings.files = len(found)
    return found


def _looker(rows: FileRows, measure: Measure, options: CheckOptions) -> Callable[[int], _Look]:
    outcome = _Outcome(options.pictures)
    kept_outcome = lru_cache(maxsize=_OUTCOMES_KEPT)(outcome)

    def look(number: int) -> _Look:
        told: list[tuple[str, str]] = []

        def tell(problem: RowProblem) -> None:
            told.append((problem.kind, str(problem)))

        try:
            row = rows.examined(number, tell)
        except TrainingDataError as error:
            return _Look((("unreadable", str(error)),))
        if row is None:
            return _Look(tuple(told))
        if options.pictures_only:
            try:
                check_picture(row)
            except RowProblem as problem:
                tell(problem)
        sizes: list[Picture] = []
        for source in row.sources:
            # Those in rows come once, and would be kept whole.
            seen = (outcome if isinstance(source, bytes) else kept_outcome)(source)
            if isinstance(seen, Picture):
                sizes.append(seen)
            else:
                kind, reason = seen
                told.append((kind, f"{row.where}, image: {reason}"))
        tokens = 0
        if len(sizes) == len(row.sources):
            tokens = _tokens(row, sizes, measure, options.max_tokens, tell)
        return _Look(tuple(told), len(row.turns), len(row.sources), tokens, _hash(row.id))

    return look


def _tokens(
    row: Instruction,
    sizes: list[Picture],
    measure: Measure,
    max_tokens: int,
    tell: Callable[[RowProblem], None],
) -> int:
    pictures = iter(sizes)
    try:
        conversation = row.conversation(lambda _: next(pictures))
        return measure.tokens(conversation, row.where, max_tokens)
    except RowProblem as problem:
        tell(problem)
        return 0


class _Outcome:
    """What a picture is: its size as a stand-in, or the kind of its problem and the reason."""

    def __init__(self, by: PictureCheck) -> None:
        self._by = by

    def __call__(self, source: Source) -> Picture | tuple[str, str]:
        try:
            if isinstance(source, Absent):
                raise MissingPictureError(source.reason)
            if self._by == "none":
                return stand_in(336, 336)
            if self._by == "header":
                return stand_in(*outline_of(source_bytes(source)))
            picture = read_source(source)
            return stand_in(picture.width, picture.height)
        except MissingPictureError as error:
            return "picture missing", str(error)
        except PictureError as error:
            return "picture broken", str(error)


def _hash(row_id: str) -> int:
    if not row_id:
        return 0
    return int.from_bytes(hashlib.blake2b(row_id.encode(), digest_size=8).digest(), "little") or 1


def _count(findings: Findings, seen: _Look) -> None:
    findings.rows += 1
    findings.turns += seen.turns
    findings.pictures += seen.pictures
    findings.with_picture += seen.pictures > 0
    findings.with_several += seen.pictures > 1
    findings.text_alone += seen.turns > 0 and not seen.pictures
    findings.wrong_rows += bool(seen.problems)
    for kind, sentence in seen.problems:
        findings.tell(kind, sentence)


def _find_repeated(findings: Findings, hashes: np.ndarray, rows: FileRows) -> None:
    """Ids that more than one row has, which harm nothing: LLaVA's own data have them."""
    order = np.argsort(hashes, kind="stable")
    kept = hashes[order]
    again = np.flatnonzero((kept[1:] == kept[:-1]) & (kept[1:] != 0))
    findings.repeated_count = len(again)
    for place in sorted(again, key=lambda place: int(order[place + 1]))[:SHOWN]:
        later, earlier = int(order[place + 1]), int(order[place])
        same = rows.instruction(later).id
        findings.repeated.append(
            f"{rows.where(later)} has the id {same!r} of {rows.where(earlier)}"
        )
