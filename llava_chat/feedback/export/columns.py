"""Feedback as a table: the columns of a row, for `csv` and for `parquet`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llava_chat.feedback.export.documents import document
from llava_chat.feedback.export.pictures import picture_name
from llava_chat.feedback.export.preferences import images, prompt
from llava_chat.feedback.export.tables import Kind, Table
from llava_chat.feedback.rows import FeedbackRow

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
)


def _cells(row: FeedbackRow) -> Mapping[str, str | None]:
    """The columns in their order, as text."""
    record, rating = row.reply.record, row.rating
    return {
        "owner": row.owner,
        "conversation_id": row.conversation_id,
        "reply_id": row.reply.id,
        "asked": row.path[-2].text,
        "reply": row.reply.text,
        "pictures": " ".join(picture_name(picture_id) for picture_id in row.picture_ids),
        "model": None if record is None else record.model_id,
        "revision": None if record is None else record.revision,
        "adapter": None if record is None else record.adapter,
        "template": None if record is None else record.template,
        "liked": None if rating is None else "yes" if rating.liked else "no",
        "reasons": None if rating is None else " ".join(rating.reasons),
        "comment": None if rating is None else rating.comment,
        "correction": None if row.correction is None else row.correction.text,
        "ranking": " ".join(message.id for message in row.ranked),
        "said_at": row.said_at.isoformat(),
    }


def _typed(row: FeedbackRow) -> Mapping[str, Any]:
    values: dict[str, Any] = dict(_cells(row))
    values["liked"] = None if row.rating is None else row.rating.liked
    values["reasons"] = [] if row.rating is None else list(row.rating.reasons)
    values["ranking"] = [message.text for message in row.ranked]
    del values["pictures"]
    values["prompt"] = json.dumps(prompt(row), ensure_ascii=False)
    values["row"] = json.dumps(document(row), ensure_ascii=False)
    return values


def _kinds() -> Mapping[str, Kind]:
    kinds: dict[str, Kind] = {name: "string" for name in COLUMNS if name != "pictures"}
    kinds |= {"liked": "bool", "reasons": "strings", "ranking": "strings"}
    return kinds | {"prompt": "string", "row": "string"}


FEEDBACK = Table(COLUMNS, _cells, _kinds(), _typed, images)
"""Of what people said of replies in their chats."""
