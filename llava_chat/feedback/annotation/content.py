"""What an item shows: the turns of a conversation and the replies to its last message.

Kept as JSON: {"turns": [{"role", "text", "pictures": [index]}], "replies": [{"text", "model"?,
"adapter"?}]}. Who wrote a reply is for results alone. Imports conversation's check of text, the
words of feedback, and errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from llava_chat.conversation import Role
from llava_chat.errors import FeedbackError
from llava_chat.feedback.annotation.form import Field, Form
from llava_chat.feedback.words import MAX_CORRECTION_CHARS, MAX_RANKED

MAX_TURNS = 200
MAX_PICTURES = 32
MAX_TEXT_CHARS = MAX_CORRECTION_CHARS
MAX_WRITER_CHARS = 200


@dataclass(frozen=True)
class ShownTurn:
    """One turn. pictures: which of the item's, from 0."""

    role: Role
    text: str
    pictures: tuple[int, ...] = ()


@dataclass(frozen=True)
class ShownReply:
    """A reply to be judged. model, adapter: who wrote it, None where nobody knows."""

    text: str
    model: str | None = None
    adapter: str | None = None


@dataclass(frozen=True)
class Content:
    """What an item shows. pictures: how many it has.

    Turns alternate and begin with the user's; where there are replies the last one is the user's.
    """

    turns: tuple[ShownTurn, ...] = ()
    replies: tuple[ShownReply, ...] = ()
    pictures: int = 0

    @classmethod
    def of(cls, document: Mapping[str, Any], pictures: int) -> Self:
        """What an item shows that was kept."""
        return cls(
            turns=tuple(
                ShownTurn(turn["role"], turn["text"], tuple(turn["pictures"]))
                for turn in document["turns"]
            ),
            replies=tuple(ShownReply(**reply) for reply in document["replies"]),
            pictures=pictures,
        )

    def document(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "turns": [
                {"role": turn.role, "text": turn.text, "pictures": list(turn.pictures)}
                for turn in self.turns
            ],
            "replies": [
                {name: value for name, value in vars(reply).items() if value is not None}
                for reply in self.replies
            ],
        }


def check_content(content: Content, form: Form, where: str) -> None:
    """Refuse an item that nobody could judge by this form; FeedbackError names the field."""
    for number, turn in enumerate(content.turns):
        if turn.role != ("assistant" if number % 2 else "user"):
            raise FeedbackError(
                f"{where}, turns[{number}], role: turns alternate, and the user begins."
            )
    if not 1 <= len(content.turns) <= MAX_TURNS:
        raise FeedbackError(f"{where}, turns: there must be 1 to {MAX_TURNS}.")
    if content.replies and len(content.turns) % 2 == 0:
        raise FeedbackError(f"{where}, turns: the last one before the replies must be the user's.")
    if len(content.replies) > MAX_RANKED:
        raise FeedbackError(f"{where}, replies: at most {MAX_RANKED} are judged together.")
    if content.pictures > MAX_PICTURES:
        raise FeedbackError(f"{where}, pictures: at most {MAX_PICTURES} are shown together.")
    for field in form:
        _check_field(content, field, where)


def _check_field(content: Content, field: Field, where: str) -> None:
    name, needed, count = field["name"], _replies_needed(field), len(content.replies)
    if count < needed:
        raise FeedbackError(
            f"{where}, replies: the form's field {name!r} needs {needed}, and there "
            f"{'is' if count == 1 else 'are'} {count}."
        )
    if field["type"] == "boxes" and not content.pictures:
        raise FeedbackError(
            f"{where}, pictures: the form's field {name!r} needs one, and there is none."
        )


def _replies_needed(field: Field) -> int:
    """Without a reply a scale is about the item as a whole, unless it names a later one."""
    if field["type"] == "best_of":
        return 2
    reply: int = field.get("reply", 0)
    return reply + 1 if reply or field["type"] in ("correction", "spans") else 0
