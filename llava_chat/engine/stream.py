"""The reader's end of one reply: events come out, the wish to stop goes in.

The engine never waits for a reader. A reply holds at most its own tokens, some hundreds of small
events, so a slow or vanished reader costs bounded memory and nobody's time.
Imports `engine.base` only.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Self

from llava_chat.engine.base import Done, Event, Failed, Queued


class Mailbox:
    """Events of one reply, from the engine's thread to the reader's. Safe from any thread.

    cancelled: the reader wants the reply to stop; the engine looks at it at every token.
    """

    def __init__(self) -> None:
        self.cancelled = False
        self._events: deque[Event] = deque()
        self._ended = False
        self._changed = threading.Condition()

    def put(self, event: Event) -> None:
        """Add an event; Done or Failed is the last. Of places not yet read the newest is kept."""
        with self._changed:
            if self._ended:
                return
            if isinstance(event, Queued) and self._events and isinstance(self._events[-1], Queued):
                self._events.pop()
            self._events.append(event)
            self._ended = isinstance(event, Done | Failed)
            self._changed.notify_all()

    def take(self) -> Event | None:
        """The next event, waiting for it; None when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._ended)
            return self._events.popleft() if self._events else None

    def unread(self) -> list[Event]:
        """What can be taken without waiting."""
        with self._changed:
            events = [*self._events]
            self._events.clear()
            return events

    def shut(self) -> None:
        """The reader has gone: forget what was not read, take nothing more."""
        with self._changed:
            self._ended = True
            self._events.clear()
            self._changed.notify_all()


class ReplyStream(Iterator[Event]):
    """An iterator of events that can be cancelled or closed from any thread.

    `cancel()` ends the reply early and keeps its words: what was written still comes, then
    Done(finish="cancelled"). `close()`, also on leaving a `with`, frees the engine and yields
    nothing more. A stream that is simply forgotten is stopped too.
    """

    def __init__(self, mailbox: Mailbox, wake: Callable[[], None]) -> None:
        """wake: called after the reader wished to stop, for an engine that is not looking."""
        self._mailbox = mailbox
        self._wake = wake

    def __next__(self) -> Event:
        """The next event, waiting for it."""
        event = self._mailbox.take()
        if event is None:
            raise StopIteration
        return event

    def cancel(self) -> None:
        """Stop within one token; the partial reply still comes, ending in Done."""
        self._mailbox.cancelled = True
        self._wake()

    def close(self) -> None:
        """Free the engine within one token; a reader that waits in another thread ends."""
        self._mailbox.shut()
        self.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # The collector may run this anywhere, under any lock, so it takes none.
        self._mailbox.cancelled = True
