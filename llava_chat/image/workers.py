"""The child processes that decode: a few stay warm, and each may die without harm.

A child is a program of its own (decoder/), never a fork, because a process that holds torch and
its threads must not be forked. The first one starts with the first picture. One that crashes or
takes too long is killed and replaced. They end with this process: at exit they are killed, and
if this process is killed itself they read the end of their input, or run out of processor time.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import PIL

from llava_chat.image import decoder
from llava_chat.image.decoder.child import REQUEST
from llava_chat.image.decoder.headers import Refused
from llava_chat.image.limits import PictureLimits
from llava_chat.image.picture import Picture, picture_from_pixels

# Two let quick pictures pass beside a slow one, and hold the memory to twice the limit of one.
MAX_WORKERS = 2
MAX_WAIT_S = 30.0
MAX_ANSWER_BYTES = 4096

# -I -S keeps PYTHON* variables, user packages and .pth files out of the child, which needs Pillow
# and the decoder only, and is told where those are.
CHILD = (
    "-I",
    "-S",
    "-c",
    "import sys; sys.path += sys.argv[1:]; from decoder.child import main; main()",
    *(str(Path(package.__path__[0]).parent) for package in (decoder, PIL)),
)


def decode_in_child(data: bytes, limits: PictureLimits) -> Picture:
    """Decode a file's bytes within these limits. Raises Refused."""
    with _pool().worker() as worker:
        return worker.decode(data, limits)


def _request(data: bytes, limits: PictureLimits) -> bytes:
    return REQUEST.pack(
        len(data),
        limits.max_pixels,
        limits.max_side_px,
        limits.decode_memory_bytes,
        int(limits.decode_timeout_s) + 1,
    )


class Worker:
    """One child process; used by one thread at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._timed_out = False

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """False when the child ended, for whatever reason."""
        return self._process.poll() is None

    def decode(self, data: bytes, limits: PictureLimits) -> Picture:
        """Have the child decode one file. Raises Refused; the child may then be dead."""
        # Killing the child ends any read from it and any write to it.
        clock = threading.Timer(limits.decode_timeout_s, self._time_is_up)
        clock.daemon = True
        clock.start()
        answered = False
        try:
            answer = self._exchange(data, limits)
            answered = True
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise Refused(self._why_it_ended(limits)) from error
        finally:
            clock.cancel()
            clock.join()
            # Also when interrupted, or else the next file would get the answer to this one.
            if self._timed_out or not answered:
                self.kill()
        if isinstance(answer, str):
            raise Refused(answer)
        return answer

    def _exchange(self, data: bytes, limits: PictureLimits) -> Picture | str:
        """Send the file; give back what the child decoded, or why it refused."""
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            raise EOFError
        requests.write(_request(data, limits))
        requests.write(data)
        requests.flush()
        answer = json.loads(answers.readline(MAX_ANSWER_BYTES))
        if "refused" in answer:
            return str(answer["refused"])
        width, height = int(answer["width"]), int(answer["height"])
        if not 0 < width * height <= limits.max_pixels:
            raise ValueError("a child that keeps to its limits does not say this")
        pixels = bytearray(3 * width * height)
        if answers.readinto(pixels) != len(pixels):  # type: ignore[attr-defined]
            raise EOFError
        return picture_from_pixels(width, height, pixels, answer["notice"])

    def _why_it_ended(self, limits: PictureLimits) -> str:
        if self._timed_out:
            return f"takes longer than {limits.decode_timeout_s:g} s to decode: save it anew."
        return "made the decoder stop: save it anew and send that."

    def _time_is_up(self) -> None:
        self._timed_out = True
        self._process.kill()

    def kill(self) -> None:
        """End the child at once and collect it."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # closing flushes what nobody will read
                    pipe.close()
        self._process.wait()


class WorkerPool:
    """At most MAX_WORKERS children, lent to one thread each, started when they are needed."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(MAX_WORKERS)
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._lent: set[Worker] = set()

    @contextlib.contextmanager
    def worker(self) -> Iterator[Worker]:
        """Lend a living worker. Raises Refused when all stay busy for MAX_WAIT_S."""
        if not self._free.acquire(timeout=MAX_WAIT_S):
            raise Refused("cannot be read yet, too many others are: send it again in a minute.")
        try:
            worker = self._take()
            try:
                yield worker
            finally:
                self._put_back(worker)
        finally:
            self._free.release()

    def _take(self) -> Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.alive:
                    break
                worker.kill()
            else:
                worker = self._start()
            self._lent.add(worker)
            return worker

    def _start(self) -> Worker:
        try:
            return Worker()
        except OSError as error:
            raise Refused("cannot be read now: this server cannot start its decoder.") from error

    def _put_back(self, worker: Worker) -> None:
        with self._lock:
            self._lent.discard(worker)
            if worker.alive:
                self._idle.append(worker)
            else:
                worker.kill()

    def close(self) -> None:
        """Kill every child. Pictures being decoded are refused; later ones start new children."""
        with self._lock:
            workers = [*self._idle, *self._lent]
            self._idle.clear()
        for worker in workers:
            worker.kill()


_POOLS: dict[int, WorkerPool] = {}


def _pool() -> WorkerPool:
    """The pool of this process: a forked copy must not talk to the original's children."""
    pool = _POOLS.get(os.getpid())
    if pool is None:
        pool = _POOLS.setdefault(os.getpid(), WorkerPool())
        atexit.register(close_decoders)
    return pool


def close_decoders() -> None:
    """End this process's children: pictures being decoded are refused at once."""
    pool = _POOLS.get(os.getpid())
    if pool is not None:
        pool.close()
