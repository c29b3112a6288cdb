"""Feedback as a table: the columns of a row or of a vote, for `csv` and for `parquet`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llava_chat.feedback.comparisons import ComparisonRow
from llava_chat.feedback.export.documents import document, vote_document
from llava_chat.feedback.export.pictures import picture_name
from llava_chat.feedback.export.preferences import images, prompt
from llava_chat.feedback.export.tables import Kind, Table
from llava_chat.feedback.rows import FeedbackRow
from llava_chat.store import Message

Row = FeedbackRow | ComparisonRow

COLUMNS = (
    "owner",
    "conversation_id",
    "reply_id",
    "asked",
    "reply",
    "pictures",
    "model",
    "revision",
    "adapter",
    "template",
    "liked",
    "reasons",
    "comment",
    "correction",
    "ranking",
    "said_at",
    "choice",
    "blind",
    "turn",
    "comparison_id",
    "other_reply_id",
    "other_reply",
    "other_model",
    "other_revision",
    "other_adapter",
)


def _cells(row: Row) -> Mapping[str, str | None]:
    """The columns in their order, as text."""
    values = dict.fromkeys(COLUMNS) | {
        "owner": row.owner,
        "pictures": " ".join(picture_name(picture_id) for picture_id in row.picture_ids),
    }
    return values | (_of_vote(row) if isinstance(row, ComparisonRow) else _of_reply(row))


def _typed(row: Row) -> Mapping[str, Any]:
    values: dict[str, Any] = dict(_cells(row))
    del values["pictures"]
    return values | _of_other_types(row)


def _of_other_types(row: Row) -> dict[str, Any]:
    """What is more than text in a parquet file."""
    if isinstance(row, ComparisonRow):
        return {
            "liked": None,
            "reasons": list(row.vote.reasons),
            "ranking": [],
            "blind": row.vote.blind,
            "turn": row.vote.turn,
            "prompt": json.dumps(prompt(row.left), ensure_ascii=False),
            "row": json.dumps(vote_document(row), ensure_ascii=False),
        }
    return {
        "liked": None if row.rating is None else row.rating.liked,
        "reasons": [] if row.rating is None else list(row.rating.reasons),
        "ranking": [message.text for message in row.ranked],
        "blind": None,
        "turn": None,
        "prompt": json.dumps(prompt(row.path), ensure_ascii=False),
        "row": json.dumps(document(row), ensure_ascii=False),
    }


def _of_reply(row: FeedbackRow) -> dict[str, str | None]:
    rating = row.rating
    return {
        "conversation_id": row.conversation_id,
        "asked": row.path[-2].text,
        **_reply(row.reply),
        "template": None if row.reply.record is None else row.reply.record.template,
        "liked": None if rating is None else "yes" if rating.liked else "no",
        "reasons": None if rating is None else " ".join(rating.reasons),
        "comment": None if rating is None else rating.comment,
        "correction": None if row.correction is None else row.correction.text,
        "ranking": " ".join(message.id for message in row.ranked),
        "said_at": row.said_at.isoformat(),
    }


def _of_vote(row: ComparisonRow) -> dict[str, str | None]:
    """The reply is the left one, the other the right one."""
    left, vote = row.left[-1], row.vote
    return {
        "conversation_id": row.comparison.left_id,
        "asked": row.left[-2].text,
        **_reply(left),
        "template": None if left.record is None else left.record.template,
        "reasons": " ".join(vote.reasons),
        "comment": vote.comment,
        "said_at": vote.created_at.isoformat(),
        "choice": vote.choice,
        "blind": "yes" if vote.blind else "no",
        "turn": str(vote.turn),
        "comparison_id": row.comparison.id,
        **{f"other_{name}": value for name, value in _reply(row.right[-1]).items()},
    }


def _reply(message: Message) -> dict[str, str | None]:
    record = message.record
    return {
        "reply_id": message.id,
        "reply": message.text,
        "model": None if record is None else record.model_id,
        "revision": None if record is None else record.revision,
        "adapter": None if record is None else record.adapter,
    }


def _kinds() -> Mapping[str, Kind]:
    kinds: dict[str, Kind] = {name: "string" for name in COLUMNS if name != "pictures"}
    kinds |= {"liked": "bool", "reasons": "strings", "ranking": "strings"}
    kinds |= {"blind": "bool", "turn": "int64"}
    return kinds | {"prompt": "string", "row": "string"}


FEEDBACK: Table[Row] = Table(COLUMNS, _cells, _kinds(), _typed, images)
"""Of what people said of replies in their chats and in comparisons."""
