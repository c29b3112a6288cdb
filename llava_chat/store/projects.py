"""Projects of annotation and their items, for those who lead: made, filled, changed, looked at.

Every change is one transaction that holds the project's row, so that positions have no gaps and
nobody is given an item by an overlap that is being changed. Only `feedback` uses this class; it
knows what forms and contents mean, and who leads.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from llava_chat.errors import NotFoundError
from llava_chat.store import annotation_rows, rows
from llava_chat.store.annotated import (
    Member,
    NewItem,
    Project,
    ProjectPlan,
    ProjectSummary,
    Result,
    Standing,
)
from llava_chat.store.annotation_schema import (
    AnnotationRow,
    ItemPictureRow,
    ItemRow,
    MemberRow,
    ProjectRow,
)
from llava_chat.store.conversations import ConversationStore
from llava_chat.store.schema import ConsentRow

RESULTS_TOGETHER = 200
"""Items whose annotations are read at once: some megabytes where all are long."""


class Projects:
    """The projects in a store. Methods may be called from any thread.

    They raise NotFoundError for what is not there, and StoreError when the database fails.
    """

    def __init__(self, store: ConversationStore) -> None:
        self._store = store
        self._database = store.database

    def create(self, plan: ProjectPlan, created_by: str) -> Project:
        """Keep a new project, open and without items."""
        row = ProjectRow(
            **{**vars(plan), "form": [dict(field) for field in plan.form]},
            id=uuid.uuid4().hex,
            open=True,
            created_by=created_by,
            created_at=datetime.now(UTC),
        )
        with self._database.write() as session:
            session.add(row)
        return annotation_rows.as_project(row)

    def project(self, project_id: str) -> Project:
        """One project."""
        with self._database.read() as session:
            return annotation_rows.as_project(annotation_rows.project(session, project_id))

    def named(self, name: str) -> list[Project]:
        """Those with this name or this id, the oldest first."""
        name = rows.storable(name)
        query = select(ProjectRow).where((ProjectRow.name == name) | (ProjectRow.id == name))
        with self._database.read() as session:
            found = session.scalars(query.order_by(ProjectRow.created_at, ProjectRow.id))
            return [annotation_rows.as_project(row) for row in found]

    def change(self, project_id: str, **news: Any) -> Project:
        """Let these take the place of the project's own. What was given out already stays so."""
        with self._database.write() as session:
            row = annotation_rows.project(session, project_id, to_change=True)
            for name, value in news.items():
                setattr(row, name, value)
            return annotation_rows.as_project(row)

    def add(self, project_id: str, items: Sequence[NewItem]) -> int:
        """Add items behind those that are there, all or none; returns how many.

        An item whose kept reply is one of the project's items already is passed over.
        """
        with self._database.write() as session:
            annotation_rows.project(session, project_id, to_change=True)
            of_project = select(ItemRow).where(ItemRow.project_id == project_id)
            last = session.scalar(of_project.with_only_columns(func.max(ItemRow.position)))
            position = -1 if last is None else last
            sources = of_project.with_only_columns(ItemRow.source_id)
            known = set(session.scalars(sources.where(ItemRow.source_id.is_not(None))))
            pictures = {picture.id: picture for item in items for picture in item.pictures}
            self._store.kept_pictures.keep_all(session, pictures.values())
            added = 0
            for item in items:
                if item.source_id in known:
                    continue
                added += 1
                session.add(_row(project_id, position + added, item))
            return added

    def remove(self, project_id: str) -> int:
        """Delete a project with all that was said in it; returns how many items it had."""
        with self._database.write() as session:
            row = annotation_rows.project(session, project_id, to_change=True)
            items = select(ItemRow.id).where(ItemRow.project_id == row.id)
            pictures = select(ItemPictureRow.picture_id).where(ItemPictureRow.item_id.in_(items))
            used = set(session.scalars(pictures))
            removed = session.scalar(select(func.count()).select_from(items.subquery())) or 0
            session.execute(delete(ProjectRow).where(ProjectRow.id == row.id))
        self._store.remove_pictures(used)
        return removed

    def summaries(self, annotator: str, *, all: bool = False) -> list[ProjectSummary]:
        """The projects that are open or in which this person said something, the oldest first.

        all: the others too.
        """
        with self._database.read() as session:
            found = session.scalars(
                select(ProjectRow).order_by(ProjectRow.created_at, ProjectRow.id)
            ).all()
            counted = session.execute(annotation_rows.items_of(row.id for row in found))
            items = {project_id: count for project_id, count in counted}
            summaries = []
            for row in found:
                done, mine, said = _done(session, row, annotator)
                if all or row.open or said:
                    project = annotation_rows.as_project(row)
                    summaries.append(ProjectSummary(project, items.get(row.id, 0), done, mine))
            return summaries

    def results(self, project_id: str, *, newest_only: bool = False) -> Iterator[Result]:
        """Every annotation of the project, item by item, of people who agree that it is kept.

        All come from one state of the database, held until the iterator ends or is closed.
        newest_only: leaves out what the same person said anew since.
        """
        with self._database.read() as session:
            annotation_rows.project(session, project_id)
            members = _members(session, project_id)
            query = select(ItemRow).where(ItemRow.project_id == project_id)
            query = query.where(annotation_rows.shown()).order_by(ItemRow.position)
            for some in session.scalars(query).partitions(RESULTS_TOGETHER):
                yield from _results_of(session, some, members, newest_only)

    def members(self) -> list[Member]:
        """Everybody who was ever given an item."""
        with self._database.read() as session:
            return [annotation_rows.as_member(row) for row in session.scalars(select(MemberRow))]

    def item_results(self, item_id: str) -> list[Result]:
        """What each person said of one item last, as in `results`."""
        with self._database.read() as session:
            row = annotation_rows.item(session, item_id)
            members = _members(session, row.project_id)
            return list(_results_of(session, [row], members, newest_only=True))

    def standing(self, project_id: str) -> Standing:
        """How far a project is: its items, and what was said of each without what it says.

        As in `results`, only of people who agree that it is kept; of one person's the newest.
        """
        with self._database.read() as session:
            row = annotation_rows.project(session, project_id)
            members = _members(session, project_id)
            of_project = (ItemRow.project_id == project_id, annotation_rows.shown())
            items = select(ItemRow.id, ItemRow.position, ItemRow.gold.is_not(None))
            said = (
                select(AnnotationRow, ItemRow.position)
                .join(ItemRow, ItemRow.id == AnnotationRow.item_id)
                .where(*of_project, annotation_rows.newest())
                .order_by(ItemRow.position, AnnotationRow.created_at)
            )
            return Standing(
                project=annotation_rows.as_project(row),
                items=[
                    (id, position, bool(gold))
                    for id, position, gold in session.execute(
                        items.where(*of_project).order_by(ItemRow.position)
                    )
                ],
                members=[members[annotator] for annotator in members],
                said=[
                    (position, members[said.annotator][0], annotation_rows.as_annotation(said))
                    for said, position in session.execute(said)
                    if said.annotator in members
                ],
            )

    def item_pictures(self, item_id: str, annotator: Member) -> tuple[str, ...]:
        """The ids of an item's pictures, for who was given it or leads; else NotFoundError."""
        with self._database.read() as session:
            row = annotation_rows.item(session, item_id)
            given = annotation_rows.was_given(session, row.id, annotator.owner)
            if not annotator.leads and not given:
                raise NotFoundError("There is no such item: it may have been deleted.")
            return annotation_rows.as_item(row).picture_ids


def _row(project_id: str, position: int, item: NewItem) -> ItemRow:
    return ItemRow(
        id=uuid.uuid4().hex,
        project_id=project_id,
        position=position,
        content=dict(item.content),
        gold=None if item.gold is None else dict(item.gold),
        source_id=item.source_id,
        pictures=[
            ItemPictureRow(position=place, picture_id=picture.id)
            for place, picture in enumerate(item.pictures)
        ],
    )


def _done(session: Session, row: ProjectRow, annotator: str) -> tuple[int, int, bool]:
    """What all did, what this person did, and whether they said anything, also that they skip."""
    finished = annotation_rows.finished(row.id)
    people = session.scalars(select(finished.c.people))
    done = sum(min(count, row.overlap) for count in people)
    said = (
        select(func.count())
        .select_from(AnnotationRow)
        .join(ItemRow, ItemRow.id == AnnotationRow.item_id)
        .where(ItemRow.project_id == row.id, AnnotationRow.annotator == annotator)
    )
    mine = session.scalar(said.where(annotation_rows.counts())) or 0
    return done, mine, bool(session.scalar(said))


def _members(session: Session, project_id: str) -> dict[str, tuple[int, Member]]:
    """Who said something in a project and agrees that it is kept, numbered as they came."""
    first = (
        select(AnnotationRow.annotator, func.min(AnnotationRow.created_at).label("at"))
        .join(ItemRow, ItemRow.id == AnnotationRow.item_id)
        .where(ItemRow.project_id == project_id)
        .group_by(AnnotationRow.annotator)
        .subquery()
    )
    query = (
        select(first.c.annotator, MemberRow, ConsentRow.keep)
        .outerjoin(MemberRow, MemberRow.owner == first.c.annotator)
        .outerjoin(ConsentRow, ConsentRow.owner == first.c.annotator)
        .order_by(first.c.at, first.c.annotator)
    )
    return {
        annotator: (number, Member(annotator) if row is None else annotation_rows.as_member(row))
        for number, (annotator, row, keep) in enumerate(session.execute(query), start=1)
        if keep
    }


def _results_of(
    session: Session,
    items: Sequence[ItemRow],
    members: dict[str, tuple[int, Member]],
    newest_only: bool,
) -> Iterator[Result]:
    said: dict[str, list[tuple[AnnotationRow, bool]]] = {row.id: [] for row in items}
    newest = annotation_rows.newest()
    query = select(AnnotationRow, newest).where(AnnotationRow.item_id.in_(list(said)))
    if newest_only:
        query = query.where(newest)
    order = (AnnotationRow.created_at, AnnotationRow.id)
    for row, is_newest in session.execute(query.order_by(*order)):
        said[row.item_id].append((row, bool(is_newest)))
    for item_row in items:
        item = annotation_rows.as_item(item_row)
        for row, is_newest in said[item_row.id]:
            if row.annotator in members:
                joined, member = members[row.annotator]
                yield Result(item, annotation_rows.as_annotation(row), is_newest, member, joined)
    session.expunge_all()  # what was read is not needed again, and may be large
