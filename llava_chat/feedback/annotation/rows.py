"""What was said of an item, as rows of feedback, so that training reads it like any other.

A correction is one of its reply, a ranking one of all of them, and a field with `"use": "rating"` a
thumb up or down. Imports the rows of feedback and the store's values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llava_chat.feedback.annotation.content import Content
from llava_chat.feedback.annotation.form import Field, Form
from llava_chat.feedback.rows import FeedbackRow
from llava_chat.store import (
    KeptCorrection,
    KeptRanking,
    KeptRating,
    Message,
    Opinion,
    Result,
)


def rows_of(form: Form, result: Result, owner: str) -> Iterator[FeedbackRow]:
    """A row for each reply of which the annotation says something that training learns from.

    owner: the annotator's hash. Of what was skipped or flagged there is none.
    """
    said, item = result.annotation, result.item
    if said.outcome != "answered":
        return
    content = Content.of(item.content, len(item.picture_ids))
    path, replies = _messages(content, result)
    order = _ranked(form, said.values)
    ranked = tuple(replies[place] for place in order)
    for place, reply in enumerate(replies):
        correction = _correction(form, said.values, place)
        liked = _liked(form, said.values, place)
        opinion = Opinion(
            rating=None
            if liked is None
            else KeptRating(said.id, liked, (), "", said.created_at, said.created_at),
            correction=None
            if correction is None
            else KeptCorrection(said.id, correction, said.created_at),
        )
        best = bool(order) and place == order[0]
        if opinion == Opinion() and not best:
            continue
        ids = tuple(message.id for message in ranked)
        yield FeedbackRow(
            owner=owner,
            conversation_id=item.id,
            conversation_created_at=said.created_at,
            path=(*path, reply),
            rating=opinion.rating,
            correction=opinion.correction,
            ranking=KeptRanking(said.id, ids, said.created_at) if best else None,
            ranked=ranked if best else (),
            earlier={reply.id: opinion},
        )


def liked_by(field: Field, value: Any) -> bool | None:
    """Whether a rating's value is a good one; None for the middle of a scale.

    >>> scale = {"type": "scale", "min": 1, "max": 5, "good": []}
    >>> [liked_by(scale, value) for value in (1, 3, 4)]
    [False, None, True]
    >>> liked_by({"type": "choice", "good": ["yes"]}, "no")
    False
    """
    if field["good"]:
        return value in field["good"]
    twice, middle = 2 * value, field["min"] + field["max"]
    return None if twice == middle else twice > middle


def _messages(content: Content, result: Result) -> tuple[list[Message], list[Message]]:
    """The turns and the replies to the last of them, with ids that follow from the item's."""
    item, at = result.item, result.annotation.created_at
    path: list[Message] = []
    for place, turn in enumerate(content.turns):
        parent_id = path[-1].id if path else None
        pictures = tuple(item.picture_ids[index] for index in turn.pictures)
        id = f"{item.id}-turn-{place}"
        path.append(Message(id, item.id, parent_id, turn.role, turn.text, at, pictures))
    replies = [
        Message(f"{item.id}-{place}", item.id, path[-1].id, "assistant", reply.text, at)
        for place, reply in enumerate(content.replies)
    ]
    return path, replies


def _ranked(form: Form, values: Mapping[str, Any]) -> list[int]:
    orders = (values.get(field["name"]) for field in form if field["type"] == "best_of")
    return next((order for order in orders if order), [])


def _correction(form: Form, values: Mapping[str, Any], place: int) -> str | None:
    texts = (
        values.get(field["name"])
        for field in form
        if field["type"] == "correction" and field["reply"] == place
    )
    return next((text for text in texts if text is not None), None)


def _liked(form: Form, values: Mapping[str, Any], place: int) -> bool | None:
    """Of several ratings of one reply all have to be good ones."""
    found = [
        liked_by(field, values[field["name"]])
        for field in form
        if field.get("use") == "rating" and field["reply"] == place and field["name"] in values
    ]
    decided = [liked for liked in found if liked is not None]
    return all(decided) if decided else None
