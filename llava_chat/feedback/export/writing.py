"""One export: rows, pictures and manifest written aside, then put in place by one rename.

Whoever looks at the folder sees a whole export or none; one that is cut off leaves a folder beside
it whose name begins with a dot.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from llava_chat import __version__
from llava_chat.errors import StoreError, UsageError
from llava_chat.feedback.comparisons import ComparisonRow, comparison_rows
from llava_chat.feedback.export.documents import document, vote_document
from llava_chat.feedback.export.instructions import instructions
from llava_chat.feedback.export.pictures import FOLDER, LeftOut, PictureCopies
from llava_chat.feedback.export.preferences import judgements, preferences, preferred
from llava_chat.feedback.export.tables import csv_header, csv_line, parquet_writer
from llava_chat.feedback.figures import Figures
from llava_chat.feedback.rows import FeedbackRow, Filter, feedback_rows
from llava_chat.store import ConversationStore

FORMATS = ("llava", "dpo", "kto", "jsonl", "csv", "parquet")
SCHEMA_VERSION = 1
"""Of the rows and of the manifest; it grows when an older reader would misread a newer export."""
MANIFEST = "manifest.json"
_FILES = {"llava": "feedback.json", "csv": "feedback.csv", "parquet": "feedback.parquet"}
# Rows to several records, a conversation at a time.
Writer = Callable[[list[FeedbackRow], PictureCopies, Counter[str]], Iterator[Any]]


def file_name(form: str) -> str:
    """The file of the rows in an export.

    >>> file_name("llava"), file_name("dpo")
    ('feedback.json', 'feedback.jsonl')
    """
    return _FILES.get(form, "feedback.jsonl")


def export_feedback(
    store: ConversationStore,
    form: str,
    output: Path,
    wanted: Filter | None = None,
    *,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Write all wanted feedback into a new folder and return the manifest.

    form: one of FORMATS. dry_run: count, and write nothing. Raises UsageError when the folder is
    there and not empty, StoreError when the database or the disk fails.
    """
    wanted = wanted or Filter()
    if form not in FORMATS:
        raise UsageError(f"--format {form} is none of {', '.join(FORMATS)}")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"--output: {output} is there already; name a new folder")
    try:
        if dry_run:
            return _written(store, form, None, wanted)
        output.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
        try:
            manifest = _written(store, form, aside, wanted)
            text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
            (aside / MANIFEST).write_text(text, encoding="utf-8")
            _sync(aside)
            aside.chmod(0o755 & ~_umask())  # mkdtemp lets in nobody else, whatever the user wants
            os.replace(aside, output)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        return manifest
    except OSError as error:
        raise StoreError(
            f"Nothing was exported: {output} cannot be written ({error.strerror or error})."
        ) from error


def _written(
    store: ConversationStore, form: str, folder: Path | None, wanted: Filter
) -> dict[str, Any]:
    """Write the files of an export but the manifest, which is returned."""
    pictures = PictureCopies(store, folder)
    left_out: Counter[str] = Counter()
    counting = Figures()
    records = 0
    key = secrets.token_bytes(32)
    with ExitStack() as stack:
        write = _sink(form, folder, stack)
        rows = counting.passing(feedback_rows(store, wanted, key))
        for _, group in itertools.groupby(rows, key=lambda row: row.conversation_id):
            for record in _records(form)(list(group), pictures, left_out):
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
        "schema": SCHEMA_VERSION,
        "app_version": __version__,
        "format": form,
        "filters": _told(wanted),
        "counts": counts,
        "left_out": dict(sorted(left_out.items())),
        "files": {} if folder is None else _hashes(folder),
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


def _records(form: str) -> Writer:
    if form == "llava":
        return instructions
    one: dict[str, Callable[[FeedbackRow], Iterable[Any]]] = {
        "dpo": preferences,
        "kto": judgements,
        "jsonl": lambda row: (document(row),),
        "csv": lambda row: (row,),
        "parquet": lambda row: (row,),
    }
    records_of = one[form]

    def each(
        rows: list[FeedbackRow], pictures: PictureCopies, left_out: Counter[str]
    ) -> Iterator[Any]:
        for row in rows:
            found = list(records_of(row))
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


def _sink(form: str, folder: Path | None, stack: ExitStack) -> Callable[[Any], object]:
    """What takes the records of a format, one after the other."""
    if folder is None:
        return lambda record: None
    path = folder / file_name(form)
    if form == "parquet":
        return stack.enter_context(parquet_writer(path, folder)).write
    file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
    if form == "csv":
        file.write(csv_header())
        return lambda row: file.write(csv_line(row))
    if form == "llava":
        return _json_list(file, stack)
    return lambda record: file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _json_list(file: IO[str], stack: ExitStack) -> Callable[[Any], object]:
    first = itertools.chain(["[\n"], itertools.repeat(",\n"))

    def end() -> None:
        file.write("\n]\n" if next(first) == ",\n" else "[]\n")

    stack.callback(end)
    return lambda record: file.write(next(first) + json.dumps(record, ensure_ascii=False))


def _told(wanted: Filter) -> dict[str, Any]:
    """The filters that are set, as the manifest has them."""
    given = {name: value for name, value in asdict(wanted).items() if value is not None}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in given.items()
    }


def _hashes(folder: Path) -> dict[str, Any]:
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[str(path.relative_to(folder))] = {"sha256": digest, "bytes": path.stat().st_size}
    return found


def _sync(folder: Path) -> None:
    """Have every file on the disk before the rename makes the export one."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    if os.name == "posix":
        paths += [folder, *(path for path in (folder / FOLDER,) if path.is_dir())]
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
