"""Replies one after the other, each in a call that lends a GPU: Hugging Face's ZeroGPU.

There `spaces.GPU` runs a function in a forked process that alone may use the GPU, and its results
are pickled back. So nothing of a reply is kept in this process, no step is recorded, and an error
comes back as a value, because one that is raised reaches the page as "Error" only (gradio issue
12792). A process that is used again still has its slot. Imports `engine.base` and the modules
beside it.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Protocol, TypeVar

from llava_chat.engine.base import Done, Event, Failed, Looking, Token
from llava_chat.engine.local.failure import failed
from llava_chat.engine.local.job import Job, Request
from llava_chat.engine.local.sizing import Room
from llava_chat.engine.local.writer import Ended, Writer
from llava_chat.image import Picture
from llava_chat.model.checkpoint import Checkpoint

_Call = TypeVar("_Call", bound=Callable[..., Iterator[Event]])


class Lend(Protocol):
    """`spaces.GPU`, or what does the same. duration: seconds, from the call's arguments."""

    def __call__(self, *, duration: Callable[..., float]) -> Callable[[_Call], _Call]:
        """A decorator for generators."""


class PlainWriter:
    """What Writer is, for one reply at a time that is written wherever `lend` has it run.

    Everything a call needs but its request is in this object, which the forked process has too.
    """

    kept_tokens = adapter_bytes = 0

    def __init__(self, checkpoint: Checkpoint, room: Room, ended: Ended, lend: Lend) -> None:
        self._checkpoint = checkpoint
        self._room = room
        self._ended = ended
        self._writer: Writer | None = None  # of the process that has the GPU
        self._cancelled = multiprocessing.get_context("fork").Event()
        self._lent = lend(duration=_lent_s)(self._write)
        self._job: Job | None = None

    @property
    def idle(self) -> bool:
        """True while there is no reply."""
        return self._job is None

    @property
    def free_slots(self) -> int:
        """How many replies can begin before `work` is called."""
        return int(self.idle)

    def knows(self, picture: Picture) -> bool:
        """Never: this process sees no pictures."""
        return False

    def begin(self, job: Job) -> None:
        """The reply that `work` makes."""
        self._job = job

    def work(self) -> None:
        """Make a reply from its beginning to its end."""
        job, self._job = self._job, None
        assert job is not None  # it was begun
        self._cancelled.clear()
        try:
            last = self._followed(job)
        except Exception as error:
            last = failed(error)
        self._ended(job, last)

    def _followed(self, job: Job) -> Done | Failed:
        """Tell of what comes back from the call, and have it stopped when it may not go on."""
        left_s = job.left_s
        with closing(job.run(self._lent, job.request, left_s)) as events:
            for event in events:
                if job.interruption():
                    self._cancelled.set()
                match event:
                    case Looking(pictures, _, reused):
                        job.looks(pictures, reused)
                    case Token(text, token_id):
                        job.writes(token_id, text)
                    case Done(finish=finish, token_ids=ids):
                        return job.done(job.interruption() or finish, ids)
                    case Failed():
                        return event
        raise RuntimeError("the call ended without an end")

    def _write(self, request: Request, left_s: float) -> Iterator[Event]:
        """Runs where the GPU is."""
        if self._writer is None or not self._writer.idle:
            self._writer = Writer(self._checkpoint, self._room, lambda job, last: job.ends(last))
        job = Job(request, time.monotonic() + left_s - request.settings.deadline_s)
        self._writer.begin(job)
        while not self._writer.idle:
            job.mailbox.cancelled = self._cancelled.is_set()
            self._writer.work()
            yield from job.mailbox.unread()


def _lent_s(request: Request, left_s: float) -> float:
    """The longest that a reply may take: a call that lasts longer is killed."""
    return left_s + 5.0
