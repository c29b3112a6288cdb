"""The rows of a benchmark's files, whose fields are checked as they are taken out.

Imports errors and the reader of files beside it only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_chat.errors import BenchmarkError
from llava_chat.evaluation.answers import checked_id, read_document


@dataclass(frozen=True)
class Row:
    """One object of a file. where: for a sentence about it, like "questions.jsonl, row 3"."""

    where: str
    fields: Mapping[str, Any]

    @property
    def id(self) -> str:
        """`question_id`, as text. Raises BenchmarkError where there is none."""
        return checked_id(self.fields.get("question_id"), self.where)

    def text(self, name: str) -> str:
        """A field that is text. Raises BenchmarkError where it is not."""
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise self.wrong(name, "it must be a text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A field that is a list of texts, or a single one. Raises BenchmarkError otherwise."""
        value = self.fields.get(name)
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise self.wrong(name, "it must be a list of texts")
        return tuple(texts)

    def number(self, name: str) -> int:
        """A field that is a whole number. Raises BenchmarkError where it is not."""
        value = self.fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(name, "it must be a whole number")
        return value

    def rows(self, name: str) -> tuple[Row, ...]:
        """A field that is a list of objects. Raises BenchmarkError where it is not."""
        return _rows(self.fields.get(name), f"{self.where}, {name}")

    def wrong(self, name: str, problem: str) -> BenchmarkError:
        """What to raise about one field."""
        return BenchmarkError(f"{self.where}, {name}: {problem}")


def read_rows(file: Path) -> tuple[Row, ...]:
    """The objects of a file: one a line, or a list of them. Raises BenchmarkError."""
    document = read_document(file)
    return _rows([document] if isinstance(document, dict) else document, str(file))


def read_object(file: Path, *names: str) -> Row | None:
    """A file that is one object with the fields `names`; None for any other."""
    document = read_document(file)
    if isinstance(document, dict) and all(name in document for name in names):
        return Row(str(file), document)
    return None


def check_ids(rows: Iterable[Row]) -> None:
    """Raise BenchmarkError where two rows have the same question_id."""
    found: dict[str, str] = {}
    for row in rows:
        if row.id in found:
            raise row.wrong("question_id", f"{row.id!r} is also that of {found[row.id]}")
        found[row.id] = row.where


def _rows(value: Any, where: str) -> tuple[Row, ...]:
    if not isinstance(value, list):
        raise BenchmarkError(f"{where}: it must be a list of objects")
    return tuple(_row(entry, f"{where}, row {number}") for number, entry in enumerate(value, 1))


def _row(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise BenchmarkError(f"{where}: it must be an object")
    return Row(where, value)
