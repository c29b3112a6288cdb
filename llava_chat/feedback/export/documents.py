"""A row as one JSON object: everything that is known of it, and enough to make the row again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from llava_chat.feedback.comparisons import ComparisonRow
from llava_chat.feedback.export.pictures import picture_name
from llava_chat.feedback.rows import FeedbackRow
from llava_chat.store import KeptCorrection, KeptRanking, KeptRating, KeptVote, Message


def document(row: FeedbackRow) -> dict[str, Any]:
    """The object of a row; docs/feedback.md tells its fields. Times in ISO 8601, UTC."""
    return {
        "owner": row.owner,
        "conversation": {
            "id": row.conversation_id,
            "created_at": row.conversation_created_at.isoformat(),
        },
        "path": [_message(message, row.positions) for message in row.path],
        "rating": None if row.rating is None else said(row.rating),
        "correction": None if row.correction is None else said(row.correction),
        "ranking": None if row.ranking is None else said(row.ranking),
        "ranked": [_message(message, row.positions) for message in row.ranked],
    }


def vote_document(row: ComparisonRow) -> dict[str, Any]:
    """The object of a vote: as above, with the conversations of both sides."""
    told = row.comparison

    def side(id: str, name: str, created_at: datetime, path: tuple[Message, ...]) -> dict[str, Any]:
        return {
            "conversation": {"id": id, "created_at": created_at.isoformat()},
            "name": name,
            "path": [_message(message, row.positions) for message in path],
        }

    return {
        "owner": row.owner,
        "comparison": {"id": told.id, "created_at": told.created_at.isoformat()},
        "left": side(told.left_id, told.left_name, row.left_created_at, row.left),
        "right": side(told.right_id, told.right_name, row.right_created_at, row.right),
        "vote": said(row.vote),
    }


def said(what: KeptRating | KeptCorrection | KeptRanking | KeptVote) -> dict[str, Any]:
    """A rating, correction, ranking or vote as an object."""
    told = asdict(what)
    for name in ("created_at", "updated_at"):
        if name in told:
            told[name] = told[name].isoformat()
    return told


def _message(message: Message, positions: Mapping[str, int]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": message.id,
        "parent_id": message.parent_id,
        "position": positions[message.id],
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
