"""Replies made by one or more OpenAI-compatible servers that offer the same model.

One event loop in a thread of its own reads all replies at once. Asking goes on in the threads that
ask, and what is heard lies in mailboxes, so that neither waits for a reader. Imports the HTTP
client, conversation, engine.base, errors and the modules beside it; no torch.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import httpx2

from llava_chat.conversation import Conversation
from llava_chat.engine.base import (
    REMOTE_TEMPLATE,
    AdapterChoice,
    EngineLoad,
    Failed,
    GenerationSettings,
    ModelInfo,
)
from llava_chat.engine.remote.exchange import headers
from llava_chat.engine.remote.messages import Messages
from llava_chat.engine.remote.offered import Served, served_model
from llava_chat.engine.remote.reply import RemoteReply
from llava_chat.engine.remote.request import request
from llava_chat.engine.remote.servers import Servers, Timeouts, checked_urls
from llava_chat.engine.states import closed
from llava_chat.engine.stream import Mailbox, ReplyStream
from llava_chat.errors import EngineBusyError, LlavaChatError

DEFAULT_MAX_WAITING = 32
SERVED_AT_ONCE = 256
"""As many as vLLM runs at once if nobody says otherwise (max_num_seqs); the rest wait there."""

FORGOTTEN_AFTER_S = 0.25  # a stream that its reader dropped without a word ends within this


class RemoteEngine:
    """A ChatEngine whose model is on the servers at `urls`.

    key: API key. max_waiting: how many replies may be asked for beyond the `at_once` that each
    server is thought to run.
    """

    def __init__(
        self,
        urls: Sequence[str],
        served: Served,
        *,
        key: str | None = None,
        max_waiting: int = DEFAULT_MAX_WAITING,
        at_once: int = SERVED_AT_ONCE,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._model = _describe(served)
        self._servers = Servers(urls)
        self._key = key
        self._headers = headers(key)
        self._timeouts = timeouts or Timeouts()
        self._max_replies = at_once * len(urls) + max_waiting
        self._messages = Messages()
        self._replies = set[RemoteReply]()
        self._closed = False
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._client: httpx2.AsyncClient
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._listen, args=(started,), name="remote-engine", daemon=True
        )
        self._thread.start()
        started.wait()

    @property
    def model(self) -> ModelInfo:
        """The model that answers."""
        return self._model

    def stream(self, conversation: Conversation, settings: GenerationSettings) -> ReplyStream:
        """Yield Looking, Token*, then one Done or Failed; see ChatEngine.

        The conversation's template is not used: the server writes the prompt by its own. Raises
        EngineBusyError or EngineClosedError; all else that is wrong comes as Failed.
        """
        arrival_s = time.monotonic()
        with self._changed:
            self._check_open()
        try:
            asked = request(self._model.id, conversation, settings, self._messages)
        except LlavaChatError as error:
            mailbox = Mailbox()
            mailbox.put(Failed(error.with_traceback(None)))
            return ReplyStream(mailbox, lambda: None)
        reply = RemoteReply(asked, arrival_s, self._timeouts)
        with self._changed:
            self._check_open()
            self._replies.add(reply)
            asyncio.run_coroutine_threadsafe(self._serve(reply), self._loop)
        return ReplyStream(reply.mailbox, partial(self._wake, reply))

    def context_use(self, conversation: Conversation, max_new_tokens: int | None = None) -> None:
        """None: only the server has the model's tokenizer."""

    def adapters(self) -> tuple[AdapterChoice, ...]:
        """None: a server offers an adapter as a model of its own."""
        return ()

    def load(self) -> EngineLoad:
        """How many replies are being written, and how many have no word yet."""
        with self._changed:
            running = sum(reply.begun for reply in self._replies)
            return EngineLoad(running, len(self._replies) - running)

    def close(self, grace_s: float = 10.0) -> None:
        """Take no new work; let replies end for `grace_s` seconds, then cancel them."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.wait_for(lambda: not self._replies, grace_s)
            for reply in self._replies:
                self._wake(reply)
            self._changed.wait_for(lambda: not self._replies)
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _check_open(self) -> None:
        if self._closed:
            raise closed()
        if len(self._replies) >= self._max_replies:
            raise EngineBusyError(
                f"{len(self._replies)} replies are already being made or waited for; "
                "please try again in a minute."
            )

    def _wake(self, reply: RemoteReply) -> None:
        with suppress(RuntimeError):  # the engine is closed, and so the reply is over
            self._loop.call_soon_threadsafe(reply.stop)

    # ---- the event loop's thread -------------------------------------------------------------

    def _listen(self, started: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._until_closed(started))

    async def _until_closed(self, started: threading.Event) -> None:
        async with httpx2.AsyncClient(
            headers=self._headers,
            timeout=httpx2.Timeout(
                None, connect=self._timeouts.connect_s, write=self._timeouts.piece_s
            ),
            # A connection that is kept may be dropped by the server just when it is used again,
            # which looks like one that is away.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
        ) as self._client:
            started.set()
            while not self._ended.is_set():
                self._stop_forgotten()
                try:
                    await asyncio.wait_for(self._ended.wait(), FORGOTTEN_AFTER_S)
                except TimeoutError:
                    continue

    def _stop_forgotten(self) -> None:
        with self._changed:
            for reply in self._replies:
                if reply.mailbox.cancelled:
                    reply.stop()

    async def _serve(self, reply: RemoteReply) -> None:
        last = await reply.run(self._client, self._servers, self._key)
        with self._changed:
            self._replies.discard(reply)
            self._changed.notify_all()
        reply.mailbox.put(last)


def open_engine(
    urls: Sequence[str],
    *,
    key: str | None = None,
    model: str | None = None,
    max_waiting: int = DEFAULT_MAX_WAITING,
    timeouts: Timeouts | None = None,
) -> RemoteEngine:
    """Ask the servers what they offer, and start an engine for it. model: which, None for the only.

    Raises RemoteEngineError for a server that cannot be used, SettingError naming `engine_url` or
    `model`.
    """
    urls = checked_urls(urls)
    served = served_model(urls, key=key, wanted=model, timeouts=timeouts)
    return RemoteEngine(urls, served, key=key, max_waiting=max_waiting, timeouts=timeouts)


def _describe(served: Served) -> ModelInfo:
    return ModelInfo(
        id=served.id,
        revision="",
        template=REMOTE_TEMPLATE,
        context_tokens=served.context_tokens,
        parameters=0,
        description="on a server of its own",
        device="",
        dtype="",
        local=False,
    )
