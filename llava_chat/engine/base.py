"""What every engine promises: settings in, events out.

The web page, the command line and the API know this module and nothing of how replies are made.
It imports neither torch nor gradio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from llava_chat.conversation import Conversation
from llava_chat.engine.generation import GenerationSettings
from llava_chat.errors import EngineError, InputError, LlavaChatError
from llava_chat.progress import Progress

__all__ = [
    "REMOTE_TEMPLATE",
    "UNKNOWN_TOKEN",
    "AdapterChoice",
    "ChatEngine",
    "ContextUse",
    "Done",
    "EngineLoad",
    "Event",
    "Failed",
    "FinishReason",
    "GenerationSettings",
    "Looking",
    "ModelInfo",
    "Opening",
    "Queued",
    "Stream",
    "Token",
    "check_adapter",
    "whole_reply",
]

FinishReason = Literal["stop", "length", "cancelled", "deadline"]

UNKNOWN_TOKEN = -1
"""The id of a Token where only its text is known."""


@dataclass(frozen=True)
class Opening:
    """Waiting for the model `name`, which is being opened.

    progress: how far it is, once that is known. waiting_for: so many replies of the model before it
    are still being written.
    """

    name: str
    progress: Progress | None = None
    waiting_for: int = 0


@dataclass(frozen=True)
class Queued:
    """Waiting for the engine. `place` 1 is next.

    wait_s: about how long, None while nothing is known of it.
    """

    place: int
    wait_s: float | None = None


@dataclass(frozen=True)
class Looking:
    """The prompt is being read: `pictures` of them had to be encoded, `prompt_tokens` in all.

    Of a server that does not tell: the newest message's pictures, and 0 tokens.
    """

    pictures: int
    prompt_tokens: int
    reused_tokens: int


@dataclass(frozen=True)
class Token:
    """One more token. `text` is what it added to the reply ('' inside a multi-byte character).

    token_id: UNKNOWN_TOKEN from a server that sends text alone, perhaps of several tokens.
    """

    text: str
    token_id: int


REMOTE_TEMPLATE = "remote"
"""Stands for the template of a server that writes the prompt by its own; no name of TEMPLATES."""


@dataclass(frozen=True)
class ModelInfo:
    """What a user and a record need to know of the model that answers.

    padded_boxes: it counts boxes on the picture padded to a square. adapter: what was put on it,
    with its revision, None for nothing. local: False for one on a server, whose weights and
    tokenizer are not here: its template is REMOTE_TEMPLATE, revision, device and dtype are "",
    parameters 0, and so are context_tokens when the server does not tell them.
    """

    id: str
    revision: str
    template: str
    context_tokens: int
    parameters: int
    description: str
    device: str
    dtype: str
    padded_boxes: bool = False
    adapter: str | None = None
    local: bool = True


@dataclass(frozen=True)
class Done:
    """The reply is complete, or was cut for the reason in `finish`.

    token_ids are the generated ids without the end token; text decoded again may not give them.
    They are () where only the text is known; then server_tokens says how many the server counted,
    or, of a reply that was stopped before that, in how many pieces it came, which is no more.
    dropped_turns counts the oldest turns that did not fit the context. Times in seconds from
    arrival; first_token_s is None when not a single token came. model: who wrote it, of a reply
    with an adapter of its own, and from an engine whose model may be another one by now.
    """

    text: str
    token_ids: tuple[int, ...]
    finish: FinishReason
    prompt_tokens: int
    reused_tokens: int
    dropped_turns: int
    seed: int | None
    first_token_s: float | None
    total_s: float
    model: ModelInfo | None = None
    server_tokens: int | None = None

    @property
    def generated_tokens(self) -> int:
        """How many tokens were generated."""
        return len(self.token_ids) if self.server_tokens is None else self.server_tokens

    @property
    def known_ids(self) -> tuple[int, ...] | None:
        """As a Turn has them: None where only the text is known."""
        return self.token_ids or None


@dataclass(frozen=True)
class Failed:
    """The reply failed; `error` carries the sentence for the user. The engine goes on."""

    error: LlavaChatError


Event = Opening | Queued | Looking | Token | Done | Failed


@dataclass(frozen=True)
class ContextUse:
    """How full the context is: tokens of the prompt after truncation, the limit, what is left out.

    dropped_pictures: those that the model no longer sees; some of the dropped turns it may.
    """

    prompt_tokens: int
    context_tokens: int
    dropped_turns: int
    dropped_pictures: int = 0


@dataclass(frozen=True)
class EngineLoad:
    """How busy an engine is at this moment.

    running: replies that are being read or written; waiting: those in line. slots: how many can run
    at once, None where the engine does not know. kept_tokens: of conversations whose keys and
    values are at hand, of capacity_tokens at most; reserved_bytes: what they and the pictures'
    features may take beside the weights; adapter_bytes: what the adapters in memory take. wait_s:
    about how long somebody who comes now waits for a slot, None while nothing is known of it.
    """

    running: int
    waiting: int
    slots: int | None = None
    kept_tokens: int = 0
    capacity_tokens: int = 0
    reserved_bytes: int = 0
    wait_s: float | None = None
    adapter_bytes: int = 0


@dataclass(frozen=True)
class AdapterChoice:
    """An adapter that a reply can be asked for with. problem: why this one cannot, or ""."""

    name: str
    problem: str = ""


def check_adapter(name: str | None, choices: Iterable[AdapterChoice]) -> None:
    """Raise InputError unless a reply can be asked for with that adapter.

    >>> check_adapter("crimson", [AdapterChoice("crimson")])
    >>> check_adapter("crimson", [])
    Traceback (most recent call last):
    llava_chat.errors.InputError: The adapter 'crimson' is not here; choose another one, or none.
    """
    found = {choice.name: choice for choice in choices}
    if name is None:
        return
    if name not in found:
        raise InputError(f"The adapter {name!r} is not here; choose another one, or none.")
    if found[name].problem:
        raise InputError(
            f"The adapter {name!r} does not fit the model here; choose another one, or none."
        )


class Stream(Iterator[Event], Protocol):
    """The reader's end of a reply."""

    def cancel(self) -> None:
        """Stop; the words so far still come, ending in Done."""

    def close(self) -> None:
        """Stop, and let go of what is left: nothing is yielded after that."""


def whole_reply(events: Iterable[Event], told: Callable[[str], object] | None = None) -> Done:
    """Read a reply to its end; `told` gets each piece of its text.

    Raises the error of a reply that failed.
    """
    for event in events:
        if isinstance(event, Token) and told is not None:
            told(event.text)
        elif isinstance(event, Failed):
            raise event.error
        elif isinstance(event, Done):
            return event
    raise EngineError("The reply ended without saying how; ask again.")


class ChatEngine(Protocol):
    """Makes replies. All methods may be called from any thread."""

    @property
    def model(self) -> ModelInfo:
        """The model that answers. Raises EngineOpeningError while there is none yet."""

    def stream(self, conversation: Conversation, settings: GenerationSettings) -> Stream:
        """Yield Opening*, Queued*, Looking, Token*, then one Done or Failed.

        The conversation's last turn is the user's. Cancelling or closing frees the engine within
        one token. Raises EngineBusyError or EngineClosedError before the first event, never later.
        """

    def context_use(
        self, conversation: Conversation, max_new_tokens: int | None = None
    ) -> ContextUse | None:
        """Count the prompt of `conversation` without running the model; None where only the
        server knows.

        max_new_tokens: of the reply that it leaves room for; None is what the settings have when
        nobody changed them. Raises ContextFullError when the newest message does not fit alone,
        UsageError when the conversation has no template or cannot be told in it,
        EngineOpeningError while there is no model to count for.
        """

    def adapters(self) -> tuple[AdapterChoice, ...]:
        """The adapters that there are just now, by name: new ones appear without a restart.

        Never waits for the model; () while there is none.
        """

    def load(self) -> EngineLoad:
        """How busy it is. Never waits for the model."""

    def close(self, grace_s: float = 10.0) -> None:
        """Take no new work; let running replies end for `grace_s` seconds, then cancel them."""
