"""A real store with conversations of people who agreed that their feedback is kept."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

import pytest

from llava_chat.feedback import Feedback
from llava_chat.image import Picture
from llava_chat.store import ConversationStore, Message, ReplyRecord
from tests.databases import (
    backend,
    blue,
    database_file,
    database_url,
    open_store,
    record,
    red,
    store,
)

__all__ = [
    "backend",
    "blue",
    "database_file",
    "database_url",
    "open_store",
    "record",
    "red",
    "store",
]


@dataclass
class Talk:
    """A conversation of one person's: what was asked, and the versions of the reply."""

    owner: str
    id: str
    asked: Message
    replies: tuple[Message, ...]

    @property
    def reply(self) -> Message:
        return self.replies[0]


def new_id() -> str:
    return uuid4().hex


def begin_talk(
    store: ConversationStore,
    owner: str,
    record: ReplyRecord | None,
    *pictures: Picture,
    text: str = "What is it?",
    versions: int = 2,
    kept: bool = True,
) -> Talk:
    asked = store.add_user(owner, None, text, pictures, kept=kept)
    replies = tuple(
        store.add_reply(owner, asked.conversation_id, asked.id, f"reply {n}", (n,), "stop", record)
        for n in range(versions)
    )
    return Talk(owner, asked.conversation_id, asked, replies)


@pytest.fixture
def feedback(store: ConversationStore) -> Feedback:
    return Feedback.of(store)


@pytest.fixture
def talk(store: ConversationStore, feedback: Feedback, record: ReplyRecord, red: Picture) -> Talk:
    """Ann's, about a red picture; she agreed."""
    feedback.decide("ann", True)
    return begin_talk(store, "ann", record, red)
