"""`csv` for spreadsheets and `parquet` for `datasets`: plain columns, a row for each reply or vote.

Parquet wants `pyarrow`, which is imported only here and only then.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llava_chat.errors import UsageError
from llava_chat.feedback.comparisons import ComparisonRow
from llava_chat.feedback.export.documents import document, vote_document
from llava_chat.feedback.export.pictures import picture_name
from llava_chat.feedback.export.preferences import images, prompt
from llava_chat.feedback.rows import FeedbackRow
from llava_chat.store import Message

Row = FeedbackRow | ComparisonRow

COLUMNS = (
    "owner",
    "conversation_id",
    "reply_id",
    "asked",
    "reply",
    "pictures",
    "model",
    "revision",
    "adapter",
    "template",
    "liked",
    "reasons",
    "comment",
    "correction",
    "ranking",
    "said_at",
    "choice",
    "blind",
    "turn",
    "comparison_id",
    "other_reply_id",
    "other_reply",
    "other_model",
    "other_revision",
    "other_adapter",
)
ROWS_TOGETHER = 64
"""Of a parquet file's group; their pictures are in memory while it is written."""

# What makes a spreadsheet take a cell for a formula (owasp.org, "CSV Injection"), also in the
# width of Chinese and Japanese, and the mark itself, so that it can be taken off again.
_FORMULA_SIGNS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20'"


def csv_line(row: Row) -> str:
    """A row of COLUMNS as a line of CSV (RFC 4180), every cell quoted and defused."""
    cells = [defused(_cell(value)) for value in _values(row).values()]
    return _csv(cells)


def csv_header() -> str:
    """The first line."""
    return _csv(list(COLUMNS))


def defused(cell: str) -> str:
    """Text that no spreadsheet takes for a formula: a mark before what might be one.

    >>> defused("=HYPERLINK(...)"), defused("red"), defused("'tis")
    ("'=HYPERLINK(...)", 'red', "''tis")
    """
    return f"'{cell}" if cell[:1] and cell[0] in _FORMULA_SIGNS else cell


def plain(cell: str) -> str:
    """What a defused cell said.

    >>> plain(defused("@SUM(A1)")), plain(defused("'tis")), plain("red")
    ('@SUM(A1)', "'tis", 'red')
    """
    return cell.removeprefix("'")


@contextmanager
def parquet_writer(path: Path, folder: Path | None) -> Iterator[ParquetRows]:
    """Write rows into a parquet file; folder: that of the export, with the pictures.

    Raises UsageError where pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise UsageError(
            "--format parquet needs the package pyarrow; run `pip install pyarrow`, or name "
            "another format"
        ) from None
    rows = ParquetRows(path, folder)
    try:
        yield rows
    finally:
        rows.close()


class ParquetRows:
    """An open parquet file whose pictures stand in it, as `datasets` reads them."""

    def __init__(self, path: Path, folder: Path | None) -> None:
        import pyarrow.parquet

        self._folder = folder
        self._schema = _schema()
        self._waiting: list[dict[str, Any]] = []
        self._file = pyarrow.parquet.ParquetWriter(path, self._schema)

    def write(self, row: Row) -> None:
        """Add a row; its pictures must have been copied."""
        values: dict[str, Any] = dict(_values(row))
        del values["pictures"]
        values |= _typed(row)
        values["images"] = [self._picture(name) for name in images(row)]
        self._waiting.append(values)
        if len(self._waiting) == ROWS_TOGETHER:
            self._flush()

    def close(self) -> None:
        """Write what waits, and the end of the file."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        import pyarrow

        if self._waiting:
            self._file.write_table(pyarrow.Table.from_pylist(self._waiting, self._schema))
            self._waiting = []

    def _picture(self, name: str) -> dict[str, Any]:
        content = b"" if self._folder is None else (self._folder / name).read_bytes()
        return {"bytes": content, "path": name}


def _schema() -> Any:
    import pyarrow as pa

    text = pa.string()
    picture = pa.struct([("bytes", pa.binary()), ("path", text)])
    kinds: dict[str, Any] = {name: text for name in COLUMNS if name != "pictures"}
    kinds |= {"liked": pa.bool_(), "reasons": pa.list_(text), "ranking": pa.list_(text)}
    kinds |= {"blind": pa.bool_(), "turn": pa.int32()}
    kinds |= {"prompt": text, "row": text, "images": pa.list_(picture)}
    # What `datasets` itself writes beside the columns, so that it opens the pictures.
    names = {text: "string", pa.bool_(): "bool", pa.int32(): "int32"}

    def feature(kind: Any) -> dict[str, Any]:
        if kind == picture:
            return {"_type": "Image"}
        if pa.types.is_list(kind):
            return {"feature": feature(kind.value_type), "_type": "List"}
        return {"dtype": names[kind], "_type": "Value"}

    features = {"info": {"features": {name: feature(kind) for name, kind in kinds.items()}}}
    return pa.schema(list(kinds.items()), metadata={"huggingface": json.dumps(features)})


def _typed(row: Row) -> dict[str, Any]:
    """What is more than text in a parquet file."""
    if isinstance(row, ComparisonRow):
        return {
            "liked": None,
            "reasons": list(row.vote.reasons),
            "ranking": [],
            "blind": row.vote.blind,
            "turn": row.vote.turn,
            "prompt": json.dumps(prompt(row.left), ensure_ascii=False),
            "row": json.dumps(vote_document(row), ensure_ascii=False),
        }
    return {
        "liked": None if row.rating is None else row.rating.liked,
        "reasons": [] if row.rating is None else list(row.rating.reasons),
        "ranking": [message.text for message in row.ranked],
        "blind": None,
        "turn": None,
        "prompt": json.dumps(prompt(row.path), ensure_ascii=False),
        "row": json.dumps(document(row), ensure_ascii=False),
    }


def _values(row: Row) -> Mapping[str, str | None]:
    """The columns in their order, as text."""
    values = dict.fromkeys(COLUMNS) | {
        "owner": row.owner,
        "pictures": " ".join(picture_name(picture_id) for picture_id in row.picture_ids),
    }
    return values | (_of_vote(row) if isinstance(row, ComparisonRow) else _of_reply(row))


def _of_reply(row: FeedbackRow) -> dict[str, str | None]:
    rating = row.rating
    return {
        "conversation_id": row.conversation_id,
        "asked": row.path[-2].text,
        **_reply(row.reply),
        "template": None if row.reply.record is None else row.reply.record.template,
        "liked": None if rating is None else "yes" if rating.liked else "no",
        "reasons": None if rating is None else " ".join(rating.reasons),
        "comment": None if rating is None else rating.comment,
        "correction": None if row.correction is None else row.correction.text,
        "ranking": " ".join(message.id for message in row.ranked),
        "said_at": row.said_at.isoformat(),
    }


def _of_vote(row: ComparisonRow) -> dict[str, str | None]:
    """The reply is the left one, the other the right one."""
    left, vote = row.left[-1], row.vote
    return {
        "conversation_id": row.comparison.left_id,
        "asked": row.left[-2].text,
        **_reply(left),
        "template": None if left.record is None else left.record.template,
        "reasons": " ".join(vote.reasons),
        "comment": vote.comment,
        "said_at": vote.created_at.isoformat(),
        "choice": vote.choice,
        "blind": "yes" if vote.blind else "no",
        "turn": str(vote.turn),
        "comparison_id": row.comparison.id,
        **{f"other_{name}": value for name, value in _reply(row.right[-1]).items()},
    }


def _reply(message: Message) -> dict[str, str | None]:
    record = message.record
    return {
        "reply_id": message.id,
        "reply": message.text,
        "model": None if record is None else record.model_id,
        "revision": None if record is None else record.revision,
        "adapter": None if record is None else record.adapter,
    }


def _cell(value: str | None) -> str:
    return "" if value is None else value


def _csv(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow(cells)
    return line.getvalue()
