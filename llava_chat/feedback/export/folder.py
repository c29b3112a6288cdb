"""The folder of an export: written aside, its manifest last, then put in place by one rename.

Whoever looks at the folder sees a whole export or none; one that is cut off leaves a folder beside
it whose name begins with a dot.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from llava_chat import __version__
from llava_chat.errors import StoreError, UsageError
from llava_chat.feedback.export.pictures import FOLDER
from llava_chat.feedback.export.tables import Table, csv_line, parquet_writer

FORMATS = ("llava", "dpo", "kto", "jsonl", "csv", "parquet")
SCHEMA_VERSION = 1
"""Of the rows and of the manifest; it grows when an older reader would misread a newer export."""
MANIFEST = "manifest.json"
_FILES = {"llava": "feedback.json", "csv": "feedback.csv", "parquet": "feedback.parquet"}


def file_name(form: str) -> str:
    """The file of the rows in an export.

    >>> file_name("llava"), file_name("dpo")
    ('feedback.json', 'feedback.jsonl')
    """
    return _FILES.get(form, "feedback.jsonl")


def exported(
    form: str, output: Path, write: Callable[[Path | None], dict[str, Any]], *, dry_run: bool
) -> dict[str, Any]:
    """Have `write` fill a new folder, and return the manifest.

    form: one of FORMATS. write: writes the files below the folder that it is given, none for None,
    and returns what the manifest tells of them. Raises UsageError when the folder is there and not
    empty, StoreError when the database or the disk fails.
    """
    if form not in FORMATS:
        raise UsageError(f"--format {form} is none of {', '.join(FORMATS)}")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"--output: {output} is there already; name a new folder")

    def manifest(folder: Path | None) -> dict[str, Any]:
        about = {"schema": SCHEMA_VERSION, "app_version": __version__, "format": form}
        told = write(folder)
        return {**about, **told, "files": {} if folder is None else _hashes(folder)}

    try:
        return manifest(None) if dry_run else _put_in_place(output, manifest)
    except OSError as error:
        raise StoreError(
            f"Nothing was exported: {output} cannot be written ({error.strerror or error})."
        ) from error


def sink(
    form: str, folder: Path | None, stack: ExitStack, table: Table[Any]
) -> Callable[[Any], object]:
    """What takes the records of a format, one after the other; table: for csv and parquet."""
    if folder is None:
        return lambda record: None
    path = folder / file_name(form)
    if form == "parquet":
        return stack.enter_context(parquet_writer(path, folder, table)).write
    file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
    if form == "csv":
        file.write(csv_line(table.columns, defuse=False))
        return lambda row: file.write(table.line(row))
    if form == "llava":
        return _json_list(file, stack)
    return lambda record: file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _put_in_place(output: Path, fill: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        manifest = fill(aside)
        text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
        (aside / MANIFEST).write_text(text, encoding="utf-8")
        _sync(aside)
        aside.chmod(0o755 & ~_umask())  # mkdtemp lets in nobody else, whatever the user wants
        os.replace(aside, output)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return manifest


def _json_list(file: IO[str], stack: ExitStack) -> Callable[[Any], object]:
    first = itertools.chain(["[\n"], itertools.repeat(",\n"))

    def end() -> None:
        file.write("\n]\n" if next(first) == ",\n" else "[]\n")

    stack.callback(end)
    return lambda record: file.write(next(first) + json.dumps(record, ensure_ascii=False))


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
