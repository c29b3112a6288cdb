"""The line of replies that wait for the one inference thread: first come, first served.

Imports `job`, `engine.base` and `errors`; no torch.
"""

from __future__ import annotations

import threading
from collections import deque

from llava_chat.engine.base import EngineLoad, Failed
from llava_chat.engine.local.job import Job
from llava_chat.errors import EngineBusyError, EngineClosedError


class Line:
    """A first-in, first-out queue that tells everyone their place. Safe from any thread.

    max_waiting: how many may wait while one is served.
    """

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._waiting: deque[Job] = deque()
        self._served: Job | None = None
        self._closed = False
        self._changed = threading.Condition()

    def check_open(self) -> None:
        """Raise EngineClosedError or EngineBusyError when `join` would."""
        with self._changed:
            self._check_open()

    def join(self, job: Job) -> None:
        """Stand at the end. Raises EngineBusyError when too many wait, EngineClosedError."""
        with self._changed:
            self._check_open()
            self._waiting.append(job)
            if self._served is not None or len(self._waiting) > 1:
                job.waits(len(self._waiting))
            self._changed.notify_all()

    def next(self) -> Job | None:
        """Wait for the one to serve next. None when the line is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            self._served = self._waiting.popleft()
            self._tell_places()
            return self._served

    def served(self) -> None:
        """The one that `next` gave is served. To be said before it is told, lest it asks again
        and is told to wait for itself.
        """
        with self._changed:
            self._served = None
            self._changed.notify_all()

    def drop_interrupted(self) -> None:
        """End those that wait although they were cancelled or their deadline has passed."""
        with self._changed:
            ended = [(job, why) for job in self._waiting if (why := job.interruption())]
            for job, finish in ended:
                self._waiting.remove(job)
                job.ends(job.done(finish))
            if ended:
                self._tell_places()
                self._changed.notify_all()

    def load(self) -> EngineLoad:
        """How many are served and wait."""
        with self._changed:
            return EngineLoad(int(self._served is not None), len(self._waiting), slots=1)

    def close(self, grace_s: float) -> None:
        """Let nobody in; after `grace_s` seconds send away all who are still here."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting and not self._served, grace_s)
            for job in self._waiting:
                job.ends(Failed(closed()))
            self._waiting.clear()
            if self._served is not None:
                self._served.mailbox.cancelled = True
            self._changed.notify_all()

    def _check_open(self) -> None:
        if self._closed:
            raise closed()
        free = 1 if self._served is None else 0
        if len(self._waiting) >= self._max_waiting + free:
            raise EngineBusyError(
                f"{len(self._waiting)} people are already waiting for a reply; "
                "please try again in a minute."
            )

    def _tell_places(self) -> None:
        for place, job in enumerate(self._waiting, start=1):
            job.waits(place)


def closed() -> EngineClosedError:
    """What whoever comes too late is told."""
    return EngineClosedError("The server is shutting down; send your message again in a minute.")
