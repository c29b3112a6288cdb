"""A reply that may have to wait until there is a model to write it.

Imports `engine.base`, conversation and errors; no torch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from llava_chat.conversation import Conversation
from llava_chat.engine.base import (
    ChatEngine,
    Done,
    Event,
    Failed,
    GenerationSettings,
    ModelInfo,
    Opening,
    Stream,
)
from llava_chat.errors import LlavaChatError


class HeldReply(Iterator[Event]):
    """A Stream: Opening events until an engine begins it, then that engine's.

    changed: guards everything here, and is notified when the state changes. state: what is waited
    for, if it is an Opening. ended: called when the reply is over, read to its end or not, and
    perhaps again.
    """

    def __init__(
        self,
        changed: threading.Condition,
        state: Callable[[], object],
        ended: Callable[[HeldReply], None],
        conversation: Conversation,
        settings: GenerationSettings,
    ) -> None:
        self._changed = changed
        self._state = state
        self._ended = ended
        self._asked = conversation, settings
        self._arrival_s = time.monotonic()
        self._told: Opening | None = None
        self._stream: Stream | None = None
        self._model: ModelInfo | None = None
        self._last: Done | Failed | None = None  # how it ended without an engine
        self._over = False

    def begin(self, engine: ChatEngine) -> None:
        """Have the engine write it, unless nobody waits any more. Raises what `stream` does."""
        stream = engine.stream(*self._asked)
        with self._changed:
            self._stream, self._model = stream, engine.model
            unwanted = self._last is not None or self._over  # since it was to begin
            self._changed.notify_all()
        if unwanted:
            stream.close()
            self._tell_end()

    def fail(self, error: LlavaChatError) -> None:
        """There will be no engine for it."""
        self._end(Failed(error.with_traceback(None)))

    def __next__(self) -> Event:
        """The next event, waiting for it."""
        with self._changed:
            self._changed.wait_for(self._has_news)
            if self._over:
                raise StopIteration
            if self._last is not None:
                self._over = True
                return self._last
            if self._stream is None:
                self._told = self._waits_for()
                assert self._told is not None  # nothing else is news
                return self._told
            stream = self._stream
        try:
            event = next(stream)
        except StopIteration:
            self._tell_end()
            raise
        if isinstance(event, Done):
            event = replace(event, model=event.model or self._model)
        if isinstance(event, Done | Failed):
            self._tell_end()
        return event

    def cancel(self) -> None:
        """As a Stream's; one that still waits for a model ends with no words."""
        with self._changed:
            stream = self._stream
            if stream is None:
                seed, waited_s = self._asked[1].seed, time.monotonic() - self._arrival_s
                self._end(Done("", (), "cancelled", 0, 0, 0, seed, None, waited_s))
        if stream is not None:
            stream.cancel()

    def close(self) -> None:
        """As a Stream's."""
        with self._changed:
            self._over = True
            stream = self._stream
            self._changed.notify_all()
        if stream is not None:
            stream.close()
        self._tell_end()

    def _has_news(self) -> bool:
        waits_for = self._waits_for()
        told = waits_for is None or waits_for == self._told
        return self._over or self._last is not None or self._stream is not None or not told

    def _waits_for(self) -> Opening | None:
        state = self._state()
        return state if isinstance(state, Opening) else None

    def _end(self, last: Done | Failed) -> None:
        with self._changed:
            self._last = self._last or last
            self._changed.notify_all()
        self._tell_end()

    def _tell_end(self) -> None:
        self._ended(self)
