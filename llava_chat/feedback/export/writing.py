"""One export of feedback: which rows, as which records, counted. Imports the other modules here."""

from __future__ import annotations

import itertools
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from llava_chat.feedback.comparisons import ComparisonRow, comparison_rows
from llava_chat.feedback.export.columns import FEEDBACK
from llava_chat.feedback.export.documents import document, vote_document
from llava_chat.feedback.export.folder import exported, sink
from llava_chat.feedback.export.instructions import instructions
from llava_chat.feedback.export.pictures import LeftOut, PictureCopies
from llava_chat.feedback.export.preferences import judgements, preferences, preferred
from llava_chat.feedback.figures import Figures
from llava_chat.feedback.rows import FeedbackRow, Filter, feedback_rows
from llava_chat.store import ConversationStore

# Rows to several records, a conversation at a time.
Writer = Callable[[list[FeedbackRow], PictureCopies, Counter[str]], Iterator[Any]]


def export_feedback(
    store: ConversationStore,
    form: str,
    output: Path,
    wanted: Filter | None = None,
    *,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Write all wanted feedback into a new folder and return the manifest.

    form: one of FORMATS. dry_run: count, and write nothing. Raises as `exported` does.
    """
    asked = wanted or Filter()

    def write(folder: Path | None) -> dict[str, Any]:
        return _written(store, form, folder, asked)

    return exported(form, output, write, dry_run=dry_run)


def _written(
    store: ConversationStore, form: str, folder: Path | None, wanted: Filter
) -> dict[str, Any]:
    """Write the files of an export; what the manifest tells of it."""
    pictures = PictureCopies(store, folder)
    left_out: Counter[str] = Counter()
    counting = Figures()
    records = 0
    key = secrets.token_bytes(32)
    with ExitStack() as stack:
        write = sink(form, folder, stack, FEEDBACK)
        rows = counting.passing(feedback_rows(store, wanted, key))
        for _, group in itertools.groupby(rows, key=lambda row: row.conversation_id):
            for record in records_of(form)(list(group), pictures, left_out):
                write(record)
                records += 1
        for vote in comparison_rows(store, wanted, key):
            counting.add_vote(vote)
            try:
                record = _of_vote(form, vote)
                pictures.need(vote.picture_ids)
            except LeftOut as reason:
                left_out[str(reason)] += 1
            else:
                write(record)
                records += 1
    counts = counting.counted() | {"records": records, "pictures": len(pictures.ids)}
    return {
        "filters": _told(wanted),
        "counts": counts,
        "left_out": dict(sorted(left_out.items())),
    }


def _of_vote(form: str, vote: ComparisonRow) -> Any:
    """The record of a vote on a comparison. Raises LeftOut where the format has none."""
    match form:
        case "dpo":
            return preferred(vote)
        case "jsonl":
            return vote_document(vote)
        case "csv" | "parquet":
            return vote
    raise LeftOut(f"nothing for {form}")


def records_of(form: str) -> Writer:
    """What makes the records of a format."""
    if form == "llava":
        return instructions
    one: dict[str, Callable[[FeedbackRow], Iterable[Any]]] = {
        "dpo": preferences,
        "kto": judgements,
        "jsonl": lambda row: (document(row),),
        "csv": lambda row: (row,),
        "parquet": lambda row: (row,),
    }
    make = one[form]

    def each(
        rows: list[FeedbackRow], pictures: PictureCopies, left_out: Counter[str]
    ) -> Iterator[Any]:
        for row in rows:
            found = list(make(row))
            if not found:
                left_out[f"nothing for {form}"] += 1
                continue
            try:
                pictures.need(row.picture_ids)
            except LeftOut as reason:
                left_out[str(reason)] += 1
            else:
                yield from found

    return each


def _told(wanted: Filter) -> dict[str, Any]:
    """The filters that are set, as the manifest has them."""
    given = {name: value for name, value in asdict(wanted).items() if value is not None}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in given.items()
    }
