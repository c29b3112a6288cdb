"""The line of replies that wait for a slot: first come, first served.

Imports `job`, `engine.base` and `errors`; no torch.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from llava_chat.engine.base import EngineLoad, Failed
from llava_chat.engine.local.job import Job
from llava_chat.errors import EngineBusyError, EngineClosedError

# The newest reply's share in the mean: some ten replies tell what those who wait may expect.
_NEWEST_SHARE = 0.1


class Line:
    """A first-in, first-out queue that tells everyone their place. Safe from any thread.

    slots: how many are served at once. max_waiting: how many may wait for it.
    """

    def __init__(self, slots: int, max_waiting: int) -> None:
        self._slots = slots
        self._max_waiting = max_waiting
        self._waiting: deque[Job] = deque()
        self._served: dict[Job, float] = {}  # and since when
        self._mean_s: float | None = None
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
            if (place := len(self._waiting) - self._free) > 0:
                job.waits(place, self._wait_s(place))
            self._changed.notify_all()

    def next(self, *, wait: bool) -> Job | None:
        """The one to serve next, a slot being free.

        wait: until there is one. None when there is nobody, with `wait` because the line is closed.
        """
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            job = self._waiting.popleft()
            self._served[job] = time.monotonic()
            self._tell_places()
            return job

    def served(self, job: Job) -> None:
        """One that `next` gave is served. To be said before it is told, lest it asks again and is
        told to wait for itself.
        """
        with self._changed:
            took_s = time.monotonic() - self._served.pop(job)
            before_s = took_s if self._mean_s is None else self._mean_s
            self._mean_s = before_s + _NEWEST_SHARE * (took_s - before_s)
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
            wait_s = self._wait_s(len(self._waiting) + 1 - self._free)
            return EngineLoad(
                len(self._served), len(self._waiting), slots=self._slots, wait_s=wait_s
            )

    def close(self, grace_s: float) -> None:
        """Let nobody in; after `grace_s` seconds send away all who are still here."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting and not self._served, grace_s)
            for job in self._waiting:
                job.ends(Failed(closed()))
            self._waiting.clear()
            for job in self._served:
                job.mailbox.cancelled = True
            self._changed.notify_all()

    @property
    def _free(self) -> int:
        return self._slots - len(self._served)

    def _check_open(self) -> None:
        if self._closed:
            raise closed()
        waiting = len(self._waiting) - self._free
        if waiting >= self._max_waiting:
            wait_s = self._wait_s(waiting + 1)
            about = "in a minute" if wait_s is None else f"in about {_in_words(wait_s)}"
            raise EngineBusyError(
                f"{waiting} people are already waiting for a reply; please try again {about}.",
                wait_s,
            )

    def _wait_s(self, place: int) -> float | None:
        """About how long until whoever has this place in the line has a slot."""
        if place <= 0:
            return 0.0
        return None if self._mean_s is None else self._mean_s * place / self._slots

    def _tell_places(self) -> None:
        # Those for whom a slot is free are about to be fetched.
        for place, job in enumerate(self._waiting, start=1 - self._free):
            if place > 0:
                job.waits(place, self._wait_s(place))


def _in_words(seconds: float) -> str:
    """A time that is only known roughly.

    >>> _in_words(0.2), _in_words(41), _in_words(95)
    ('a second', '41 seconds', '2 minutes')
    """
    if seconds < 1.5:
        return "a second"
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"


def closed() -> EngineClosedError:
    """What whoever comes too late is told."""
    return EngineClosedError("The server is shutting down; send your message again in a minute.")
