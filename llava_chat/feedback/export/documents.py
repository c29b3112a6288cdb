"""A row as one JSON object: everything that is known of it, and enough to make the row again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from llava_chat.feedback.export.pictures import picture_name
from llava_chat.feedback.rows import FeedbackRow
from llava_chat.store import KeptCorrection, KeptRanking, KeptRating, Message


def document(row: FeedbackRow) -> dict[str, Any]:
    """The object of a row; docs/feedback.md tells its fields. Times in ISO 8601, UTC."""
    return {
        "owner": row.owner,
        "conversation": {
            "id": row.conversation_id,
            "created_at": row.conversation_created_at.isoformat(),
        },
        "path": [_message(message, row) for message in row.path],
        "rating": None if row.rating is None else said(row.rating),
        "correction": None if row.correction is None else said(row.correction),
        "ranking": None if row.ranking is None else said(row.ranking),
        "ranked": [_message(message, row) for message in row.ranked],
    }


def said(what: KeptRating | KeptCorrection | KeptRanking) -> dict[str, Any]:
    """A rating, correction or ranking as an object."""
    told = asdict(what)
    for name in ("created_at", "updated_at"):
        if name in told:
            told[name] = told[name].isoformat()
    return told


def _message(message: Message, row: FeedbackRow) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": message.id,
        "parent_id": message.parent_id,
        "position": row.positions[message.id],
        "role": message.role,
        "text": message.text,
        "created_at": message.created_at.isoformat(),
    }
    if message.role == "user":
        return told | {"pictures": [picture_name(id) for id in message.picture_ids]}
    return told | {
        "token_ids": message.token_ids,
        "finish": message.finish,
        "record": None if message.record is None else asdict(message.record),
    }
