"""`csv` for spreadsheets and `parquet` for `datasets`: a row of plain columns for each row.

Parquet wants `pyarrow`, which is imported only here and only then.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from llava_chat.errors import UsageError

Row = TypeVar("Row")
Kind = Literal["string", "bool", "int64", "float64", "strings"]


@dataclass(frozen=True)
class Table(Generic[Row]):
    """Rows as plain columns.

    columns, cells: a CSV's header, and its cells by column, None for an empty one. kinds, typed:
    the columns of parquet, and their values. images: a row's pictures, as paths in the export;
    parquet has them in its column `images`.
    """

    columns: tuple[str, ...]
    cells: Callable[[Row], Mapping[str, str | None]]
    kinds: Mapping[str, Kind]
    typed: Callable[[Row], Mapping[str, Any]]
    images: Callable[[Row], list[str]]

    def line(self, row: Row) -> str:
        """The row as a line of CSV."""
        cells = self.cells(row)
        return csv_line(cells[name] for name in self.columns)


ROWS_TOGETHER = 64
"""Of a parquet file's group; their pictures are in memory while it is written."""

# What makes a spreadsheet take a cell for a formula (owasp.org, "CSV Injection"), also in the
# width of Chinese and Japanese, and the mark itself, so that it can be taken off again.
_FORMULA_SIGNS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20'"


def csv_line(cells: Iterable[str | None], *, defuse: bool = True) -> str:
    """Cells as a line of CSV (RFC 4180), each quoted, and defused but for a header's."""
    texts = ["" if cell is None else cell for cell in cells]
    line = io.StringIO()
    writer = csv.writer(line, quoting=csv.QUOTE_ALL)
    writer.writerow(map(defused, texts) if defuse else texts)
    return line.getvalue()


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
def parquet_writer(
    path: Path, folder: Path | None, table: Table[Row]
) -> Iterator[ParquetRows[Row]]:
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
    rows = ParquetRows(path, folder, table)
    try:
        yield rows
    finally:
        rows.close()


class ParquetRows(Generic[Row]):
    """An open parquet file whose pictures stand in it, as `datasets` reads them."""

    def __init__(self, path: Path, folder: Path | None, table: Table[Row]) -> None:
        import pyarrow.parquet

        self._folder = folder
        self._table = table
        self._schema = _schema(table.kinds)
        self._waiting: list[dict[str, Any]] = []
        self._file = pyarrow.parquet.ParquetWriter(path, self._schema)

    def write(self, row: Row) -> None:
        """Add a row; its pictures must have been copied."""
        pictures = [self._picture(name) for name in self._table.images(row)]
        self._waiting.append({**self._table.typed(row), "images": pictures})
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


def _schema(columns: Mapping[str, Kind]) -> Any:
    import pyarrow as pa

    text = pa.string()
    picture = pa.struct([("bytes", pa.binary()), ("path", text)])
    types: dict[Kind, Any] = {
        "string": text,
        "bool": pa.bool_(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "strings": pa.list_(text),
    }
    kinds = {name: types[kind] for name, kind in columns.items()} | {"images": pa.list_(picture)}
    # What `datasets` itself writes beside the columns, so that it opens the pictures.
    names = {type: name for name, type in types.items()}

    def feature(kind: Any) -> dict[str, Any]:
        if kind == picture:
            return {"_type": "Image"}
        if pa.types.is_list(kind):
            return {"feature": feature(kind.value_type), "_type": "List"}
        return {"dtype": names[kind], "_type": "Value"}

    features = {"info": {"features": {name: feature(kind) for name, kind in kinds.items()}}}
    return pa.schema(list(kinds.items()), metadata={"huggingface": json.dumps(features)})
