"""What this process has to tell the dataset, in files of its own: rows, and what was removed.

They are compared with the database before each push. What is new or changed is added at the end;
once something was removed all is written anew without it, so that no push carries what somebody
deleted. Imports lines and the store.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from llava_chat import __version__
from llava_chat.feedback.dataset.lines import RowKey, Said, State, heading, line
from llava_chat.store import PICTURES, ConversationStore, JournaledRow, journaled_rows, write_whole

FOLDER = "journal"
KEPT_REMOVALS_MS = 90 * 24 * 3600 * 1000
"""So long a removal is remembered: a file that another process pushed may hold what it removed."""

PART_BYTES = 4 * 2**20
"""From this size on another file is begun."""

_Known = tuple[int, bytes]  # since when, and a hash of what it says


class Journal:
    """The file, below `folder`, and the state that it was last brought to.

    before: what the dataset said at the start; rows that the database holds as it said keep their
    time. Used by one thread at a time.
    """

    def __init__(self, store: ConversationStore, folder: Path, before: State) -> None:
        self._store = store
        self._folder = folder
        self._begin = f"{FOLDER}/{uuid.uuid4()}"
        self._parts = 1
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        self._before = before.rows
        self._at = max((said.at for said in before.rows.values()), default=0)
        self._known: dict[RowKey, _Known] = {}
        self._removed = {key: said.at for key, said in before.rows.items() if said.values is None}
        self._writes = -1
        self._whole = False

    @property
    def names(self) -> list[str]:
        """The files that there are: a push carries a file whole, so that a long one is left alone
        and another one begun."""
        return [f"{self._begin}{f'-{part}' if part else ''}.jsonl" for part in range(self._parts)]

    def wrote(self, name: str) -> bool:
        """Whether a file is, or was, one of these."""
        return name.startswith(self._begin)

    @property
    def picture_ids(self) -> set[str]:
        """The pictures that the dataset has to hold."""
        return {key for table, key in self._known if table == PICTURES}

    def bring_up_to_date(self) -> bool:
        """Compare with the database and write the difference; whether something was removed.

        Raises StoreError and OSError; the next call then writes the file anew.
        """
        writes = self._store.database.writes
        if self._whole and writes == self._writes:
            return False
        seen, changed = set[RowKey](), list[tuple[int, JournaledRow, _Known]]()
        for row in journaled_rows(self._store, lambda table, key: (table, key) in self._known):
            key = (row.table, row.key)
            seen.add(key)
            if row.values is not None and (known := self._news(key, row)) is not None:
                changed.append((known[0], row, known))
        gone = self._known.keys() - seen
        whole, self._whole = self._whole, False
        for key in gone:
            del self._known[key]
            self._removed[key] = self._next_at()
        for _, row, known in changed:
            self._known[row.table, row.key] = known
            self._removed.pop((row.table, row.key), None)
        if gone or not whole:
            self._rewrite()
        elif changed:
            self._append(line(at, row) for at, row, _ in changed)
        self._whole, self._writes, self._before = True, writes, {}
        return bool(gone)

    def _news(self, key: RowKey, row: JournaledRow) -> _Known | None:
        """Since when the row is as it is, with its hash; None where that is known."""
        digest = _digest(row)
        known = self._known.get(key)
        if known is not None and known[1] == digest:
            return None
        before = self._before.pop(key, Said(0, None))
        as_before = JournaledRow(row.table, row.key, before.values)
        if known is None and before.values is not None and _digest(as_before) == digest:
            return before.at, digest
        return self._next_at(), digest

    def _next_at(self) -> int:
        self._at = max(time.time_ns() // 1_000_000, self._at + 1)
        return self._at

    def _append(self, lines: Iterable[str]) -> None:
        path = self._folder / self.names[-1]
        if path.stat().st_size > PART_BYTES:
            self._parts += 1
            path = self._folder / self.names[-1]
            lines = (heading(__version__), *lines)
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())

    def _rewrite(self) -> None:
        oldest = self._at - KEPT_REMOVALS_MS
        self._removed = {key: at for key, at in self._removed.items() if at > oldest}
        first, *others = self.names
        write_whole(self._folder / first, self._lines())
        for name in others:
            (self._folder / name).unlink(missing_ok=True)
        self._parts = 1

    def _lines(self) -> Iterator[bytes]:
        yield heading(__version__).encode()
        for (table, key), at in self._removed.items():
            yield line(at, JournaledRow(table, key, None)).encode()
        for row in journaled_rows(self._store, lambda table, key: False):
            # What came since the comparison is added after the next one.
            if (known := self._known.get((row.table, row.key))) is not None:
                yield line(known[0], row).encode()


def _digest(row: JournaledRow) -> bytes:
    told = json.dumps(row.values, sort_keys=True).encode()
    return hashlib.blake2b(told, digest_size=16).digest()
