"""Captions of a file, row by row, and the same rows again for those that are kept.

Imports errors, strict JSON, the writing of files and numpy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llava_chat.errors import TrainingDataError, UsageError
from llava_chat.training.data.strict import check_json, parsed
from llava_chat.training.writing import json_list

KINDS = (".jsonl", ".json", ".tsv")


@dataclass(frozen=True)
class CaptionFile:
    """JSONL and TSV are read twice and never held; JSON is a list and is.

    field: of a JSON row; a row of LLaVA's instruction JSON has its first answer for a caption.
    column: of TSV, from 1 on; CC3M's own file has the caption in the first one and no heading.
    """

    path: Path
    field: str = "caption"
    column: int = 1

    def __post_init__(self) -> None:
        if self._kind not in KINDS:
            raise UsageError(f"{self.path} must end in one of {', '.join(KINDS)}")

    @property
    def _kind(self) -> str:
        return self.path.suffix.lower()

    def captions(self) -> Iterator[str]:
        """One a row. Raises TrainingDataError naming file, row and field."""
        for number, (row, _) in enumerate(self._rows()):
            where = f"{self.path}, row {number}"
            yield self._cell(row, where) if self._kind == ".tsv" else self._caption(row, where)

    def kept(self, chosen: np.ndarray) -> Iterator[str]:
        """The text of the output: the rows as they were. chosen: a boolean for each row."""
        lines = (text for keep, (_, text) in zip(chosen, self._rows(), strict=True) if keep)
        return json_list(lines) if self._kind == ".json" else (f"{line}\n" for line in lines)

    def _rows(self) -> Iterator[tuple[Any, str]]:
        """Each row, a TSV line as it is, and its text."""
        try:
            if self._kind == ".json":
                yield from self._listed()
                return
            with self.path.open("rb") as lines:
                filled = (line.rstrip(b"\r\n") for line in lines if line.strip())
                for number, line in enumerate(filled):
                    where = f"{self.path}, row {number}"
                    text = _text(line, where)
                    yield (parsed(line, where) if self._kind == ".jsonl" else text), text
        except OSError as error:
            raise TrainingDataError(f"{self.path} cannot be read: {error.strerror}.") from error

    def _listed(self) -> Iterator[tuple[Any, str]]:
        rows = parsed(self.path.read_bytes(), str(self.path))
        if not isinstance(rows, list):
            raise TrainingDataError(f"{self.path}: it must hold a list of rows")
        for row in rows:
            yield row, json.dumps(row, ensure_ascii=False)

    def _cell(self, line: str, where: str) -> str:
        cells = line.split("\t")
        if len(cells) < self.column:
            raise TrainingDataError(
                f"{where}: there is no column {self.column}; --column says where the caption is"
            )
        return cells[self.column - 1]

    def _caption(self, row: Any, where: str) -> str:
        check_json(row, where)
        if not isinstance(row, dict):
            raise TrainingDataError(f"{where}: a row must be an object")
        caption = row.get(self.field, _first_answer(row.get("conversations")))
        if not isinstance(caption, str):
            raise TrainingDataError(
                f"{where}, {self.field}: it must be a text; --field says where the caption is"
            )
        return caption


def _first_answer(messages: Any) -> Any:
    if not isinstance(messages, list) or len(messages) < 2 or not isinstance(messages[1], dict):
        return None
    return messages[1].get("value")


def _text(line: bytes, where: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise TrainingDataError(f"{where}: it is not UTF-8") from error
