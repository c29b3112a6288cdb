"""A row, or that it was removed, as one line of JSON; and many files of lines as one state.

Of what several lines say of one row the newest counts, and of two that are as old the removal.
Imports the check of JSON, and errors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llava_chat.errors import FeedbackError
from llava_chat.feedback.fields import JsonObject, loads
from llava_chat.store import JournaledRow, checked_row, row_key

SCHEMA = 1
"""Of the lines; it grows when an older reader would misread a newer file."""

RowKey = tuple[str, str]  # table and primary key


@dataclass(frozen=True)
class Said:
    """The newest that is known of a row. at: in milliseconds since 1970, by no clock that goes
    backwards. values: as JSON takes them; None: it was removed."""

    at: int
    values: Mapping[str, Any] | None


@dataclass
class State:
    """What all files together say. broken: by the name of a file its lines that cannot be used.
    usable: the files that have others."""

    rows: dict[RowKey, Said] = field(default_factory=dict)
    broken: dict[str, list[bytes]] = field(default_factory=dict)
    usable: set[str] = field(default_factory=set)

    @property
    def skipped(self) -> int:
        """How many lines cannot be used."""
        return sum(map(len, self.broken.values()))

    def take(self, name: str, lines: Iterable[bytes], tell: Callable[[str], None]) -> None:
        """Take the lines of a file in. tell: is told in a sentence of each that cannot be used, and
        of a file that a newer version wrote, of which none can."""
        newer = False
        for number, line in enumerate(lines, start=1):
            where = f"{name}, line {number}"
            try:
                if newer:
                    self.broken[name].append(line)
                    continue
                if not line.endswith(b"\n"):
                    raise FeedbackError(f"{where}: it was cut off.")
                told = JsonObject(loads(line.decode()), where)
                newer = told.optional("schema") not in (None, SCHEMA)
                if newer:
                    raise FeedbackError(f"{where}: a newer llava_chat wrote the file: update this.")
                if told.optional("schema") is None:
                    self._line(told)
                    self.usable.add(name)
            except (FeedbackError, ValueError, RecursionError) as error:
                sentence = str(error)
                tell(sentence if sentence.startswith(where) else f"{where}: {sentence}")
                self.broken.setdefault(name, []).append(line)

    def _line(self, told: JsonObject) -> None:
        key = (told.take("table", str), told.take("key", str))
        said = Said(told.number("at", 2**62), told.take("row", dict, type(None)))
        if said.values is not None:
            values = checked_row(key[0], said.values)
            if row_key(key[0], values) != key[1]:
                raise FeedbackError(f"{told.where}, key: it is not that of the row.")
        known = self.rows.get(key)
        if known is None or (known.at, known.values is None) < (said.at, said.values is None):
            self.rows[key] = said


def heading(version: str) -> str:
    """The first line of a file.

    >>> heading("0.1.0")
    '{"schema": 1, "app_version": "0.1.0"}\\n'
    """
    return json.dumps({"schema": SCHEMA, "app_version": version}) + "\n"


def line(at: int, row: JournaledRow) -> str:
    """A row, or with values None its removal.

    >>> line(5, JournaledRow("consents", "ann", None))
    '{"at": 5, "table": "consents", "key": "ann", "row": null}\\n'
    """
    told = {"at": at, "table": row.table, "key": row.key, "row": row.values}
    return json.dumps(told, ensure_ascii=False) + "\n"
