"""All feedback for a host, one row for each reply that somebody said something of.

A person appears as a keyed hash: the same within one run over the rows, another in the next, so
that nobody is found by it. Imports store.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from llava_chat.store import (
    ConversationStore,
    JudgedConversation,
    KeptCorrection,
    KeptRanking,
    KeptRating,
    Message,
    Opinion,
    judged,
)

IMPORTED_OWNER = "export:"
"""Before the hash of a person in an export that was imported here; no session is so named."""

_IMPORTED = re.compile(f"{IMPORTED_OWNER}([0-9a-f]{{32}})")


@dataclass(frozen=True)
class FeedbackRow:
    """What one person said of one reply.

    owner: 32 hex digits. path: the conversation from its first message to the reply, which is the
    last. ranking: of all replies to the message before it, in the row of the best of them alone;
    ranked: those replies, best first. positions: of all these messages among the versions of the
    conversation. earlier: what the same person said of the messages of the path, by their ids.
    """

    owner: str
    conversation_id: str
    conversation_created_at: datetime
    path: tuple[Message, ...]
    rating: KeptRating | None = None
    correction: KeptCorrection | None = None
    ranking: KeptRanking | None = None
    ranked: tuple[Message, ...] = ()
    positions: Mapping[str, int] = field(default_factory=dict)
    earlier: Mapping[str, Opinion] = field(default_factory=dict)

    @property
    def reply(self) -> Message:
        """The reply that it is about."""
        return self.path[-1]

    @property
    def said_at(self) -> datetime:
        """When something was said of it last."""
        times = [] if self.rating is None else [self.rating.updated_at]
        times += [said.created_at for said in (self.correction, self.ranking) if said is not None]
        return max(times)

    @property
    def picture_ids(self) -> tuple[str, ...]:
        """The pictures of the path, in order, one that was sent twice twice."""
        return tuple(id for message in self.path for id in message.picture_ids)


@dataclass(frozen=True)
class Filter:
    """Which rows are wanted; None for any.

    since, until: when something was said last, from `since` on and before `until`, with a zone.
    reason: one of those of the rating. model, adapter: as the reply's record has them; an adapter
    also without its revision. has_correction: whether there is one.
    """

    since: datetime | None = None
    until: datetime | None = None
    liked: bool | None = None
    reason: str | None = None
    model: str | None = None
    adapter: str | None = None
    has_correction: bool | None = None

    def takes(self, row: FeedbackRow) -> bool:
        """Whether a row is wanted."""
        rating, record = row.rating, row.reply.record
        adapter = None if record is None else record.adapter
        return (
            (self.since is None or row.said_at >= self.since)
            and (self.until is None or row.said_at < self.until)
            and (self.liked is None or (rating is not None and rating.liked == self.liked))
            and (self.reason is None or (rating is not None and self.reason in rating.reasons))
            and (self.model is None or (record is not None and record.model_id == self.model))
            and (self.adapter is None or self.is_adapter(adapter))
            and (self.has_correction is None or self.has_correction == bool(row.correction))
        )

    def is_adapter(self, adapter: str | None) -> bool:
        """Whether a record's adapter is the wanted one."""
        return self.adapter in _names(adapter)


def feedback_rows(
    store: ConversationStore, wanted: Filter | None = None, key: bytes | None = None
) -> Iterator[FeedbackRow]:
    """Every row that is wanted, conversation by conversation, the oldest first; see Filter.

    Of people who agreed to it and of chats that are kept. key: makes the owners' hashes; None
    draws one. Raises StoreError.
    """
    key = secrets.token_bytes(32) if key is None else key
    wanted = wanted or Filter()
    for conversation in judged(store):
        owner = pseudonym(conversation.owner, key)
        for row in _rows_of(conversation, owner):
            if wanted.takes(row):
                yield row


def pseudonym(owner: str, key: bytes) -> str:
    """A person as 32 hex digits, which only the key connects to who it is.

    >>> pseudonym("ann", b"key") == pseudonym("ann", b"key") != pseudonym("ann", b"another")
    True
    >>> pseudonym("export:" + "ab" * 16, b"key") == "ab" * 16
    True
    """
    if imported := _IMPORTED.fullmatch(owner):
        return imported[1]
    return hmac.new(key, owner.encode(), hashlib.sha256).hexdigest()[:32]


def _names(adapter: str | None) -> tuple[str, ...]:
    return () if adapter is None else (adapter, adapter.rpartition("@")[0])


def _rows_of(conversation: JudgedConversation, owner: str) -> Iterator[FeedbackRow]:
    by_id = {message.id: message for message in conversation.messages}
    # A ranking of a message stands with the reply that it puts first.
    rankings = {
        opinion.ranking.reply_ids[0]: opinion.ranking
        for opinion in conversation.opinions.values()
        if opinion.ranking is not None
    }
    for message in conversation.messages:
        opinion, ranking = conversation.opinions.get(message.id), rankings.get(message.id)
        said = opinion or Opinion()
        if message.role != "assistant" or not (said.rating or said.correction or ranking):
            continue
        path = path_to(by_id, message)
        ranked = () if ranking is None else tuple(by_id[id] for id in ranking.reply_ids)
        told = {part.id for part in (*path, *ranked)}
        yield FeedbackRow(
            owner=owner,
            conversation_id=conversation.id,
            conversation_created_at=conversation.created_at,
            path=path,
            rating=said.rating,
            correction=said.correction,
            ranking=ranking,
            ranked=ranked,
            positions={id: conversation.positions[id] for id in told},
            earlier={id: what for id, what in conversation.opinions.items() if id in told},
        )


def path_to(by_id: Mapping[str, Message], last: Message) -> tuple[Message, ...]:
    """The messages from a conversation's first one to this one, found by their ids."""
    backwards = [last]
    while (parent_id := backwards[-1].parent_id) is not None:
        backwards.append(by_id[parent_id])
    return tuple(reversed(backwards))
