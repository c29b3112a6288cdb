"""Comparisons: who may vote on which, what a contestant is called, and all votes for a host.

What answers on each side is hidden from the person until they vote; the names here come from the
replies' records, so that they are what really answered. Imports store, templates and the modules
beside it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from llava_chat.feedback.keeping import CONSENT_WORDING, saving
from llava_chat.feedback.rows import Filter, pseudonym
from llava_chat.feedback.words import Explanation, Vote
from llava_chat.store import (
    Comparison,
    ConversationStore,
    JudgedConversation,
    KeptComparisons,
    KeptVote,
    Message,
    ReplyRecord,
    compared,
    title_from,
)
from llava_chat.templates import TEMPLATES

USUAL: Mapping[str, tuple[str, float]] = {
    "temperature": ("temperature", 0.2),
    "top_p": ("top p", 0.7),
    "top_k": ("top k", 0),
    "repetition_penalty": ("repetition penalty", 1.0),
}
"""What a contestant's name tells of its settings where they are others than LLaVA's own page has
(haotian-liu/LLaVA, gradio_web_server.py), whatever a server's defaults are: so that one contestant
has one name everywhere."""


class Comparisons:
    """Comparisons and the votes on them. All methods may be called from any thread.

    A method that has returned has committed. They raise NotFoundError for a comparison that is not
    there or not the owner's, StoreError when nothing was saved, FeedbackError for a vote that
    cannot be, and ConsentError where the owner has not agreed.
    """

    def __init__(self, kept: KeptComparisons) -> None:
        self._kept = kept

    @classmethod
    def of(cls, store: ConversationStore) -> Self:
        """The comparisons in a store."""
        return cls(KeptComparisons(store, CONSENT_WORDING))

    def begin(self, owner: str, left_name: str, right_name: str) -> Comparison:
        """Two empty conversations for two contestants, in the order that was drawn."""
        return self._kept.begin(owner, left_name, right_name)

    def load(self, owner: str, comparison_id: str) -> Comparison:
        """The comparison and its votes. Its names are nobody's to see before `revealed`."""
        return self._kept.load(owner, comparison_id)

    def delete(self, owner: str, comparison_id: str) -> tuple[str, ...]:
        """Delete it with both conversations; the ids of pictures that are kept no longer."""
        return self._kept.delete(owner, comparison_id)

    def vote(self, owner: str, comparison_id: str, vote: Vote) -> Comparison:
        """Keep a vote on the newest turn; a repeat is harmless, another choice is refused."""
        with saving():
            return self._kept.vote(owner, comparison_id, **vars(vote))

    def explain(self, owner: str, comparison_id: str, why: Explanation) -> None:
        """Keep why somebody voted so, in place of what they said before."""
        with saving():
            self._kept.explain(owner, comparison_id, **vars(why))


@dataclass(frozen=True)
class ComparisonRow:
    """One vote with all that it is about.

    owner: 32 hex digits. left, right: each conversation from its first message to the reply that
    was voted on. positions: of all these messages among those of their conversations.
    """

    owner: str
    comparison: Comparison
    left_created_at: datetime
    right_created_at: datetime
    vote: KeptVote
    left: tuple[Message, ...]
    right: tuple[Message, ...]
    positions: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, str]:
        """What answered left and right, as the replies' records tell."""
        kept = (self.comparison.left_name, self.comparison.right_name)
        replies = (self.left[-1], self.right[-1])
        left, right = (
            name if reply.record is None else name_of(reply.record)
            for name, reply in zip(kept, replies, strict=True)
        )
        return left, right

    @property
    def picture_ids(self) -> tuple[str, ...]:
        """The pictures, in order, one that was sent twice twice."""
        return tuple(id for message in self.left for id in message.picture_ids)


@dataclass(frozen=True)
class ComparisonVote:
    """One vote for a ranking. left, right: what answered, see `name_of`. owner: 32 hex digits.

    choice: "left", "right", "tie" or "both_bad". blind: the names were hidden. turn: from 1.
    """

    left: str
    right: str
    choice: str
    blind: bool
    turn: int
    owner: str
    created_at: datetime
    picture_ids: tuple[str, ...]
    comparison_id: str
    reasons: tuple[str, ...] = ()
    lead_time_s: float | None = None


def votes(
    store: ConversationStore, wanted: Filter | None = None, key: bytes | None = None
) -> Iterator[ComparisonVote]:
    """Every wanted vote of people who agreed to it, comparison by comparison, the oldest first.

    key: makes the owners' hashes, the same as of other rows with it; None draws one. Raises
    StoreError.
    """
    for row in comparison_rows(store, wanted, key):
        left, right = row.names
        yield ComparisonVote(
            left=left,
            right=right,
            choice=row.vote.choice,
            blind=row.vote.blind,
            turn=row.vote.turn,
            owner=row.owner,
            created_at=row.vote.created_at,
            picture_ids=row.picture_ids,
            comparison_id=row.comparison.id,
            reasons=row.vote.reasons,
            lead_time_s=row.vote.lead_time_s,
        )


def comparison_rows(
    store: ConversationStore, wanted: Filter | None = None, key: bytes | None = None
) -> Iterator[ComparisonRow]:
    """The same with the whole conversations."""
    key = secrets.token_bytes(32) if key is None else key
    wanted = wanted or Filter()
    for judged in compared(store):
        paths = _path(judged.left), _path(judged.right)
        for vote in judged.comparison.votes:
            # A retried reply would be one version more; the newest one is what was voted on.
            left, right = (path[: 2 * vote.turn] for path in paths)
            row = ComparisonRow(
                owner=pseudonym(judged.owner, key),
                comparison=judged.comparison,
                left_created_at=judged.left.created_at,
                right_created_at=judged.right.created_at,
                vote=vote,
                left=left,
                right=right,
                positions={
                    message.id: side.positions[message.id]
                    for side, path in ((judged.left, left), (judged.right, right))
                    for message in path
                },
            )
            if _takes(wanted, row):
                yield row


def name_of(record: ReplyRecord) -> str:
    """What a contestant is called, from what made its reply.

    A system message counts where it is not the template's own.
    """
    template = TEMPLATES.get(record.template)
    own = template is not None and record.system == template.system
    return contestant_name(
        record.model_id, record.adapter, record.settings, None if own else record.system
    )


def contestant_name(
    model: str, adapter: str | None, settings: Mapping[str, Any], system: str | None
) -> str:
    """A model with what was put on it, and what is unusual of its settings.

    An adapter of the same name is the same contestant after it was trained again: its revision
    stands in the records.

    >>> contestant_name("scenes", None, {"temperature": 0.2, "top_p": 0.7}, None)
    'scenes'
    >>> contestant_name("scenes", "mauve@1f", {"temperature": 0, "top_p": 1.0}, "Be terse.")
    'scenes + mauve (temperature 0, top p 1, told “Be terse.”)'
    """
    unusual = [
        f"{word} {settings[name]:g}"
        for name, (word, usual) in USUAL.items()
        if name in settings and settings[name] != usual
    ]
    if system:
        unusual.append(f"told “{title_from(system)}”")
    base = model if adapter is None else f"{model} + {adapter.rpartition('@')[0] or adapter}"
    return f"{base} ({', '.join(unusual)})" if unusual else base


def _takes(wanted: Filter, row: ComparisonRow) -> bool:
    """Whether a vote is wanted: what asks for a rating or a correction wants none."""
    records = [reply.record for reply in (row.left[-1], row.right[-1]) if reply.record is not None]
    said_at = row.vote.created_at
    return (
        (wanted.since is None or said_at >= wanted.since)
        and (wanted.until is None or said_at < wanted.until)
        and wanted.liked is None
        and wanted.has_correction is None
        and (wanted.reason is None or wanted.reason in row.vote.reasons)
        and (wanted.model is None or wanted.model in [record.model_id for record in records])
        and (wanted.adapter is None or any(wanted.is_adapter(one.adapter) for one in records))
    )


def _path(side: JudgedConversation) -> tuple[Message, ...]:
    by_id = {message.id: message for message in side.messages}
    backwards = [side.messages[-1]]
    while (parent_id := backwards[-1].parent_id) is not None:
        backwards.append(by_id[parent_id])
    return tuple(reversed(backwards))
