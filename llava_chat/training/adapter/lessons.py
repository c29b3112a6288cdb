"""Replies to learn and pairs of which one is better, as plain values, whatever they came from.

Imports conversation and errors only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from llava_chat.conversation import Conversation, Turn


@dataclass(frozen=True)
class Lesson:
    """A conversation whose replies are to be learned. where: what it is called in an error."""

    conversation: Conversation
    where: str = "a row"

    @property
    def questions(self) -> list[tuple[Conversation, str]]:
        """Each reply with the conversation that asks for it, the replies before as they stand."""
        whole, turns = self.conversation, self.conversation.turns
        return [
            (Conversation(turns[:place], whole.system, whole.template), turn.text)
            for place, turn in enumerate(turns)
            if turn.role == "assistant"
        ]


@dataclass(frozen=True)
class Preference:
    """Two replies to a conversation that ends with a question, the better one first."""

    prompt: Conversation
    chosen: str
    rejected: str
    where: str = "a pair"

    def with_reply(self, text: str) -> Conversation:
        """The prompt and this reply."""
        turns = (*self.prompt.turns, Turn("assistant", text))
        return Conversation(turns, self.prompt.system, self.prompt.template)


Row = TypeVar("Row", Lesson, Preference)


def draw_share(row: Lesson | Preference) -> float:
    """A number from 0 to 1 that is the same for all rows of one conversation, at every run.

    It is drawn by the pictures and the first question, so that what is learned and what is held
    out never share both, whether as a reply or as a pair.
    """
    conversation = row.conversation if isinstance(row, Lesson) else row.prompt
    pictures = [picture.id for turn in conversation.turns for picture in turn.images]
    first = next((turn.text for turn in conversation.turns if turn.role == "user"), "")
    digest = hashlib.sha256(json.dumps([pictures, first.strip()]).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def hold_out(rows: Sequence[Row], share: float) -> tuple[list[Row], list[Row]]:
    """(to learn from, held out): about `share` of the rows, always the same ones.

    >>> rows = [Lesson(Conversation((Turn("user", str(n)),))) for n in range(100)]
    >>> learned, held = hold_out(rows, 0.2)
    >>> len(learned) + len(held), 10 < len(held) < 30, hold_out(rows, 0.2)[1] == held
    (100, True, True)
    """
    learned = [row for row in rows if draw_share(row) >= share]
    return learned, [row for row in rows if draw_share(row) < share]


def fingerprint(rows: Iterable[Lesson | Preference]) -> str:
    """16 hex digits that change with any word or picture of the rows, or their order."""
    digest = hashlib.sha256()
    for row in rows:
        texts = (row.chosen, row.rejected) if isinstance(row, Preference) else ()
        conversation = row.prompt if isinstance(row, Preference) else row.conversation
        said = [
            (turn.role, turn.text, [picture.id for picture in turn.images])
            for turn in conversation.turns
        ]
        whole = [conversation.system, conversation.template, said, texts]
        digest.update(json.dumps(whole).encode())
    return digest.hexdigest()[:16]
