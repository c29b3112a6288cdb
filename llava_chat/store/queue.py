"""Which item somebody is given next, and how many are left for them.

First what they hold, then what they have a draft of; then a gold item where one is due, else of
those with a free place the one that the fewest have judged, by its position. Only the store imports
this module.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.orm import Session

from llava_chat.store import annotation_rows
from llava_chat.store.annotated import Share
from llava_chat.store.annotation_schema import (
    AnnotationRow,
    DraftRow,
    ItemRow,
    LeaseRow,
    ProjectRow,
)
from llava_chat.store.schema import UtcDateTime

_PROJECT, _ME = bindparam("project", type_=String), bindparam("me", type_=String)
_NOW = bindparam("now", type_=UtcDateTime)
_OVERLAP = bindparam("overlap", type_=Integer)
# Whether gold is mixed in: else it is one of the others.
_MIXED = bindparam("mixed", type_=Boolean)

_FINISHED = annotation_rows.finished(_PROJECT)
_HELD = (
    select(LeaseRow.item_id, func.count().label("people"))
    .join(ItemRow, ItemRow.id == LeaseRow.item_id)
    .where(ItemRow.project_id == _PROJECT)
    .where(LeaseRow.annotator != _ME, LeaseRow.expires_at > _NOW)
    .group_by(LeaseRow.item_id)
    .subquery()
)
_JUDGED = func.coalesce(_FINISHED.c.people, 0)
_HAS_PLACE: ColumnElement[bool] = _JUDGED + func.coalesce(_HELD.c.people, 0) < _OVERLAP
_GOLD = and_(ItemRow.gold.is_not(None), _MIXED)


def _how_many(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


# Built once: building them again would take most of a request's time.
_ITEMS = select(ItemRow).where(ItemRow.project_id == _PROJECT, annotation_rows.shown())
_HOLDING = (
    _ITEMS.join(LeaseRow, LeaseRow.item_id == ItemRow.id)
    .where(LeaseRow.annotator == _ME, LeaseRow.expires_at > _NOW)
    .order_by(LeaseRow.taken_at)
    .limit(1)
)
_DONE = (
    select(_how_many(~_GOLD), _how_many(_GOLD), _how_many(AnnotationRow.outcome != "skipped"))
    .join(ItemRow, ItemRow.id == AnnotationRow.item_id)
    .where(ItemRow.project_id == _PROJECT)
    .where(AnnotationRow.annotator == _ME, annotation_rows.newest())
)
_NOT_JUDGED = (
    _ITEMS.outerjoin(_FINISHED, _FINISHED.c.item_id == ItemRow.id)
    .outerjoin(_HELD, _HELD.c.item_id == ItemRow.id)
    .where(
        ~exists().where(AnnotationRow.item_id == ItemRow.id).where(AnnotationRow.annotator == _ME)
    )
)
_THERE = _NOT_JUDGED.with_only_columns(
    _how_many(~_GOLD & _HAS_PLACE), _how_many(~_GOLD & (_JUDGED < _OVERLAP)), _how_many(_GOLD)
)
_DRAFTED = (
    _NOT_JUDGED.join(DraftRow, DraftRow.item_id == ItemRow.id)
    .where(DraftRow.annotator == _ME, or_(_GOLD, _HAS_PLACE))
    .order_by(DraftRow.updated_at.desc())
    .limit(1)
)
_NEXT_GOLD = _NOT_JUDGED.where(_GOLD).order_by(ItemRow.position).limit(1)
_NEXT = _NOT_JUDGED.where(~_GOLD, _HAS_PLACE).order_by(_JUDGED, ItemRow.position).limit(1)


@dataclass(frozen=True)
class _Done:
    """What one person has judged or skipped of a project: others and gold. judged: not skipped."""

    others: int
    gold: int
    judged: int


@dataclass(frozen=True)
class _There:
    """What one person has said nothing of. free: others with a place for them. unfinished: others
    that too few have judged, be they held or not. gold: those that test people."""

    free: int
    unfinished: int
    gold: int


class Queue:
    """The items of a project as one person stands to them, inside a transaction."""

    def __init__(
        self, session: Session, project: ProjectRow, annotator: str, now: datetime
    ) -> None:
        self._session = session
        self._project = project
        self._asked = {
            "project": project.id,
            "me": annotator,
            "now": now,
            "overlap": project.overlap,
            "mixed": project.gold_every > 0,
        }

    def next(self) -> ItemRow | None:
        """The item to give this person, None where nothing is left for them now."""
        if self._holding is not None or not self._project.open:
            return self._holding
        due = self._gold_turns(self._done.others) > self._done.gold
        return self._one(_DRAFTED) or (self._one(_NEXT_GOLD) if due else None) or self._one(_NEXT)

    def share(self) -> Share:
        """What this person did, and what there is for them, the item that they hold included."""
        if not self._project.open:
            return Share(self._done.judged, int(self._holding is not None), later=False)
        done, there = self._done, _There(*self._session.execute(_THERE, self._asked).one())
        gold = self._gold_turns(done.others + there.free) - done.gold
        left = there.free + min(there.gold, max(0, gold))
        return Share(done.judged, left, later=left == 0 and there.unfinished > 0)

    @cached_property
    def _holding(self) -> ItemRow | None:
        return self._one(_HOLDING)

    @cached_property
    def _done(self) -> _Done:
        return _Done(*self._session.execute(_DONE, self._asked).one())

    def _gold_turns(self, others: int) -> int:
        key = f"{self._project.id} {self._asked['me']}"
        return gold_turns(others, self._project.gold_every, key)

    def _one(self, query: Select[ItemRow]) -> ItemRow | None:
        return self._session.scalar(query, self._asked)


def gold_turns(others: int, gold_every: int, key: str) -> int:
    """How many gold items are due to somebody who has judged so many others.

    One for each `gold_every` others, at a place among them that follows from the key and that
    nobody can foresee.

    >>> [gold_turns(n, 3, "a project and a person") for n in range(8)]
    [0, 0, 1, 1, 1, 2, 2, 3]
    >>> gold_turns(100, 0, "")
    0
    """
    if not gold_every:
        return 0
    block = others // gold_every
    digest = hashlib.sha256(f"{key} {block}".encode()).digest()
    turn = block * gold_every + 1 + int.from_bytes(digest[:8]) % gold_every
    return block + (turn <= others)
