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

from sqlalchemy import ColumnElement, Select, case, false, func, or_, select
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
        self._annotator = annotator
        self._now = now
        self._finished = annotation_rows.finished(project.id)
        self._held = annotation_rows.held(project.id, annotator, now)

    def next(self) -> ItemRow | None:
        """The item to give this person, None where nothing is left for them now."""
        if self._holding is not None or not self._project.open:
            return self._holding
        return self._drafted() or (self._gold() if self._gold_is_due else None) or self._ordinary()

    def share(self) -> Share:
        """What this person did, and what there is for them, the item that they hold included."""
        if not self._project.open:
            return Share(self._done.judged, int(self._holding is not None), later=False)
        there, done = self._there, self._done
        gold = self._gold_turns(done.others + there.free) - done.gold
        left = there.free + min(there.gold, max(0, gold))
        return Share(done.judged, left, later=left == 0 and there.unfinished > 0)

    @cached_property
    def _holding(self) -> ItemRow | None:
        query = self._items().join(LeaseRow, LeaseRow.item_id == ItemRow.id)
        query = query.where(LeaseRow.annotator == self._annotator, LeaseRow.expires_at > self._now)
        return self._session.scalar(query.order_by(LeaseRow.taken_at).limit(1))

    @cached_property
    def _done(self) -> _Done:
        gold = self._is_gold
        query = (
            select(_how_many(~gold), _how_many(gold), _how_many(AnnotationRow.outcome != "skipped"))
            .join(ItemRow, ItemRow.id == AnnotationRow.item_id)
            .where(ItemRow.project_id == self._project.id)
            .where(AnnotationRow.annotator == self._annotator, annotation_rows.newest())
        )
        return _Done(*self._session.execute(query).one())

    @cached_property
    def _there(self) -> _There:
        finished = func.coalesce(self._finished.c.people, 0)
        unfinished = ~self._is_gold & (finished < self._project.overlap)
        query = self._not_judged().with_only_columns(
            _how_many(~self._is_gold & self._has_place),
            _how_many(unfinished),
            _how_many(self._is_gold),
        )
        return _There(*self._session.execute(query).one())

    @property
    def _gold_is_due(self) -> bool:
        return self._gold_turns(self._done.others) > self._done.gold

    def _gold_turns(self, others: int) -> int:
        key = f"{self._project.id} {self._annotator}"
        return gold_turns(others, self._project.gold_every, key)

    def _drafted(self) -> ItemRow | None:
        query = self._not_judged().join(DraftRow, DraftRow.item_id == ItemRow.id)
        query = query.where(DraftRow.annotator == self._annotator)
        query = query.where(or_(self._is_gold, self._has_place))
        return self._session.scalar(query.order_by(DraftRow.updated_at.desc()).limit(1))

    def _gold(self) -> ItemRow | None:
        query = self._not_judged().where(self._is_gold).order_by(ItemRow.position)
        return self._session.scalar(query.limit(1))

    def _ordinary(self) -> ItemRow | None:
        query = self._not_judged().where(~self._is_gold, self._has_place)
        finished = func.coalesce(self._finished.c.people, 0)
        return self._session.scalar(query.order_by(finished, ItemRow.position).limit(1))

    def _items(self) -> Select[ItemRow]:
        of_project = ItemRow.project_id == self._project.id
        return select(ItemRow).where(of_project, annotation_rows.shown())

    def _not_judged(self) -> Select[ItemRow]:
        """Items of which this person has said nothing, with who judged them and who holds them."""
        return (
            self._items()
            .outerjoin(self._finished, self._finished.c.item_id == ItemRow.id)
            .outerjoin(self._held, self._held.c.item_id == ItemRow.id)
            .where(annotation_rows.not_judged(self._annotator))
        )

    @property
    def _has_place(self) -> ColumnElement[bool]:
        taken = func.coalesce(self._finished.c.people, 0) + func.coalesce(self._held.c.people, 0)
        place: ColumnElement[bool] = taken < self._project.overlap
        return place

    @property
    def _is_gold(self) -> ColumnElement[bool]:
        """Not where gold comes as it stands among the others: it is one of them then."""
        return ItemRow.gold.is_not(None) if self._project.gold_every else false()


def _how_many(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


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
