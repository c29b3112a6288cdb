"""What a person can say of replies: a rating, a correction, a ranking, a vote; checked when made.

Imports conversation's check of text, and errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from llava_chat.conversation import well_formed
from llava_chat.errors import FeedbackError

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "hallucinated_object": "It names something that is not in the picture",
        "wrong_count": "It counts wrongly",
        "wrong_attribute": "A colour, size or other property is wrong",
        "wrong_place": "A place or a relation is wrong",
        "misread_text": "It misreads printed words or numbers",
        "refusal": "It refuses what it could have answered",
        "style": "It is too long, too short or badly put",
        "other": "Something else",
    }
)
"""Why a reply is not liked, in the order that people are shown. The kinds of mistakes about
pictures are those that POPE (arXiv 2305.10355) and MMHal-Bench (arXiv 2309.14525) tell apart."""

CHOICES: Mapping[str, str] = MappingProxyType(
    {"left": "A is better", "right": "B is better", "tie": "Tie", "both_bad": "Both are bad"}
)
"""What can be said of two replies side by side (Chatbot Arena, arXiv 2403.04132)."""

MAX_COMMENT_CHARS = 2_000
MAX_CORRECTION_CHARS = 20_000
"""As long as a message may be by default."""
MAX_RANKED = 32
"""More versions of one reply than anybody compares."""
MAX_LEAD_TIME_S = 86_400.0
"""Nobody looks at two replies for a day; a longer time is a page that was left open."""

# A UUID in hex, with or without dashes, is one; nothing that could be a path or markup is.
_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


@dataclass(frozen=True)
class Rating:
    """A vote on a reply. id: made by who votes, so that a vote sent twice is one.

    reasons: of REASONS, in any order; kept in that of REASONS, each once. comment: at most 2,000
    characters. Raises FeedbackError naming the field.

    >>> Rating("0123456789abcdef", False, ["style", "wrong_count", "style"]).reasons
    ('wrong_count', 'style')
    >>> Rating("0123456789abcdef", False, ["ugly"])
    Traceback (most recent call last):
    llava_chat.errors.FeedbackError: reasons: there is no reason 'ugly'; there are \
hallucinated_object, wrong_count, wrong_attribute, wrong_place, misread_text, refusal, style, other.
    """

    id: str
    liked: bool
    reasons: tuple[str, ...] = ()
    comment: str = ""

    def __post_init__(self) -> None:
        check_id(self.id)
        if not isinstance(self.liked, bool):
            raise FeedbackError("liked: it must be true or false.")
        object.__setattr__(self, "reasons", _reasons(self.reasons))
        object.__setattr__(
            self, "comment", checked_text("comment", self.comment, MAX_COMMENT_CHARS)
        )


@dataclass(frozen=True)
class Correction:
    """What a reply should have said. text: 1 to 20,000 characters, not blank.

    Raises FeedbackError naming the field.
    """

    id: str
    text: str

    def __post_init__(self) -> None:
        check_id(self.id)
        text = checked_text("text", self.text, MAX_CORRECTION_CHARS)
        if not text.strip():
            raise FeedbackError("text: the correction is empty; write what the reply should say.")
        object.__setattr__(self, "text", text)


@dataclass(frozen=True)
class Ranking:
    """Two or more replies to one message, best first, each once. Raises FeedbackError.

    >>> Ranking("0123456789abcdef", ("a", "a"))
    Traceback (most recent call last):
    llava_chat.errors.FeedbackError: reply_ids: it must name 2 to 32 replies, each once.
    """

    id: str
    reply_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        check_id(self.id)
        given = self.reply_ids
        texts = not isinstance(given, str) and all(isinstance(id, str) for id in given)
        if not texts or not 2 <= len(given) <= MAX_RANKED or len(set(given)) != len(given):
            raise FeedbackError(f"reply_ids: it must name 2 to {MAX_RANKED} replies, each once.")
        object.__setattr__(self, "reply_ids", tuple(given))


@dataclass(frozen=True)
class Vote:
    """Which of two replies is better. turn: of the comparison, from 1. choice: of CHOICES.

    lead_time_s: how long the person looked, None where nobody measured it; one that is longer than
    MAX_LEAD_TIME_S counts as not measured. Raises FeedbackError naming the field.

    >>> Vote("0123456789abcdef", 1, "middle")
    Traceback (most recent call last):
    llava_chat.errors.FeedbackError: choice: it must be one of left, right, tie, both_bad.
    """

    id: str
    turn: int
    choice: str
    lead_time_s: float | None = None

    def __post_init__(self) -> None:
        check_id(self.id)
        if type(self.turn) is not int or not 1 <= self.turn < 2**31:
            raise FeedbackError("turn: it must be a number from 1 on.")
        if not isinstance(self.choice, str) or self.choice not in CHOICES:
            raise FeedbackError(f"choice: it must be one of {', '.join(CHOICES)}.")
        if self.lead_time_s is None:
            return
        if type(self.lead_time_s) not in (int, float) or not math.isfinite(self.lead_time_s):
            raise FeedbackError("lead_time_s: it must be a number of seconds.")
        known = 0 <= self.lead_time_s <= MAX_LEAD_TIME_S
        object.__setattr__(self, "lead_time_s", float(self.lead_time_s) if known else None)


@dataclass(frozen=True)
class Explanation:
    """Why somebody voted so. id: of the vote. As of a rating; raises FeedbackError."""

    id: str
    reasons: tuple[str, ...] = ()
    comment: str = ""

    def __post_init__(self) -> None:
        check_id(self.id)
        object.__setattr__(self, "reasons", _reasons(self.reasons))
        object.__setattr__(
            self, "comment", checked_text("comment", self.comment, MAX_COMMENT_CHARS)
        )


def _reasons(given: object) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise FeedbackError("reasons: it must be a list of reasons.")
    for reason in given:
        if reason not in REASONS:
            raise FeedbackError(
                f"reasons: there is no reason {reason[:40]!r}; there are {', '.join(REASONS)}."
            )
    return tuple(reason for reason in REASONS if reason in given)


def check_id(id: object) -> str:
    """An id that somebody else made. Raises FeedbackError."""
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise FeedbackError("id: it must have 8 to 64 letters, digits, dashes or underscores.")
    return id


def checked_text(field: str, text: object, max_chars: int) -> str:
    """A text of at most so many characters, as every database takes it. Raises FeedbackError."""
    if not isinstance(text, str):
        raise FeedbackError(f"{field}: it must be a text.")
    if len(text) > max_chars:
        raise FeedbackError(
            f"{field}: it has {len(text):,} characters; at most {max_chars:,} are kept. Shorten it."
        )
    return well_formed(text).replace("\x00", "\ufffd")  # which PostgreSQL does not take
