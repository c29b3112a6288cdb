"""An engine as another one, whose replies are watched while they are read.

What is made of that is the watcher's business: nothing here knows of metrics. Imports
`engine.base`, conversation and errors.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import (
    AdapterChoice,
    ChatEngine,
    ContextUse,
    Done,
    EngineLoad,
    Event,
    Failed,
    GenerationSettings,
    Looking,
    ModelInfo,
    Stream,
    Token,
)
from llava_chat.errors import LlavaChatError

PROBE = Conversation((Turn("user", "Hi"),))
"""What is asked to see whether the engine answers at all. It is nobody's reply, and not watched:
whoever asks it reads its events anyway."""


class ReplyWatch(Protocol):
    """Is told what happens to replies, from the threads that read them; must not block."""

    def reading(self, prompt_tokens: int, reused_tokens: int) -> None:
        """A prompt is being read. reused_tokens: of it were known from before."""

    def first_token(self, waited_s: float) -> None:
        """The first token came, so many seconds after the question, waiting in line included."""

    def token(self, waited_s: float) -> None:
        """Another one came, so many seconds after the one before."""

    def ended(self, finish: str) -> None:
        """The reply is over: a FinishReason."""

    def failed(self, error: LlavaChatError) -> None:
        """There is no reply, or no more of it."""


class MeasuredEngine:
    """A ChatEngine that does what `engine` does, and tells `watch`."""

    def __init__(self, engine: ChatEngine, watch: ReplyWatch) -> None:
        self._engine = engine
        self._watch = watch

    @property
    def model(self) -> ModelInfo:
        """As ChatEngine's."""
        return self._engine.model

    def stream(self, conversation: Conversation, settings: GenerationSettings) -> Stream:
        """As ChatEngine's."""
        if conversation is PROBE:
            return self._engine.stream(conversation, settings)
        asked_s = time.monotonic()
        try:
            stream = self._engine.stream(conversation, settings)
        except LlavaChatError as error:
            self._watch.failed(error)
            raise
        return _Watched(stream, self._watch, asked_s)

    def context_use(
        self, conversation: Conversation, max_new_tokens: int | None = None
    ) -> ContextUse | None:
        """As ChatEngine's."""
        return self._engine.context_use(conversation, max_new_tokens)

    def adapters(self) -> tuple[AdapterChoice, ...]:
        """As ChatEngine's."""
        return self._engine.adapters()

    def load(self) -> EngineLoad:
        """As ChatEngine's."""
        return self._engine.load()

    def close(self, grace_s: float = 10.0) -> None:
        """As ChatEngine's."""
        self._engine.close(grace_s)


class _Watched(Iterator[Event]):
    """A Stream that tells of its events as they are read."""

    def __init__(self, stream: Stream, watch: ReplyWatch, asked_s: float) -> None:
        self._stream = stream
        self._watch = watch
        self._before_s = asked_s
        self._began = False
        self._over = False

    def __next__(self) -> Event:
        """The next event, waiting for it."""
        event = next(self._stream)
        match event:
            case Token():
                self._token()
            case Looking(_, prompt_tokens, reused_tokens):
                self._watch.reading(prompt_tokens, reused_tokens)
            case Done(finish=finish):
                self._end(finish)
            case Failed(error) if not self._over:
                self._over = True
                self._watch.failed(error)
        return event

    def cancel(self) -> None:
        """As a Stream's."""
        self._stream.cancel()

    def close(self) -> None:
        """As a Stream's. Its end is not read, so it is told here."""
        self._stream.close()
        self._end("cancelled")

    def _token(self) -> None:
        now_s = time.monotonic()
        waited_s, self._before_s = now_s - self._before_s, now_s
        if self._began:
            self._watch.token(waited_s)
        else:
            self._began = True
            self._watch.first_token(waited_s)

    def _end(self, finish: str) -> None:
        if not self._over:
            self._over = True
            self._watch.ended(finish)
