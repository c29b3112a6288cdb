"""Items made from kept chats of people who agreed: a reply to judge, or all versions of one.

Who wrote a reply stands in the item for results, and never whose chat it was. Imports the store,
the rows of feedback, and errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from llava_chat.errors import FeedbackError, NotFoundError
from llava_chat.feedback.annotation.content import (
    Content,
    ShownReply,
    ShownTurn,
    check_content,
)
from llava_chat.feedback.annotation.form import Form
from llava_chat.feedback.rows import path_to
from llava_chat.feedback.words import REASONS
from llava_chat.store import ConversationStore, JudgedConversation, Message, NewItem, agreed

MAX_ADDED = 5_000


@dataclass(frozen=True)
class KeptFilter:
    """Which kept replies are wanted; None for any.

    rated: whether the chat's owner rated it, or said anything else of it. liked, reason: of that
    rating. model, adapter: as the reply's record has them. since, until: when it was written.
    """

    rated: bool | None = None
    liked: bool | None = None
    reason: str | None = None
    model: str | None = None
    adapter: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def of(cls, document: Any) -> Self:
        """The filter in a JSON object. Raises FeedbackError naming the field."""
        if not isinstance(document, Mapping):
            raise FeedbackError("filter: it must be an object.")
        for name in document.keys() - cls.__dataclass_fields__.keys():
            raise FeedbackError(f"filter, {str(name)[:40]}: there is no such filter.")
        told = {name: value for name, value in document.items() if value is not None}
        for name, kind in (("rated", bool), ("liked", bool), ("model", str), ("adapter", str)):
            if not isinstance(told.get(name, kind()), kind):
                raise FeedbackError(f"filter, {name}: it must be {_SPOKEN[kind]}.")
        if told.get("reason", "other") not in REASONS:
            raise FeedbackError(f"filter, reason: it must be one of {', '.join(REASONS)}.")
        for name in ("since", "until"):
            if name in told:
                told[name] = _time(name, told[name])
        return cls(**told)

    def takes(self, reply: Message, conversation: JudgedConversation) -> bool:
        """Whether a reply is wanted."""
        opinion = conversation.opinions.get(reply.id)
        rating = None if opinion is None else opinion.rating
        record = reply.record
        return (
            (self.rated is None or self.rated == (opinion is not None))
            and (self.liked is None or (rating is not None and rating.liked == self.liked))
            and (self.reason is None or (rating is not None and self.reason in rating.reasons))
            and (self.model is None or (record is not None and record.model_id == self.model))
            and (self.adapter is None or (record is not None and record.adapter == self.adapter))
            and (self.since is None or reply.created_at >= self.since)
            and (self.until is None or reply.created_at < self.until)
        )


def items_from_kept(
    store: ConversationStore, form: Form, wanted: KeptFilter, limit: int
) -> list[NewItem]:
    """At most `limit` items of wanted replies, those of the oldest chats first.

    Each is one reply, or, where the form ranks replies, all versions of one. Replies that this form
    could not judge, and those whose pictures are no longer kept, are passed over.
    """
    found: list[NewItem] = []
    ranks = any(field["type"] == "best_of" for field in form)
    for conversation in agreed(store):
        for versions in _versions(conversation, wanted, together=ranks):
            item = _item(store, form, conversation, versions)
            if item is not None:
                found.append(item)
            if len(found) == limit:
                return found
    return found


def _versions(
    conversation: JudgedConversation, wanted: KeptFilter, *, together: bool
) -> Iterator[list[Message]]:
    """Wanted replies, each alone, or together with the others to the same message."""
    by_parent: dict[str | None, list[Message]] = {}
    for message in conversation.messages:
        if message.role == "assistant" and message.text.strip():
            by_parent.setdefault(message.parent_id, []).append(message)
    for replies in by_parent.values():
        some = [reply for reply in replies if wanted.takes(reply, conversation)]
        if together and some:
            yield replies
        elif not together:
            yield from ([reply] for reply in some)


def _item(
    store: ConversationStore,
    form: Form,
    conversation: JudgedConversation,
    replies: list[Message],
) -> NewItem | None:
    by_id = {message.id: message for message in conversation.messages}
    path = path_to(by_id, replies[0])[:-1]
    ids = [id for message in path for id in message.picture_ids]
    turns, shown = [], 0
    for message in path:
        count = len(message.picture_ids)
        turns.append(ShownTurn(message.role, message.text, tuple(range(shown, shown + count))))
        shown += count
    content = Content(tuple(turns), tuple(map(_reply, replies)), shown)
    try:
        check_content(content, form, "a kept reply")
        kept = store.pictures(ids)
        pictures = tuple(kept[id] for id in ids)
    except (FeedbackError, NotFoundError):
        return None
    return NewItem(content.document(), pictures, source_id=replies[0].id)


def _reply(message: Message) -> ShownReply:
    record = message.record
    if record is None:
        return ShownReply(message.text)
    return ShownReply(message.text, record.model_id, record.adapter)


_SPOKEN = {bool: "true or false", str: "a text"}


def _time(name: str, told: Any) -> datetime:
    try:
        time = datetime.fromisoformat(told)
    except (TypeError, ValueError):
        time = datetime.min
    if time.tzinfo is None:
        raise FeedbackError(f"filter, {name}: it must be a time in ISO 8601 with a zone.")
    return time
