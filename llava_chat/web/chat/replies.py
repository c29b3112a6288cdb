"""Replies in the making: each has a thread that reads the engine's events and keeps the outcome.

The page only looks at a reply's progress, some twelve times a second. A browser that is slow, that
shows another conversation or that is gone therefore neither holds the engine up nor loses words.
Imports engine.base and errors; no gradio.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Literal

from llava_chat.engine.base import (
    UNKNOWN_TOKEN,
    ContextUse,
    Done,
    Failed,
    Looking,
    Opening,
    Queued,
    Stream,
    Token,
)
from llava_chat.errors import EngineClosedError, InputError, LlavaChatError, StoreError

Phase = Literal["opening", "waiting", "looking", "writing", "ended"]
_SPEED_AFTER_TOKENS = 4  # a speed from fewer is mostly the first token's delay
_STILL_WRITING = "A reply is still being written. Stop it first, or wait for its end."
_STOPPING = "The server is stopping. Ask again in a minute."
_TOO_LATE = "The time for this reply ran out before its first word. Ask again in a minute."


@dataclass(frozen=True)
class Progress:
    """A reply as it stands. `version` grows with every change; `error` is a sentence.

    opening: the model that it waits for. tokens: of a server's reply the pieces, no more than its
    tokens, until it has ended; it has no tokens_per_s. unsaved: the reply was written to its end,
    and the store could not keep it.
    """

    phase: Phase = "waiting"
    opening: Opening | None = None
    place: int = 1
    wait_s: float | None = None
    pictures: int = 0
    text: str = ""
    tokens: int = 0
    tokens_per_s: float | None = None
    error: str | None = None
    unsaved: bool = False
    version: int = 0


class LiveReply:
    """One reply in the making. `progress` may be read from any thread.

    use: how full the context is without it, None where that is not known. over: how many tokens it
    had, once it has ended in whatever way.
    """

    def __init__(self, conversation_id: str, stream: Stream, use: ContextUse | None = None) -> None:
        self.conversation_id = conversation_id
        self.use = use
        self.progress = Progress()
        self.over = Future[int]()
        self._stream = stream
        self._first_token_at: float | None = None
        self._followers: list[_Follower] = []

    @contextmanager
    def followed(self) -> Iterator[_Follower]:
        """Count one who shows the reply, on the server's event loop.

        When the last one is cut off, because its browser has gone, the reply ends and is kept.
        """
        follower = _Follower()
        self._followers.append(follower)
        try:
            yield follower
        except BaseException:
            if len(self._followers) == 1:
                self.stop()
            raise
        finally:
            self._followers.remove(follower)

    def stop(self) -> None:
        """End the reply within one token and keep its words."""
        self._stream.cancel()

    @property
    def ended(self) -> bool:
        """True once the reply is kept, or has failed."""
        return self.progress.phase == "ended"

    def run(self, keep: Callable[[Done], None]) -> str | None:
        """Read the events to their end; `keep` stores what came. Returns what went wrong."""
        try:
            outcome = self._read()
            if isinstance(outcome, Failed):
                return str(outcome.error)
            self._change(tokens=outcome.generated_tokens)
            if outcome.token_ids or outcome.text:
                return self._keep(outcome, keep)
            if outcome.finish == "deadline":
                return _TOO_LATE
        except LlavaChatError as problem:
            return str(problem)
        return None

    def _keep(self, outcome: Done, keep: Callable[[Done], None]) -> str | None:
        try:
            keep(outcome)
        except StoreError as problem:
            self._change(text=outcome.text, unsaved=True)
            return f"This reply is not saved. {problem}"
        return None

    def end(self, error: str | None) -> None:
        """Tell whoever follows that there is no more to come."""
        self.over.set_result(self.progress.tokens)  # first: the next question may follow at once
        self._change(phase="ended", error=error)

    def _read(self) -> Done | Failed:
        while True:
            try:
                event = next(self._stream)
            except StopIteration:
                return Failed(EngineClosedError(_STOPPING))
            match event:
                case Opening() as opening:
                    self._change(phase="opening", opening=opening)
                case Queued(place, wait_s):
                    self._change(phase="waiting", place=place, wait_s=wait_s)
                case Looking(pictures):
                    self._change(phase="looking", pictures=pictures)
                case Token(text, token_id):
                    self._add(text, counted=token_id != UNKNOWN_TOKEN)
                case _:
                    return event

    def _add(self, text: str, *, counted: bool) -> None:
        now, before = time.monotonic(), self.progress
        if self._first_token_at is None:
            self._first_token_at = now
        spent_s = now - self._first_token_at
        enough = before.tokens >= _SPEED_AFTER_TOKENS and spent_s > 0
        self._change(
            phase="writing",
            text=before.text + text,
            tokens=before.tokens + 1,
            tokens_per_s=before.tokens / spent_s if enough and counted else None,
        )

    def _change(self, **changes: object) -> None:
        # One thread writes; readers take the whole frozen value, so no lock is needed.
        before = self.progress
        self.progress = replace(before, version=before.version + 1, **changes)  # type: ignore[arg-type]
        if self.progress.phase != before.phase:
            for follower in [*self._followers]:
                follower.wake()


class _Follower:
    """One who shows a reply, on an event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    async def news(self, frame_s: float) -> None:
        """Wait for the next phase of the reply, or for the time of a frame."""
        with suppress(TimeoutError):
            async with asyncio.timeout(frame_s):
                await self._news.wait()
        self._news.clear()

    def wake(self) -> None:
        """There is news. From any thread."""
        with suppress(RuntimeError):  # its loop has ended
            self._loop.call_soon_threadsafe(self._news.set)


class Replies:
    """The replies in the making, at most one for each conversation."""

    def __init__(self) -> None:
        self._running: dict[str, LiveReply] = {}
        self._reserved: set[str] = set()
        self._lock = threading.Lock()
        self._closed = False

    def running(self, conversation_id: str | None) -> LiveReply | None:
        """The conversation's reply in the making, if there is one."""
        with self._lock:
            return self._running.get(conversation_id or "")

    @contextmanager
    def reserved(self, conversation_id: str | None) -> Iterator[None]:
        """Keep everybody else from changing the conversation; None is one that is not there yet.

        What is asked inside can be stored and started without another message coming between.
        Raises InputError while somebody else changes it or a reply to it is being written.
        """
        with self._lock:
            if self._closed:
                raise EngineClosedError(_STOPPING)
            if conversation_id in self._running or conversation_id in self._reserved:
                raise InputError(_STILL_WRITING)
            if conversation_id is not None:
                self._reserved.add(conversation_id)
        try:
            yield
        finally:
            with self._lock:
                self._reserved.discard(conversation_id or "")

    def start(
        self,
        conversation_id: str,
        stream: Stream,
        keep: Callable[[Done], None],
        use: ContextUse | None = None,
    ) -> LiveReply:
        """Read `stream` in a thread of its own until it ends; `keep` stores the outcome.

        use: how full the context is without the reply, where that is known.
        """
        live = LiveReply(conversation_id, stream, use)
        with self._lock:
            if conversation_id in self._running or self._closed:
                stream.cancel()
                raise EngineClosedError(_STOPPING) if self._closed else InputError(_STILL_WRITING)
            self._running[conversation_id] = live
        name = f"reply-{conversation_id[:8]}"
        threading.Thread(target=self._run, args=(live, keep), name=name, daemon=True).start()
        return live

    def _run(self, live: LiveReply, keep: Callable[[Done], None]) -> None:
        error: str | None = "The reply failed for a reason that the server's log tells. Try again."
        try:
            error = live.run(keep)
        finally:
            with self._lock:
                self._running.pop(live.conversation_id, None)
            live.end(error)

    def close(self, grace_s: float) -> None:
        """Start no more; stop what has not ended by itself after `grace_s` seconds."""
        self._closed = True
        deadline = time.monotonic() + grace_s
        while self._running and time.monotonic() < deadline:
            time.sleep(0.02)
        with self._lock:
            remaining = list(self._running.values())
        for live in remaining:
            live.stop()
        kept_by = time.monotonic() + 2.0
        while self._running and time.monotonic() < kept_by:
            time.sleep(0.02)
