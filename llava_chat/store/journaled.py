"""The rows that outlive this disk where what people said is copied elsewhere, and in which order.

Of people who agreed: what they said of replies, of pairs and of items, and the kept conversations
that it hangs on, with their pictures. Whoever takes back, deletes or says no takes rows off this
list; the difference is what a copy has to learn. Leases are not on it: they run out by themselves.
A table that people's words are kept in is added here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, or_, select, union
from sqlalchemy.orm import Session

from llava_chat.store.annotation_schema import (
    AnnotationRow,
    DraftRow,
    ItemPictureRow,
    ItemRow,
    MemberRow,
    ProjectRow,
)
from llava_chat.store.conversations import ConversationStore
from llava_chat.store.schema import (
    Base,
    ComparisonRow,
    ComparisonVoteRow,
    ConsentRow,
    ConversationRow,
    CorrectionRow,
    MessagePictureRow,
    MessageRow,
    PictureRow,
    RankingRow,
    RatingRow,
    ReplyRecordRow,
)

PICTURES = PictureRow.__tablename__
FETCHED_ROWS = 500  # in one query by their keys
_NEVER_CHANGED = (MessageRow, ReplyRecordRow)  # and nearly all of the bytes

_agreed = select(ConsentRow.owner).where(ConsentRow.keep)
_said = union(
    *(
        select(MessageRow.conversation_id).join(table, table.message_id == MessageRow.id)
        for table in (RatingRow, CorrectionRow, RankingRow)
    ),
    *(
        select(side).join(ComparisonVoteRow, ComparisonVoteRow.comparison_id == ComparisonRow.id)
        for side in (ComparisonRow.left_id, ComparisonRow.right_id)
    ),
    select(MessageRow.conversation_id).join(ItemRow, ItemRow.source_id == MessageRow.id),
)
_conversations = select(ConversationRow.id).where(
    ConversationRow.kept, ConversationRow.owner.in_(_agreed), ConversationRow.id.in_(_said)
)
_messages = select(MessageRow.id).where(MessageRow.conversation_id.in_(_conversations))
_comparisons = select(ComparisonRow.id).where(
    ComparisonRow.left_id.in_(_conversations), ComparisonRow.right_id.in_(_conversations)
)
_items = select(ItemRow.id).where(
    or_(ItemRow.source_id.is_(None), ItemRow.source_id.in_(_messages))
)
_pictures = union(
    select(MessagePictureRow.picture_id).where(MessagePictureRow.message_id.in_(_messages)),
    select(ItemPictureRow.picture_id).where(ItemPictureRow.item_id.in_(_items)),
)

# Parents before their children; None: every row.
_WANTED: tuple[tuple[type[Base], ColumnElement[bool] | None], ...] = (
    (ConsentRow, ConsentRow.keep.is_(True)),
    (ConversationRow, ConversationRow.id.in_(_conversations)),
    (MessageRow, MessageRow.id.in_(_messages)),
    (ReplyRecordRow, ReplyRecordRow.message_id.in_(_messages)),
    (PictureRow, PictureRow.id.in_(_pictures)),
    (MessagePictureRow, MessagePictureRow.message_id.in_(_messages)),
    *(
        (table, table.message_id.in_(_messages) & table.owner.in_(_agreed))
        for table in (RatingRow, CorrectionRow, RankingRow)
    ),
    (ComparisonRow, ComparisonRow.id.in_(_comparisons)),
    (ComparisonVoteRow, ComparisonVoteRow.comparison_id.in_(_comparisons)),
    (MemberRow, MemberRow.owner.in_(_agreed)),
    (ProjectRow, None),
    (ItemRow, ItemRow.id.in_(_items)),
    (ItemPictureRow, ItemPictureRow.item_id.in_(_items)),
    *(
        (table, table.item_id.in_(_items) & table.annotator.in_(_agreed))
        for table in (DraftRow, AnnotationRow)
    ),
)
TABLES: Mapping[str, Table] = {table.__tablename__: table.__table__ for table, _ in _WANTED}  # type: ignore[misc]
"""By name, parents before their children."""


@dataclass(frozen=True)
class JournaledRow:
    """One row. key: its primary key, the columns joined by "/". values: as JSON takes them, times
    in ISO 8601; None for one that cannot have changed since it was known."""

    table: str
    key: str
    values: Mapping[str, Any] | None


def journaled_rows(
    store: ConversationStore, known: Callable[[str, str], bool]
) -> Iterator[JournaledRow]:
    """All rows that are to outlive this disk, from one state of the database.

    known: by table and key; what never changes is not read again then. Raises StoreError.
    """
    with store.database.read() as session:
        for mapped, condition in _WANTED:
            table = TABLES[mapped.__tablename__]
            if mapped in _NEVER_CHANGED:
                yield from _news(session, table, condition, known)
                continue
            query = select(table) if condition is None else select(table).where(condition)
            yield from _read(session, table, query)


def row_key(table: str, values: Mapping[str, Any]) -> str:
    """The primary key of a row as one text."""
    return "/".join(str(values[column.name]) for column in TABLES[table].primary_key)


def _news(
    session: Session,
    table: Table,
    condition: ColumnElement[bool] | None,
    known: Callable[[str, str], bool],
) -> Iterator[JournaledRow]:
    (key,) = table.primary_key
    query = select(key) if condition is None else select(key).where(condition)
    unknown = []
    for found in session.scalars(query):
        if known(table.name, found):
            yield JournaledRow(table.name, found, None)
        else:
            unknown.append(found)
    for start in range(0, len(unknown), FETCHED_ROWS):
        some = unknown[start : start + FETCHED_ROWS]
        yield from _read(session, table, select(table).where(key.in_(some)))


def _read(session: Session, table: Table, query: Select[Any]) -> Iterator[JournaledRow]:
    for row in session.execute(query.execution_options(yield_per=FETCHED_ROWS)).mappings():
        values = {name: _told(value) for name, value in row.items()}
        yield JournaledRow(table.name, row_key(table.name, values), values)


def _told(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def in_order(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Rows by table, parents before their children, also among messages."""
    places = {name: place for place, name in enumerate(TABLES)}
    return sorted(rows, key=lambda row: (places[row[0]], row[1].get("position") or 0))
