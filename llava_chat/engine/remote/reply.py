"""One reply on its way from a server: asked for, read piece by piece, and how it ended.

Everything here happens in the engine's event loop, but for the mailbox that the reader empties.
Imports the HTTP client, engine.base, the stream, errors and the modules beside it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

import httpx2

from llava_chat.conversation import well_formed
from llava_chat.engine.base import UNKNOWN_TOKEN, Done, Failed, FinishReason, Looking, Token
from llava_chat.engine.remote.event_stream import Chunk, Usage, chunks
from llava_chat.engine.remote.refusals import MAX_ANSWER_BYTES, names_field, refusal
from llava_chat.engine.remote.request import USAGE, Request
from llava_chat.engine.remote.servers import Server, Servers, Timeouts
from llava_chat.engine.stream import Mailbox
from llava_chat.errors import (
    ContextFullError,
    EngineError,
    LlavaChatError,
    RemoteEngineError,
)

CLOSING_S = 1.0  # for a connection to close; the reader does not wait longer
COUNTS_S = 2.0  # for the token counts, after the last word
MAX_CHARACTERS_A_TOKEN = 512  # the longest token of a tokenizer is a run of 128 spaces

_AWAY = (
    "The server that makes the replies cannot be reached. Try again in a minute; if it stays away, "
    "whoever runs this page has to start it."
)
_BROKEN = "The model's server broke off in the middle of this reply. Try again."
_SILENT = "The model's server has been silent for {:.0f} seconds. Try again."
_ENDLESS = "The model's server sends more than it was asked for. Try again with other settings."
_NO_STREAM = (
    "What should be the model's server answers with something that is no stream of words; is it "
    "OpenAI-compatible?"
)
_FAILED = "The reply failed for a reason that the server's log tells. Try again."

_log = logging.getLogger(__name__)


class RemoteReply:
    """arrival_s: time.monotonic() when the request came; its deadline counts from there."""

    def __init__(self, request: Request, arrival_s: float, timeouts: Timeouts) -> None:
        self.mailbox = Mailbox()
        self._request = request
        self._arrival_s = arrival_s
        self._timeouts = timeouts
        self._patience: asyncio.Timeout  # of the request that is under way
        self._stopped = asyncio.Event()
        self._pieces: list[str] = []
        self._characters = 0
        self._first_token_s: float | None = None
        self._finish: FinishReason | None = None
        self._usage: Usage | None = None
        self.mailbox.put(Looking(request.pictures, 0, 0))

    @property
    def begun(self) -> bool:
        """Whether its first word has come."""
        return self._first_token_s is not None

    def stop(self) -> None:
        """End it with the words that there are."""
        self._stopped.set()

    async def run(
        self, client: httpx2.AsyncClient, servers: Servers, key: str | None
    ) -> Done | Failed:
        """Make it, and return what is to be told last. Never raises."""
        writing = asyncio.create_task(self._write(client, servers, key))
        stopping = asyncio.create_task(self._stopped.wait())
        left_s = max(0.0, self._request.settings.deadline_s - self._elapsed_s())
        both = {writing, stopping}
        await asyncio.wait(both, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        if writing.done():
            stopping.cancel()
            return self._outcome(writing.exception())
        finish: FinishReason = "cancelled" if self._stopped.is_set() else "deadline"
        for task in both:
            task.cancel()  # which closes the connection, and so the server stops too
        await asyncio.wait(both, timeout=CLOSING_S)
        return self._done(finish)

    def _outcome(self, error: BaseException | None) -> Done | Failed:
        if isinstance(error, LlavaChatError):
            return Failed(error.with_traceback(None))
        if error is not None:
            _log.error("a reply failed", exc_info=error)
            return Failed(EngineError(_FAILED))
        return self._done(self._finish or "stop")

    async def _write(self, client: httpx2.AsyncClient, servers: Servers, key: str | None) -> None:
        """Ask one server after the other until one can be reached. Raises LlavaChatError."""
        for server in servers.in_turn():
            server.running += 1
            try:
                await self._ask(client, server, key)
                return
            except httpx2.TransportError as error:
                _log.warning("%s: %s", server.url, error or type(error).__name__)
                if self.begun:
                    raise RemoteEngineError(_BROKEN) from None
                server.failed()
            finally:
                server.running -= 1
        raise RemoteEngineError(_AWAY)

    async def _ask(self, client: httpx2.AsyncClient, server: Server, key: str | None) -> None:
        """Ask, and ask for less where the server says that it was too much."""
        while True:
            try:
                await self._in_time(self._send(client, server, key))
                return
            except _CountsRefused:
                server.counts = False
            except ContextFullError:
                shorter = self._request.shorter()
                if shorter is None:
                    raise
                self._request = shorter

    async def _in_time(self, sending: Coroutine[Any, Any, None]) -> None:
        waits_s = self._timeouts.first_token_s
        try:
            async with asyncio.timeout(waits_s) as self._patience:
                await sending
        except TimeoutError:
            if self._finish is None:
                waits_s = self._timeouts.piece_s if self.begun else waits_s
                raise RemoteEngineError(_SILENT.format(waits_s)) from None

    async def _send(self, client: httpx2.AsyncClient, server: Server, key: str | None) -> None:
        address, counts = f"{server.url}/chat/completions", server.counts
        body = self._request.body(usage=counts)
        async with client.stream("POST", address, content=body) as response:
            server.answered()
            if response.status_code != 200:
                await self._refuse(response, counts, key)
            kind = response.headers.get("content-type", "")
            if not kind.startswith("text/event-stream"):
                raise RemoteEngineError(_NO_STREAM)
            await self._read(response, key)

    async def _refuse(self, response: httpx2.Response, counts: bool, key: str | None) -> None:
        answer = b""
        async for part in response.aiter_raw():
            answer += part
            if len(answer) > MAX_ANSWER_BYTES:
                break
        if counts and response.is_client_error and names_field(answer, USAGE):
            raise _CountsRefused
        _log.warning("%s answered with %d", response.url, response.status_code)
        raise refusal(
            response.status_code,
            answer,
            model=self._request.model,
            retry_after=response.headers.get("retry-after"),
            extras=self._request.extras(),
            key=key,
        )

    async def _read(self, response: httpx2.Response, key: str | None) -> None:
        try:
            async for chunk in chunks(response.aiter_raw(), key):
                self._take(chunk)
        except httpx2.TransportError:
            if self._finish is None:
                raise
        if self._finish is None:
            raise RemoteEngineError(_BROKEN)

    def _take(self, chunk: Chunk) -> None:
        self._usage = chunk.usage or self._usage
        if chunk.text:
            self._add(well_formed(chunk.text))
        if chunk.finish in ("abort", "error"):
            raise RemoteEngineError(_BROKEN)
        if chunk.finish is not None:
            self._finish = "length" if chunk.finish == "length" else "stop"
        if chunk.text or chunk.finish:
            patience_s = self._timeouts.piece_s if self._finish is None else COUNTS_S
            self._patience.reschedule(asyncio.get_running_loop().time() + patience_s)

    def _add(self, text: str) -> None:
        if self._first_token_s is None:
            self._first_token_s = self._elapsed_s()
        self._characters += len(text)
        if self._characters > MAX_CHARACTERS_A_TOKEN * self._request.settings.max_new_tokens:
            raise RemoteEngineError(_ENDLESS)
        self._pieces.append(text)
        self.mailbox.put(Token(text, UNKNOWN_TOKEN))

    def _done(self, finish: FinishReason) -> Done:
        usage = self._usage or Usage(0, len(self._pieces), 0)
        return Done(
            text="".join(self._pieces),
            token_ids=(),
            finish=finish,
            prompt_tokens=usage.prompt_tokens,
            reused_tokens=usage.reused_tokens,
            dropped_turns=0,
            seed=self._request.seed,
            first_token_s=self._first_token_s,
            total_s=self._elapsed_s(),
            server_tokens=usage.generated_tokens,
        )

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._arrival_s


class _CountsRefused(Exception):
    """The server does not take the wish for token counts."""
