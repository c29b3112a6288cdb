"""Finds and reads rows of annotation inside a transaction; what counts, what is free.

    what counts     of one person's annotations of one item the newest, unless they skipped it
    what is free    an item is somebody's to judge who said nothing of it, while those who judged
                    it and those who hold it are fewer than the overlap; a gold one is everybody's,
                    where gold is mixed in

Only the store imports this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime
from typing import cast

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    Subquery,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import Session, aliased

from llava_chat.errors import NotFoundError
from llava_chat.store import rows
from llava_chat.store.annotated import (
    Draft,
    Item,
    KeptAnnotation,
    Member,
    Outcome,
    Project,
    RoleName,
)
from llava_chat.store.annotation_schema import (
    AnnotationRow,
    DraftRow,
    ItemRow,
    LeaseRow,
    MemberRow,
    ProjectRow,
)
from llava_chat.store.schema import ConsentRow, ConversationRow, MessageRow, UtcDateTime


def shown() -> ColumnElement[bool]:
    """Not an item made from a chat that is not kept or whose owner agrees no longer."""
    agreed = (
        exists()
        .where(MessageRow.id == ItemRow.source_id)
        .where(ConversationRow.id == MessageRow.conversation_id, ConversationRow.kept)
        .where(ConsentRow.owner == ConversationRow.owner, ConsentRow.keep)
    )
    return or_(ItemRow.source_id.is_(None), agreed)


def newest() -> ColumnElement[bool]:
    """An annotation after which the same person said nothing of the item."""
    newer = aliased(AnnotationRow)
    return ~(
        exists()
        .where(newer.item_id == AnnotationRow.item_id)
        .where(newer.annotator == AnnotationRow.annotator)
        .where(newer.position > AnnotationRow.position)
    )


def counts() -> ColumnElement[bool]:
    """An annotation that makes its person one of those who judged the item."""
    return and_(AnnotationRow.outcome != "skipped", newest())


def finished(project_id: str | BindParameter[str]) -> Subquery:
    """How many people judged each item: item_id, people."""
    return (
        select(AnnotationRow.item_id, func.count().label("people"))
        .join(ItemRow, ItemRow.id == AnnotationRow.item_id)
        .where(ItemRow.project_id == project_id, counts())
        .group_by(AnnotationRow.item_id)
        .subquery()
    )


# Built once: with what each request asks, building them again would take most of its time.
_ITEM = select(ItemRow).where(ItemRow.id == bindparam("item"), shown())
_NEWEST_OF = (
    select(AnnotationRow)
    .where(AnnotationRow.item_id == bindparam("item"), AnnotationRow.annotator == bindparam("me"))
    .order_by(AnnotationRow.position.desc())
    .limit(1)
)
_GIVEN = union_all(
    *(
        select(table.item_id).where(
            table.item_id == bindparam("item"), table.annotator == bindparam("me")
        )
        for table in (LeaseRow, DraftRow, AnnotationRow)
    )
).limit(1)
_TAKEN = select(
    select(func.count())
    .select_from(AnnotationRow)
    .where(AnnotationRow.item_id == bindparam("item"), AnnotationRow.annotator != bindparam("me"))
    .where(counts())
    .scalar_subquery()
    + select(func.count())
    .select_from(LeaseRow)
    .where(LeaseRow.item_id == bindparam("item"), LeaseRow.annotator != bindparam("me"))
    .where(LeaseRow.expires_at > bindparam("now", type_=UtcDateTime))
    .scalar_subquery()
)
_TOTAL = select(func.count()).where(ItemRow.project_id == bindparam("project"), shown())


def project(session: Session, project_id: str, *, to_change: bool = False) -> ProjectRow:
    """The project; to_change: held until the transaction ends. Raises NotFoundError."""
    row = session.get(ProjectRow, rows.storable(project_id), with_for_update=to_change or None)
    if row is None:
        raise NotFoundError("There is no such project: it may have been deleted.")
    return row


def item(session: Session, item_id: str) -> ItemRow:
    """The item, of whatever project. Raises NotFoundError, also where it is shown no longer."""
    row = session.scalar(_ITEM, {"item": rows.storable(item_id)})
    if row is None:
        raise NotFoundError("There is no such item: it may have been deleted.")
    return row


def newest_of(session: Session, item_id: str, annotator: str) -> AnnotationRow | None:
    """What this person said of the item last."""
    return session.scalar(_NEWEST_OF, {"item": item_id, "me": annotator})


def judged_by(session: Session, item_id: str, annotator: str) -> bool:
    """Whether this person is one of those who judged the item."""
    row = newest_of(session, item_id, annotator)
    return row is not None and row.outcome != "skipped"


def was_given(session: Session, item_id: str, annotator: str) -> bool:
    """Whether this person holds or held the item, has a draft of it, or said something of it."""
    return session.scalar(_GIVEN, {"item": item_id, "me": annotator}) is not None


def taken(session: Session, item_id: str, but_by: str, now: datetime) -> int:
    """How many others judged the item or hold it."""
    return int(session.scalars(_TAKEN, {"item": item_id, "me": but_by, "now": now}).one())


def total(session: Session, project_id: str) -> int:
    """How many items the project has."""
    return session.scalars(_TOTAL, {"project": project_id}).one()


def as_member(row: MemberRow) -> Member:
    """The row as a value."""
    return Member(row.owner, row.name, cast(RoleName, row.role), row.study)


def as_project(row: ProjectRow) -> Project:
    """The row as a value."""
    return Project(**{field.name: getattr(row, field.name) for field in fields(Project)})


def as_item(row: ItemRow) -> Item:
    """The row as a value."""
    return Item(
        id=row.id,
        project_id=row.project_id,
        position=row.position,
        content=row.content,
        gold=row.gold,
        picture_ids=tuple(picture.picture_id for picture in row.pictures),
        source_id=row.source_id,
    )


def as_annotation(row: AnnotationRow) -> KeptAnnotation:
    """The row as a value."""
    return KeptAnnotation(
        id=row.id,
        outcome=cast(Outcome, row.outcome),
        values=row.values,
        note=row.note,
        lead_time_s=row.lead_time_s,
        version=row.position + 1,
        created_at=row.created_at,
    )


def as_draft(row: DraftRow | None) -> Draft | None:
    """The row as a value."""
    return None if row is None else Draft(row.values, row.lead_time_s)


def items_of(project_ids: Iterable[str]) -> Select[str, int]:
    """How many items each of these projects has: project_id, count."""
    return (
        select(ItemRow.project_id, func.count())
        .where(ItemRow.project_id.in_(list(project_ids)), shown())
        .group_by(ItemRow.project_id)
    )
