"""What the store hands out: plain frozen values, free of the database and of its threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from llava_chat.conversation import Conversation, Role, Turn
from llava_chat.image import Picture

TITLE_CHARACTERS = 60


@dataclass(frozen=True)
class ReplyRecord:
    """What made a reply: enough to make a greedy one again.

    system, template: as they were used, after the defaults; of a server that writes the prompt by
    its own template, what it was told, and "remote". settings: the generation settings by name.
    seed: the one used, or drawn. picture_ids: of the whole prompt. Times in seconds from the
    request's arrival; first_token_s is None when no token came. padded_boxes: the model counts
    boxes on the picture padded to a square; None where nobody wrote it down.
    """

    model_id: str
    revision: str
    template: str
    system: str | None
    settings: Mapping[str, Any]
    prompt_tokens: int
    generated_tokens: int
    first_token_s: float | None
    total_s: float
    app_version: str
    adapter: str | None = None
    seed: int | None = None
    picture_ids: tuple[str, ...] = ()
    padded_boxes: bool | None = None


@dataclass(frozen=True)
class ChatOptions:
    """What a conversation goes on with. system, template: None for the model's own.

    settings: the generation settings by name.
    """

    system: str | None = None
    template: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Message:
    """One message, and where it stands among its versions.

    parent_id: the message it answers or follows, None for a first one. `version` counts from 1 up
    to `versions`; sibling_ids are the ids of all versions, oldest first, its own included.
    token_ids, finish and record belong to replies.
    """

    id: str
    conversation_id: str
    parent_id: str | None
    role: Role
    text: str
    created_at: datetime
    picture_ids: tuple[str, ...] = ()
    token_ids: tuple[int, ...] | None = None
    finish: str | None = None
    record: ReplyRecord | None = None
    sibling_ids: tuple[str, ...] = ()

    @property
    def version(self) -> int:
        """Which of the versions this is, from 1."""
        return self.sibling_ids.index(self.id) + 1

    @property
    def versions(self) -> int:
        """How many versions there are."""
        return len(self.sibling_ids)


@dataclass(frozen=True)
class ConversationSummary:
    """A line of the sidebar. `messages` counts every version. Times in UTC. kept: as below."""

    id: str
    title: str
    updated_at: datetime
    messages: int
    kept: bool = True


@dataclass(frozen=True)
class StoredConversation:
    """A conversation and its active path, first message first. Times in UTC.

    kept: False for one that its owner alone may see and that goes when they have left.
    """

    id: str
    title: str
    created_at: datetime
    updated_at: datetime
    system: str | None = None
    template: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    path: tuple[Message, ...] = ()
    kept: bool = True

    def conversation(self, store_picture: Callable[[str], Picture]) -> Conversation:
        """The active path as an engine takes it; `store_picture` finds a picture by its id."""
        turns = turns_of(self.path, store_picture)
        return Conversation(turns, system=self.system, template=self.template)


def turns_of(path: Iterable[Message], store_picture: Callable[[str], Picture]) -> tuple[Turn, ...]:
    """Messages as an engine takes them; `store_picture` finds a picture by its id."""
    return tuple(
        Turn(
            role=message.role,
            text=message.text,
            images=tuple(store_picture(picture_id) for picture_id in message.picture_ids),
            token_ids=message.token_ids,
        )
        for message in path
    )


def title_from(text: str) -> str:
    """The first words of a message, at most 60 characters, as a conversation's title.

    >>> title_from("  What is\\nin this picture? ")
    'What is in this picture?'
    >>> title_from("word " * 20)
    'word word word word word word word word word word word word…'
    >>> len(title_from("x" * 100))
    60
    """
    words = " ".join(text.split())
    if len(words) <= TITLE_CHARACTERS:
        return words
    cut = words[:TITLE_CHARACTERS]
    # A space right after the cut means that its last word is whole.
    at_word = cut[:-1] if words[TITLE_CHARACTERS - 1] == " " else cut.rpartition(" ")[0]
    return (at_word or cut[:-1]).rstrip() + "…"
