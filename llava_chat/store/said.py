"""What people said of replies, as plain frozen values, and whole conversations with it.

The words themselves are judged in `llava_chat.feedback`; here they are only kept. Imports stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from llava_chat.store.stored import Message


@dataclass(frozen=True)
class KeptRating:
    """One person's vote on one reply. id: made by the client. Times in UTC."""

    id: str
    liked: bool
    reasons: tuple[str, ...]
    comment: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class KeptCorrection:
    """What a reply should have said."""

    id: str
    text: str
    created_at: datetime


@dataclass(frozen=True)
class KeptRanking:
    """The replies to one message, best first."""

    id: str
    reply_ids: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True)
class Opinion:
    """What one person said of one message, the newest of each kind.

    rating, correction: of a reply. ranking: of the replies to a message of the user's.
    """

    rating: KeptRating | None = None
    correction: KeptCorrection | None = None
    ranking: KeptRanking | None = None


@dataclass(frozen=True)
class JudgedConversation:
    """A conversation that its owner said something of.

    messages: all versions, in the order they came, or some of them. positions: of each among all.
    opinions: by the id of the message.
    """

    id: str
    owner: str
    created_at: datetime
    messages: tuple[Message, ...]
    positions: Mapping[str, int] = field(default_factory=dict)
    opinions: Mapping[str, Opinion] = field(default_factory=dict)


@dataclass(frozen=True)
class KeptVote:
    """Which side of a comparison was better after one turn, counted from 1.

    choice: "left", "right", "tie" or "both_bad". blind: the names were still hidden. lead_time_s:
    from the end of the slower reply to the vote, None where nobody measured it.
    """

    id: str
    turn: int
    choice: str
    blind: bool
    reasons: tuple[str, ...]
    comment: str
    lead_time_s: float | None
    created_at: datetime


@dataclass(frozen=True)
class Comparison:
    """Two conversations side by side. Votes by turn, the first one first."""

    id: str
    left_id: str
    right_id: str
    left_name: str
    right_name: str
    created_at: datetime
    votes: tuple[KeptVote, ...] = ()

    @property
    def revealed(self) -> bool:
        """Whether the names may be shown: once there is a vote."""
        return bool(self.votes)


@dataclass(frozen=True)
class JudgedComparison:
    """A comparison that its owner voted on, with both conversations, first message first."""

    owner: str
    comparison: Comparison
    left: JudgedConversation
    right: JudgedConversation


@dataclass(frozen=True)
class Consent:
    """A person's decision. keep: their feedback may be kept. wording: what they were shown."""

    keep: bool
    decided_at: datetime
    wording: str
