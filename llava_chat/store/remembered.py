"""Messages that were read before, so that a conversation costs its new ones and not all of them.

A message and what belongs to it is written once and never changed, and a conversation's positions
have no gaps: what was read up to a position stays true, in this process and beside any other one
that writes. Only the versions of a message, which follow from the others, are not kept with it. An
imported conversation may have gaps, which another import fills: it is read whole every time.
Whoever asks has made sure whose conversation it is. Only the store imports this module.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from sqlalchemy.orm import Session

from llava_chat.store import rows
from llava_chat.store.stored import Message

MOST_BYTES = 64 * 2**20
"""Some hundred long conversations; the one that nobody asked for the longest goes first."""

MESSAGE_BYTES = 2048  # of a message without its text, tokens and pictures, with its record
CHARACTER_BYTES = 4
TOKEN_BYTES = 36  # a Python integer and its place in a tuple
PICTURE_ID_BYTES = 128

Messages = tuple[Message, ...]


class Remembered:
    """The messages of conversations, oldest first. Any thread may call any method."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._known = OrderedDict[str, tuple[Messages, int]]()
        self._lock = threading.Lock()

    def read(self, session: Session, conversation_id: str) -> Messages:
        """All messages as this session sees them, each without its versions.

        A session that has changed the conversation itself must not ask: what it wrote may never be
        committed.
        """
        with self._lock:
            known, size = self._known.get(conversation_id, ((), 0))
        new, end = rows.messages_from(session, conversation_id, len(known))
        if end != len(known) + len(new):
            self.forget(conversation_id)
            return rows.messages_from(session, conversation_id, 0)[0]
        if new:
            size += sum(map(_size, new))
            known = (*known, *new)
        self._keep(conversation_id, known, size)
        return known

    def forget(self, conversation_id: str) -> None:
        """Let go of a conversation that is deleted."""
        with self._lock:
            self._drop(conversation_id)

    def _keep(self, conversation_id: str, messages: Messages, size: int) -> None:
        with self._lock:
            kept, _ = self._known.get(conversation_id, ((), 0))
            if len(kept) < len(messages):
                self._drop(conversation_id)
                self._known[conversation_id] = messages, size
                self._bytes += size
            if conversation_id in self._known:
                self._known.move_to_end(conversation_id)
            while self._bytes > self._most_bytes:
                self._drop(next(iter(self._known)))

    def _drop(self, conversation_id: str) -> None:
        _, size = self._known.pop(conversation_id, ((), 0))
        self._bytes -= size


def _size(message: Message) -> int:
    pictures = len(message.record.picture_ids if message.record else message.picture_ids)
    return (
        MESSAGE_BYTES
        + CHARACTER_BYTES * len(message.text)
        + TOKEN_BYTES * len(message.token_ids or ())
        + PICTURE_ID_BYTES * pictures
    )
