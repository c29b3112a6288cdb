"""All that is kept of one person, for themselves: column by column, so that nothing is left out."""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime
from typing import Any

from sqlalchemy import Select, inspect, select
from sqlalchemy.orm import Session

from llava_chat.store.annotation_schema import AnnotationRow, DraftRow, LeaseRow, MemberRow
from llava_chat.store.conversations import ConversationStore
from llava_chat.store.schema import (
    Base,
    ComparisonRow,
    ComparisonVoteRow,
    ConsentRow,
    ConversationRow,
    CorrectionRow,
    MessageRow,
    RankingRow,
    RatingRow,
)

# Of a comparison whose names are still hidden: another model has other tokens, too.
_TELLING = ("left_name", "right_name", "system", "template", "settings", "token_ids")


def everything_of(store: ConversationStore, owner: str) -> dict[str, Any]:
    """What is kept of a person, as JSON takes it: times in ISO 8601, pictures by their hashes.

    `consent` and `member` are None or an object; `conversations` with all their `messages`,
    `ratings`, `corrections`, `rankings`, `comparisons` with their `votes`, `annotations`, `drafts`
    and `leases` are lists. What would tell who answers in a comparison is null until the person has
    voted on it. Raises StoreError.
    """
    with store.database.read() as session:
        owned = select(ConversationRow).filter_by(owner=owner).order_by(ConversationRow.created_at)
        consent, member = session.get(ConsentRow, owner), session.get(MemberRow, owner)
        compared = list(session.scalars(select(ComparisonRow).filter_by(owner=owner)))
        voted = set(session.scalars(select(ComparisonVoteRow.comparison_id)))
        blind = {
            id for row in compared if row.id not in voted for id in (row.left_id, row.right_id)
        }
        drafts = select(DraftRow).filter_by(annotator=owner).order_by(DraftRow.updated_at)
        leases = select(LeaseRow).filter_by(annotator=owner).order_by(LeaseRow.taken_at)
        return {
            "consent": None if consent is None else _columns(consent),
            "conversations": [
                {
                    **_columns(row, () if row.id not in blind else _TELLING),
                    "messages": _messages(session, row.id, blind=row.id in blind),
                }
                for row in session.scalars(owned)
            ],
            "ratings": _all(session, select(RatingRow).filter_by(owner=owner)),
            "corrections": _all(session, select(CorrectionRow).filter_by(owner=owner)),
            "rankings": _all(session, select(RankingRow).filter_by(owner=owner)),
            "comparisons": [
                {
                    **_columns(row, () if row.id in voted else _TELLING),
                    "votes": _all(
                        session, select(ComparisonVoteRow).filter_by(comparison_id=row.id)
                    ),
                }
                for row in compared
            ],
            "member": None if member is None else _columns(member),
            "annotations": _all(session, select(AnnotationRow).filter_by(annotator=owner)),
            "drafts": [_columns(row) for row in session.scalars(drafts)],
            "leases": [_columns(row) for row in session.scalars(leases)],
        }


def _messages(session: Session, conversation_id: str, *, blind: bool) -> list[dict[str, Any]]:
    query = select(MessageRow).filter_by(conversation_id=conversation_id)
    return [
        {
            **_columns(row, _TELLING if blind else ()),
            "pictures": [picture.picture_id for picture in row.pictures],
            "record": None if blind or row.record is None else _columns(row.record),
        }
        for row in session.scalars(query.order_by(MessageRow.position))
    ]


def _all(session: Session, query: Select[Any]) -> list[dict[str, Any]]:
    return [_columns(row) for row in session.scalars(query.order_by("created_at", "id"))]


def _columns(row: Base, hidden: Container[str] = ()) -> dict[str, Any]:
    values = {
        column.key: None if column.key in hidden else getattr(row, column.key)
        for column in inspect(type(row)).mapper.column_attrs
    }
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    }
