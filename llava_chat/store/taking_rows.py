"""Takes rows back in that a copy of the database held: checked column by column, each once.

What is here already stays, unless the copy has it newer. Only `feedback` uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    Integer,
    String,
    Table,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from llava_chat.errors import FeedbackError
from llava_chat.image import Picture
from llava_chat.store.conversations import ConversationStore
from llava_chat.store.journaled import PICTURES, TABLES
from llava_chat.store.rows import storable
from llava_chat.store.schema import UtcDateTime

ROWS_AT_ONCE = 200
"""In one transaction, for which everybody who writes has to wait."""
_CLOCKS = ("updated_at", "decided_at")  # of the rows that change; the newer one counts
# JSON's own types, by what a column holds; a whole number may stand for one with a fraction.
_KINDS: tuple[tuple[type[Any], tuple[type[Any], ...]], ...] = (
    (UtcDateTime, (str,)),
    (JSON, (dict, list)),
    (Boolean, (bool,)),
    (Integer, (int,)),
    (Float, (float, int)),
    (String, (str,)),
)

Values = Mapping[str, Any]


def checked_row(table: str, told: Values) -> dict[str, Any]:
    """The values of a row, as the database takes them. Raises FeedbackError naming the field."""
    if table not in TABLES:
        raise FeedbackError(f"there is no table {table[:40]!r}.")
    columns = TABLES[table].columns
    for name in told:
        if name not in columns:
            raise FeedbackError(f"{table}: there is no field {name[:40]!r}.")
    missing = object()
    values = {}
    for column in columns:
        value = told.get(column.name, missing)
        if value is missing:
            if not column.nullable and column.server_default is None:
                raise FeedbackError(f"{table}, {column.name}: it is missing.")
            continue
        values[column.name] = _checked(table, column, value)
    return values


def _checked(table: str, column: Column[Any], value: Any) -> Any:
    if value is None and column.nullable:
        return None
    kinds = next(kinds for kind, kinds in _KINDS if isinstance(column.type, kind))
    if type(value) not in kinds:
        raise FeedbackError(f"{table}, {column.name}: it is of another type.")
    if isinstance(column.type, UtcDateTime):
        return _time(table, column.name, value)
    if isinstance(value, str):
        longest = getattr(column.type, "length", None)
        if longest is not None and len(value) > longest:
            raise FeedbackError(f"{table}, {column.name}: it is longer than {longest}.")
        return storable(value)
    if type(value) is int and not -(2**63) <= value < 2**63:
        raise FeedbackError(f"{table}, {column.name}: it is out of range.")
    return value


def _time(table: str, name: str, value: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        time = datetime.min
    if time.tzinfo is None:
        raise FeedbackError(f"{table}, {name}: it must be a time with a zone.")
    return time


def take_picture(store: ConversationStore, picture: Picture) -> None:
    """Keep the pixels of a picture whose row is taken in afterwards. Raises StoreError."""
    with store.database.told():
        store.kept_pictures.write_file(picture)


def take_rows(
    store: ConversationStore,
    rows: Iterable[tuple[str, Values]],
    refused: Callable[[str, Values], None],
) -> int:
    """Keep checked rows, parents given before their children; returns how many were not here.

    refused: is told of each that does not fit: what it hangs on is missing, or something else has
    its place. Raises StoreError when the database fails; transactions before that stay.
    """
    remaining = iter(rows)
    new = 0
    while some := list(islice(remaining, ROWS_AT_ONCE)):
        with store.database.write() as session:
            start = 0
            while start < len(some):  # rows of one table after the other
                name = some[start][0]
                alike = [values for table, values in some[start:] if table == name]
                new += _take(session, TABLES[name], alike, refused)
                start += len(alike)
    return new


def _take(
    session: Session, table: Table, rows: Sequence[Values], refused: Callable[[str, Values], None]
) -> int:
    here = _already(session, table, rows)
    fresh = []
    for values in rows:
        found = here.get(_key(table, values))
        if found is None:
            fresh.append(_now(values) if table.name == PICTURES else values)
        elif any(name in values and values[name] > found[name] for name in _CLOCKS):
            same = [column == values[column.name] for column in table.primary_key]
            session.execute(update(table).where(*same).values(**values))
    try:
        with session.begin_nested():
            for values in fresh:
                session.execute(insert(table), dict(values))
        return len(fresh)
    except IntegrityError:
        return sum(_took(session, table, values, refused) for values in fresh)


def _now(values: Values) -> Values:
    # Old pictures that no message has are removed, and its message is only on its way.
    return {**values, "created_at": datetime.now(UTC)}


def _took(
    session: Session, table: Table, values: Values, refused: Callable[[str, Values], None]
) -> bool:
    try:
        with session.begin_nested():
            session.execute(insert(table), dict(values))
    except IntegrityError:
        refused(table.name, values)
        return False
    return True


def _already(
    session: Session, table: Table, rows: Sequence[Values]
) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    keys = tuple(table.primary_key)
    clocks = [table.columns[name] for name in _CLOCKS if name in table.columns]
    wanted = [_key(table, values) for values in rows]
    query = select(*keys, *clocks).where(tuple_(*keys).in_(wanted))
    return {_key(table, row): dict(row) for row in session.execute(query).mappings()}


def _key(table: Table, values: Mapping[Any, Any]) -> tuple[Any, ...]:
    return tuple(values[column.name] for column in table.primary_key)
