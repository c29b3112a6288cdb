"""Removes what is kept no longer: what is old, what was not to be kept, all of one person's.

Conversations go one at a time, each in a transaction of its own, so that nobody waits for long; a
program that is killed meanwhile finds the rest at its next start. Whoever keeps other views of
pictures has to look afterwards which pictures are still kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from llava_chat.store.annotation_schema import (
    AnnotationRow,
    DraftRow,
    LeaseRow,
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
    RankingRow,
    RatingRow,
)

OPINIONS = (RatingRow, CorrectionRow, RankingRow, ConsentRow)


def remove_old(store: ConversationStore, keep_days: int | None) -> int:
    """Remove conversations, kept or not, that were not changed for `keep_days` days.

    None: nothing is too old. Being read or rated is no change. Drafts of annotations that nobody
    went on with for so long go too; annotations are their project's. Returns how many conversations
    went, with all that was said of them and the pictures that nobody else uses. Raises StoreError.
    """
    if keep_days is None:
        return 0
    before = datetime.now(UTC) - timedelta(days=keep_days)
    with store.database.write() as session:
        session.execute(delete(DraftRow).where(DraftRow.updated_at < before))
        session.execute(delete(LeaseRow).where(LeaseRow.expires_at < before))
    return _remove(store, (ConversationRow.updated_at < before,))


def remove_unkept(
    store: ConversationStore, *, owner: str | None = None, unchanged_for: timedelta = timedelta(0)
) -> int:
    """Remove the conversations that their owners did not want kept.

    owner: only this person's, who has left; None for everybody's. unchanged_for: only those that
    nobody has written in for so long; by default all, as when a server starts. Returns how many.
    Raises StoreError.
    """
    conditions = [~ConversationRow.kept]
    if owner is not None:
        conditions.append(ConversationRow.owner == owner)
    if unchanged_for:
        conditions.append(ConversationRow.updated_at < datetime.now(UTC) - unchanged_for)
    return _remove(store, conditions)


def remove_person(store: ConversationStore, owner: str) -> dict[str, int]:
    """Remove all that is kept of a person, at once: what they said, decided, wrote and sent.

    Returns how many there were of each. Pictures that others sent too stay. Raises StoreError.
    """
    with store.database.write() as session:
        own = select(ConversationRow.id).where(ConversationRow.owner == owner)
        # Locked first, as whoever rates does it: two in another order could wait for each other.
        session.scalars(own.order_by(ConversationRow.id).with_for_update()).all()
        messages = select(MessageRow.id).where(MessageRow.conversation_id.in_(own))
        pictures = select(MessagePictureRow.picture_id).where(
            MessagePictureRow.message_id.in_(messages)
        )
        used = set(session.scalars(pictures))
        counts = _comparisons(session, owner)
        of_them: tuple[tuple[type[Base], Any], ...] = (
            *((table, table.owner) for table in OPINIONS),
            *((table, table.annotator) for table in (LeaseRow, DraftRow, AnnotationRow)),
            (MemberRow, MemberRow.owner),
        )
        for table, whose in of_them:
            gone = session.scalars(delete(table).where(whose == owner).returning(whose)).all()
            counts[table.__tablename__] = len(gone)
        session.execute(  # a project is not theirs alone
            update(ProjectRow).where(ProjectRow.created_by == owner).values(created_by="")
        )
        counts["messages"] = session.scalar(messages.with_only_columns(func.count())) or 0
        gone = session.scalars(
            delete(ConversationRow)
            .where(ConversationRow.owner == owner)
            .returning(ConversationRow.id)
        ).all()
        counts["conversations"] = len(gone)
    store.forget(gone)
    return counts | {"pictures": len(store.remove_pictures(used))}


def _comparisons(session: Session, owner: str) -> dict[str, int]:
    """How many there are; both go with the conversations."""
    own = select(ComparisonRow.id).where(ComparisonRow.owner == owner)
    votes = select(ComparisonVoteRow.id).where(ComparisonVoteRow.comparison_id.in_(own))
    return {
        "comparisons": len(session.scalars(own).all()),
        "comparison_votes": len(session.scalars(votes).all()),
    }


def _remove(store: ConversationStore, conditions: Sequence[ColumnElement[bool]]) -> int:
    with store.database.read() as session:
        ids = list(session.scalars(select(ConversationRow.id).where(*conditions)))
    removed = 0
    for id in ids:
        with store.database.write() as session:
            used = store.kept_pictures.used_in(session, id)
            # Asked again: somebody may have gone on with it, or decided otherwise.
            gone = delete(ConversationRow).where(ConversationRow.id == id, *conditions)
            found = session.scalars(gone.returning(ConversationRow.id)).all()
        if found:
            removed += 1
            store.forget(found)
            store.remove_pictures(used)
    return removed
