"""`llava`: feedback as LLaVA's instruction JSON, as `train finetune` reads it.

A liked reply and a corrected one become the last answer of a conversation, the corrected one with
the correction's words. A row of that format has one picture, which comes with the first question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from llava_chat.feedback.export.pictures import LeftOut, PictureCopies, picture_name
from llava_chat.feedback.rows import FeedbackRow

PLACEHOLDER = "<image>"


def instructions(
    rows: Sequence[FeedbackRow], pictures: PictureCopies, left_out: Counter[str]
) -> Iterator[dict[str, Any]]:
    """The examples of one conversation's rows; what cannot be one is counted in left_out.

    Of two conversations of which one only goes on from the other, the longer one is written:
    training learns from every answer in it.
    """
    found: list[tuple[FeedbackRow, dict[str, Any]]] = []
    for row in rows:
        try:
            example = _example(row)
            pictures.need(row.picture_ids)
        except LeftOut as reason:
            left_out[str(reason)] += 1
        else:
            found.append((row, example))
    for row, example in found:
        if any(_goes_on(other, row) for other, _ in found):
            left_out["part of a longer conversation"] += 1
        else:
            yield example


def _goes_on(longer: FeedbackRow, row: FeedbackRow) -> bool:
    return len(longer.path) > len(row.path) and row.reply.id in {m.id for m in longer.path}


def _example(row: FeedbackRow) -> dict[str, Any]:
    if row.correction is None and (row.rating is None or not row.rating.liked):
        raise LeftOut("neither liked nor corrected")
    first, *further = row.path[::2]
    if len(first.picture_ids) > 1 or any(message.picture_ids for message in further):
        raise LeftOut("several pictures, or one that came later")
    messages = []
    for message in row.path:
        asked = message.role == "user"
        text = message.text if asked else _answer(row, message.id, message.text)
        messages.append({"from": "human" if asked else "gpt", "value": text})
    if any(PLACEHOLDER in message["value"] for message in messages):
        raise LeftOut(f"{PLACEHOLDER} typed as text")
    example: dict[str, Any] = {"id": row.reply.id}
    if first.picture_ids:
        example["image"] = picture_name(first.picture_ids[0])
        messages[0]["value"] = f"{PLACEHOLDER}\n{messages[0]['value']}"
    return example | {"conversations": messages}


def _answer(row: FeedbackRow, message_id: str, text: str) -> str:
    """What training shall learn to say in this place. Raises LeftOut when nobody knows."""
    opinion = row.earlier.get(message_id)
    if opinion is not None and opinion.correction is not None:
        return opinion.correction.text
    if opinion is not None and opinion.rating is not None and not opinion.rating.liked:
        raise LeftOut("an earlier reply is disliked and not corrected")
    if not text.strip():
        raise LeftOut("an empty reply")
    return text
