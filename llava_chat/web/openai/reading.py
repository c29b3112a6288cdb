"""A reply's events on the event loop, which never waits for the engine.

An engine's stream is read by whoever waits for it. Here a thread of the reply's own does, hands on
what it reads, and says when the reply is over, whether anybody still listens or not: then a slow
caller holds neither the engine nor a place among the replies at once. What nobody has taken yet is
at most the reply's own tokens. Imports engine.base and errors.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from llava_chat.engine.base import Done, Event, Failed, Stream, Token
from llava_chat.errors import EngineClosedError, EngineError

_STOPPING = "The server is stopping. Ask again in a minute."
_FAILED = "The reply failed for a reason that the server's log tells. Try again."

_log = logging.getLogger(__name__)


class Reading:
    """To be made and used on the event loop. over: is told, in a thread, how many tokens came."""

    def __init__(self, stream: Stream, over: Callable[[int], object]) -> None:
        self._stream = stream
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._events: list[Event] = []
        threading.Thread(target=self._read, name="openai-reply", daemon=True).start()

    async def news(self, within_s: float | None = None) -> list[Event]:
        """What has come since the last call; nothing when nothing came within so many seconds.

        Done or Failed is the last that comes.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._news.wait()
        self._news.clear()
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Free the engine within one token; whoever still listens hears of the end."""
        self._stream.close()

    def _read(self) -> None:
        """In the thread."""
        tokens = 0
        last: Done | Failed = Failed(EngineClosedError(_STOPPING))
        try:
            for event in self._stream:
                if isinstance(event, Done | Failed):
                    last = event
                    break
                tokens += isinstance(event, Token)
                self._hand_on(event)
        except Exception:
            _log.exception("a reply could not be read")
            last = Failed(EngineError(_FAILED))
        # Before anybody hears of the end: their next call may follow at once.
        self._over(tokens)
        self._hand_on(last)

    def _hand_on(self, event: Event) -> None:
        with suppress(RuntimeError):  # the server has ended, and its loop with it
            self._loop.call_soon_threadsafe(self._take, event)

    def _take(self, event: Event) -> None:
        self._events.append(event)
        self._news.set()
