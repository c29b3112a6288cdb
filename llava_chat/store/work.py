"""What annotators do: take an item, fill in a draft, say something of it, give it back.

Every change is one transaction that begins by holding the project's row. So of all who want the
last place on an item one gets it, in PostgreSQL and with several processes too: no lease is given
twice, and no more people than the overlap judge an item. Only `feedback` uses this class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from llava_chat.errors import ConflictError, NotFoundError
from llava_chat.store import annotation_rows, rows
from llava_chat.store.annotated import (
    GivenItem,
    Item,
    KeptAnnotation,
    Member,
    Project,
    Said,
    Share,
)
from llava_chat.store.annotation_schema import (
    AnnotationRow,
    DraftRow,
    ItemRow,
    LeaseRow,
    MemberRow,
    ProjectRow,
)
from llava_chat.store.conversations import ConversationStore
from llava_chat.store.queue import Queue


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Work:
    """The items of a store as annotators have them. Methods may be called from any thread.

    wording: of the consent that counts. now: tells the time, in UTC. The methods that keep
    something raise ConsentError where the person has not agreed to it, NotFoundError for an item
    that they were not given, and StoreError when the database fails.
    """

    def __init__(
        self, store: ConversationStore, wording: str, now: Callable[[], datetime] = _utc_now
    ) -> None:
        self._database = store.database
        self._wording = wording
        self._now = now

    def next(self, member: Member, project_id: str) -> tuple[GivenItem | None, Share]:
        """The item that this person holds in the project, else another one, leased to them.

        None: nothing is left for them now.
        """
        with self._database.write() as session:
            project = annotation_rows.project(session, project_id, to_change=True)
            rows.check_consent(session, member.owner, self._wording)
            _remember(session, member, self._now())
            queue = Queue(session, project, member.owner, self._now())
            row, share = queue.next(), queue.share()
            if row is None:
                return None, share
            self._lease(session, project, row.id, member.owner)
            return self._given(session, row, member.owner), share

    def share(self, member: Member, project_id: str) -> Share:
        """What this person did of the project, and what there is for them."""
        with self._database.read() as session:
            project = annotation_rows.project(session, project_id)
            return Queue(session, project, member.owner, self._now()).share()

    def project_of(self, item_id: str) -> tuple[Project, Item]:
        """The project of an item, and the item, for whoever was given it to check."""
        with self._database.read() as session:
            row = annotation_rows.item(session, item_id)
            project = annotation_rows.project(session, row.project_id)
            return annotation_rows.as_project(project), annotation_rows.as_item(row)

    def draft(
        self, member: Member, item_id: str, values: Mapping[str, Any], lead_time_s: float
    ) -> float | None:
        """Keep what is filled in, and renew the lease; the seconds that it lasts.

        None: the item is held no longer, because others took its last places, or was judged.
        """
        with self._database.write() as session:
            project, item = self._held_by(session, member, item_id)
            key = (item.id, member.owner)
            row = session.get(DraftRow, key) or DraftRow(item_id=item.id, annotator=member.owner)
            row.values, row.lead_time_s = dict(values), lead_time_s
            row.updated_at = self._now()
            session.add(row)
            return self._renewed(session, project, item, member.owner)

    def keep(self, member: Member, item_id: str, said: Said) -> None:
        """Keep what is said of an item as this person's newest; the same again changes nothing.

        The draft and the lease are over then. Raises ConflictError where others have taken all
        places of the item since the lease ran out, and for an id that something else has.
        """
        with self._database.write() as session:
            project, item = self._held_by(session, member, item_id)
            known = session.get(AnnotationRow, said.id)
            if known is not None:
                self._check_repeat(known, item.id, member.owner, said)
                return
            if said.outcome != "skipped":
                self._check_room(session, project, item, member.owner)
            earlier = annotation_rows.newest_of(session, item.id, member.owner)
            session.add(
                AnnotationRow(
                    **{**vars(said), "values": dict(said.values)},
                    item_id=item.id,
                    annotator=member.owner,
                    position=0 if earlier is None else earlier.position + 1,
                    created_at=self._now(),
                )
            )
            for table in (LeaseRow, DraftRow):
                session.execute(delete(table).filter_by(item_id=item.id, annotator=member.owner))

    def release(self, member: Member, item_id: str) -> None:
        """Give the lease back; the draft stays."""
        with self._database.write() as session:
            _, item = self._held_by(session, member, item_id)
            session.execute(delete(LeaseRow).filter_by(item_id=item.id, annotator=member.owner))

    def open(self, member: Member, item_id: str) -> GivenItem:
        """An item that this person holds, held, or judged, as it is theirs."""
        with self._database.read() as session:
            row = annotation_rows.item(session, item_id)
            _check_given(session, row.id, member)
            return self._given(session, row, member.owner)

    def mine(
        self, member: Member, project_id: str, limit: int, before: datetime | None
    ) -> list[tuple[str, int, KeptAnnotation]]:
        """What this person said last of each item: its id, its position, what; newest first.

        before: only what was said before that time.
        """
        with self._database.read() as session:
            annotation_rows.project(session, project_id)
            query = (
                select(ItemRow.id, ItemRow.position, AnnotationRow)
                .join(AnnotationRow, AnnotationRow.item_id == ItemRow.id)
                .where(ItemRow.project_id == project_id, annotation_rows.shown())
                .where(AnnotationRow.annotator == member.owner, annotation_rows.newest())
                .order_by(AnnotationRow.created_at.desc(), AnnotationRow.id)
                .limit(limit)
            )
            if before is not None:
                query = query.where(AnnotationRow.created_at < before)
            return [
                (id, position, annotation_rows.as_annotation(row))
                for id, position, row in session.execute(query)
            ]

    def _held_by(
        self, session: Session, member: Member, item_id: str
    ) -> tuple[ProjectRow, ItemRow]:
        """Hold the project of an item that this person was given."""
        item = annotation_rows.item(session, item_id)
        project = annotation_rows.project(session, item.project_id, to_change=True)
        rows.check_consent(session, member.owner, self._wording)
        _check_given(session, item.id, member)
        return project, item

    def _check_repeat(self, known: AnnotationRow, item_id: str, owner: str, said: Said) -> None:
        was = (known.item_id, known.annotator, known.outcome, known.values, known.note)
        if was != (item_id, owner, said.outcome, dict(said.values), said.note):
            raise ConflictError(
                "Something else has this id already, so nothing was saved: make a new id."
            )

    def _check_room(self, session: Session, project: ProjectRow, item: ItemRow, owner: str) -> None:
        if not self._has_room(session, project, item, owner):
            raise ConflictError(
                "Your time for this item ran out and others have taken it since, so this was not "
                "saved. What you filled in is kept as a draft; go on with the next item."
            )

    def _has_room(self, session: Session, project: ProjectRow, item: ItemRow, owner: str) -> bool:
        """Whether this person may judge the item: they did, they hold it, or a place is free."""
        now = self._now()
        lease = session.get(LeaseRow, (item.id, owner))
        return (
            (lease is not None and lease.expires_at > now)
            or (item.gold is not None and project.gold_every > 0)
            or annotation_rows.judged_by(session, item.id, owner)
            or annotation_rows.taken(session, item.id, owner, now) < project.overlap
        )

    def _renewed(
        self, session: Session, project: ProjectRow, item: ItemRow, owner: str
    ) -> float | None:
        if annotation_rows.newest_of(session, item.id, owner) is not None:
            return None  # a newer version of what they said needs no lease
        if not self._has_room(session, project, item, owner):
            return None
        return self._lease(session, project, item.id, owner)

    def _lease(self, session: Session, project: ProjectRow, item_id: str, owner: str) -> float:
        now = self._now()
        row = session.get(LeaseRow, (item_id, owner))
        if row is None:
            row = LeaseRow(item_id=item_id, annotator=owner, taken_at=now)
            session.add(row)
        row.expires_at = now + timedelta(seconds=project.lease_s)
        return project.lease_s

    def _given(self, session: Session, row: ItemRow, owner: str) -> GivenItem:
        newest = annotation_rows.newest_of(session, row.id, owner)
        lease = session.get(LeaseRow, (row.id, owner))
        left_s = None if lease is None else (lease.expires_at - self._now()).total_seconds()
        return GivenItem(
            item=annotation_rows.as_item(row),
            total=annotation_rows.total(session, row.project_id),
            draft=annotation_rows.as_draft(session.get(DraftRow, (row.id, owner))),
            annotation=None if newest is None else annotation_rows.as_annotation(newest),
            lease_s=None if left_s is None else max(0.0, left_s),
        )


def _check_given(session: Session, item_id: str, member: Member) -> None:
    if not annotation_rows.was_given(session, item_id, member.owner):
        raise NotFoundError("There is no such item for you: ask for the next one.")


def _remember(session: Session, member: Member, now: datetime) -> None:
    """Keep who somebody is; what they came with from Prolific stays when they come without it."""
    told = MemberRow(owner=member.owner, name=rows.storable(member.name), role=member.role)
    told.study = None if member.study is None else dict(member.study)
    told.created_at = now
    known = session.get(MemberRow, member.owner)
    if known is None and rows.added_first(session, told):
        return
    row = known or session.get_one(MemberRow, member.owner)
    row.name, row.role = told.name, told.role
    row.study = told.study or row.study
