"""A project's answers as files: for training in the formats of feedback, or whole.

`llava`, `dpo` and `kto` take what annotators said last of the items that are not gold; `jsonl`,
`csv` and `parquet` take every annotation with its item. People appear as keyed hashes, another one
in every export; names and what Prolific sent are in none. Imports the exports of feedback.
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from llava_chat.feedback.annotation.form import Form
from llava_chat.feedback.annotation.results import of_annotation, of_item
from llava_chat.feedback.annotation.rows import rows_of
from llava_chat.feedback.export.folder import exported, sink
from llava_chat.feedback.export.pictures import LeftOut, PictureCopies, picture_name
from llava_chat.feedback.export.tables import Kind, Table
from llava_chat.feedback.export.writing import records_of
from llava_chat.feedback.rows import pseudonym
from llava_chat.store import ConversationStore, Project, Projects, Result

FOR_TRAINING = ("llava", "dpo", "kto")
_COLUMNS: Mapping[str, Kind] = {
    "item": "string",
    "number": "int64",
    "gold": "bool",
    "asked": "string",
    "replies": "strings",
    "models": "strings",
    "annotator": "string",
    "version": "int64",
    "newest": "bool",
    "outcome": "string",
    "note": "string",
    "lead_time_s": "float64",
    "at": "string",
}
_VALUE = "value."
"""Before the names of a form's fields as columns, so that none is taken for another one."""


@dataclass(frozen=True)
class Since:
    """When something was said: from `since` on and before `until`; None for any time."""

    since: datetime | None = None
    until: datetime | None = None

    def takes(self, result: Result) -> bool:
        """Whether a result is of that time."""
        at = result.annotation.created_at
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


@dataclass(frozen=True)
class Agreed:
    """Items on which people agree: those of `items`, for whom the share is `least` or more."""

    least: float
    items: frozenset[str]


@dataclass(frozen=True)
class _Row:
    """A result and the hash of who made it."""

    result: Result
    annotator: str


def export_project(
    store: ConversationStore,
    project: Project,
    form: str,
    output: Path,
    when: Since | None = None,
    *,
    agreed: Agreed | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Write a project's answers into a new folder and return the manifest. Raises as `exported`.

    agreed: only what was said of these items.
    """
    write = partial(_written, store, project, form, when or Since(), agreed)
    return exported(form, output, write, dry_run=dry_run)


def _written(
    store: ConversationStore,
    project: Project,
    form: str,
    when: Since,
    agreed: Agreed | None,
    folder: Path | None,
) -> dict[str, Any]:
    pictures, left_out = PictureCopies(store, folder), Counter[str]()
    key = secrets.token_bytes(32)
    counts, people = Counter[str](), set[str]()
    training = form in FOR_TRAINING
    with ExitStack() as stack:
        write = sink(form, folder, stack, _table(project.form))
        results = Projects(store).results(project.id, newest_only=training)
        for item_id, group in itertools.groupby(filter(when.takes, results), _item_id):
            if agreed is not None and item_id not in agreed.items:
                left_out["people do not agree"] += len(list(group))
                continue
            rows = [_Row(one, pseudonym(one.annotator.owner, key)) for one in group]
            counts.update(items=1, annotations=len(rows))
            people.update(row.annotator for row in rows)
            make = _for_training if training else _whole
            for record in make(project.form, form, rows, pictures, left_out):
                write(record)
                counts["records"] += 1
    times = {"since": when.since, "until": when.until}
    least = {} if agreed is None else {"min_agreement": agreed.least}
    return {
        "project": {"id": project.id, "name": project.name, "form": list(project.form)},
        "filters": {
            **{name: time.isoformat() for name, time in times.items() if time is not None},
            **least,
        },
        "counts": {
            **{name: counts[name] for name in ("records", "annotations", "items")},
            "people": len(people),
            "pictures": len(pictures.ids),
        },
        "left_out": dict(sorted(left_out.items())),
    }


def _item_id(result: Result) -> str:
    return result.item.id


def _for_training(
    form: Form, kind: str, rows: list[_Row], pictures: PictureCopies, left_out: Counter[str]
) -> Iterator[Any]:
    """The records of one item; of several that say the same `llava` has one."""
    if rows[0].result.item.gold is not None:
        left_out["gold"] += len(rows)
        return
    said = [list(rows_of(form, row.result, row.annotator)) for row in rows]
    if silent := sum(not some for some in said):
        left_out[f"nothing for {kind}"] += silent
    feedback = list(itertools.chain.from_iterable(said))
    seen = set[str]()
    for record in records_of(kind)(feedback, pictures, left_out):
        text = json.dumps(record, sort_keys=True)
        if kind == "llava" and text in seen:
            left_out["said by several"] += 1
        else:
            seen.add(text)
            yield record


def _whole(
    form: Form, kind: str, rows: list[_Row], pictures: PictureCopies, left_out: Counter[str]
) -> Iterator[Any]:
    for row in rows:
        try:
            pictures.need(row.result.item.picture_ids)
        except LeftOut as reason:
            left_out[str(reason)] += 1
        else:
            yield _document(row) if kind == "jsonl" else row


def _document(row: _Row) -> dict[str, Any]:
    """A row whole; its source is of this database alone, and no export tells whose chat it was."""
    told = of_item(row.result)
    del told["source"]
    told["pictures"] = _images(row)
    return {**told, "annotator": row.annotator, **of_annotation(row.result)}


def _images(row: _Row) -> list[str]:
    return [picture_name(picture_id) for picture_id in row.result.item.picture_ids]


def _table(form: Form) -> Table[_Row]:
    values = {f"{_VALUE}{field['name']}": _kind(field["type"]) for field in form}
    kinds: Mapping[str, Kind] = {**_COLUMNS, **values, "row": "string"}
    columns = (*_COLUMNS, *values, "pictures")
    typed: Callable[[_Row], Mapping[str, Any]] = partial(_typed, form)
    return Table(columns, partial(_cells, form), kinds, typed, _images)


def _kind(type: str) -> Kind:
    return {"scale": "int64", "chips": "strings"}.get(type, "string")  # type: ignore[return-value]


def _typed(form: Form, row: _Row) -> Mapping[str, Any]:
    document = _document(row)
    told = {name: document[name] for name in _COLUMNS if name in document}
    told["gold"] = document["gold"] is not None
    told["asked"] = document["turns"][-1]["text"]
    told["replies"] = [reply["text"] for reply in document["replies"]]
    told["models"] = [reply.get("model") or "" for reply in document["replies"]]
    for field in form:
        value = document["values"].get(field["name"])
        if isinstance(value, list) and field["type"] != "chips":
            value = json.dumps(value, ensure_ascii=False)
        told[f"{_VALUE}{field['name']}"] = value
    return {**told, "row": json.dumps(document, ensure_ascii=False)}


def _cells(form: Form, row: _Row) -> Mapping[str, str | None]:
    told = {**_typed(form, row), "pictures": " ".join(_images(row))}
    return {name: _cell(value) for name, value in told.items()}


def _cell(value: Any) -> str | None:
    """A value as text.

    >>> _cell(True), _cell(["a", "b"]), _cell(1.5), _cell(None)
    ('yes', 'a | b', '1.5', None)
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " | ".join(value)
    return None if value is None else str(value)
