"""A real HTTP server of the tests' own, which answers each request as a test wants it to."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

MODEL = "tiny"
GIVE_UP_S = 60.0  # a test that goes wrong must not hang


@dataclass(frozen=True)
class Heard:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass
class Wire:
    """The server's end of one connection; what was sent is on its way when a method returns."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    gone: threading.Event = field(default_factory=threading.Event)

    async def raw(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def head(
        self, status: int = 200, kind: str = "text/event-stream", extra: str = ""
    ) -> None:
        """The body goes on until the connection is closed."""
        await self.raw(
            f"HTTP/1.1 {status} Word\r\ncontent-type: {kind}\r\nconnection: close\r\n"
            f"{extra}\r\n".encode()
        )

    async def json(self, status: int, answer: object, extra: str = "") -> None:
        await self.head(status, "application/json", extra)
        await self.raw(json.dumps(answer).encode())

    async def event(self, data: object) -> None:
        await self.raw(b"data: " + json.dumps(data).encode() + b"\n\n")

    async def pieces(self, *texts: str) -> None:
        for text in texts:
            await self.event({"choices": [{"index": 0, "delta": {"content": text}}]})

    async def end(self, finish: str = "stop", usage: dict[str, Any] | None = None) -> None:
        """As vLLM ends: why, then the counts, then the mark."""
        await self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        if usage is not None:
            await self.event({"choices": [], "usage": usage})
        await self.raw(b"data: [DONE]\n\n")

    async def until_gone(self) -> None:
        """Wait for the client to close the connection."""
        async with asyncio.timeout(GIVE_UP_S):
            await self.reader.read()
        self.gone.set()


Answer = Callable[[Heard, Wire], Awaitable[None]]


async def hello(heard: Heard, wire: Wire) -> None:
    """A good short reply."""
    await wire.head()
    await wire.pieces("Hello", " there", ".")
    await wire.end()


class ScriptedServer:
    """Answers `/v1/models` with `models`, or as `listing` does, and chats as `answer` does.

    heard: the chat requests. gone: set when a client has left while `Wire.until_gone` waited.
    """

    def __init__(
        self,
        answer: Answer = hello,
        models: Sequence[dict[str, Any]] = ({"id": MODEL},),
        listing: Answer | None = None,
    ) -> None:
        self.answer = answer
        self.models = models
        self.listing = listing
        self.heard: list[Heard] = []
        self.asked_for_models: list[Heard] = []
        self.gone = threading.Event()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Listen, at the same port as before."""
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Refuse further connections."""
        if self._server is not None:
            self._loop.call_soon_threadsafe(self._server.close)
            self._run(asyncio.sleep(0))
            self._server = None

    def close(self) -> None:
        self.stop()
        self._run(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, waiting: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(waiting, self._loop).result(GIVE_UP_S)

    async def _cancel_all(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heard = await _read(reader)
            wire = Wire(reader, writer, self.gone)
            if heard.path.endswith("/models"):
                self.asked_for_models.append(heard)
                await (self.listing or self._list)(heard, wire)
            else:
                self.heard.append(heard)
                await self.answer(heard, wire)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone.set()
        finally:
            writer.close()

    async def _list(self, heard: Heard, wire: Wire) -> None:
        await wire.json(200, {"object": "list", "data": list(self.models)})


async def _read(reader: asyncio.StreamReader) -> Heard:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Heard(first.split()[1], headers, body)
