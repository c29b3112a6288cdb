"""A reply as an HTTP response, whole or in server-sent events, for as long as its caller is there.

Imports engine.base and the modules beside it.
"""

from __future__ import annotations

import asyncio

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from llava_chat.engine.base import Done, Event, Failed, Opening, Queued, Token
from llava_chat.errors import EngineOpeningError, LlavaChatError
from llava_chat.web.openai.answers import Completion, event
from llava_chat.web.openai.errors import refusal
from llava_chat.web.openai.reading import Reading

# Proxies cut a connection on which nothing came for a minute, some for half of it.
KEEP_ALIVE_S = 10.0
# A caller who takes nothing for so long has left without saying so.
MAX_UNREAD_S = 60.0
_OPENING = "{} is being loaded; ask again in a moment."
_STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep the words back
]


class ReplyResponse(Response):
    """The reply behind `reading`, told as `completion` says. A caller who leaves ends it."""

    def __init__(self, reading: Reading, completion: Completion, *, stream: bool) -> None:
        self._reading = reading
        self._completion = completion
        self._stream = stream
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        leaving = asyncio.create_task(self._until_left(receive))
        try:
            first = await self._reading.news()
            if problem := _at_once(first):
                await refusal(problem).response()(scope, receive, send)
            elif self._stream:
                await self._send_events(first, send)
            else:
                await (await self._whole(first))(scope, receive, send)
        finally:
            leaving.cancel()
            self._reading.close()

    async def _until_left(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._reading.close()

    async def _whole(self, news: list[Event]) -> Response:
        while not isinstance(last := news[-1], Done | Failed):
            news = await self._reading.news()
        if isinstance(last, Failed):
            return refusal(last.error).response()
        return JSONResponse(self._completion.whole(last), headers={"cache-control": "no-store"})

    async def _send_events(self, news: list[Event], send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
        piece = self._completion.first()
        while True:
            piece += b"".join(map(self._told, news))
            ended = bool(news) and isinstance(news[-1], Done | Failed)
            try:
                async with asyncio.timeout(MAX_UNREAD_S):
                    message = {"type": "http.response.body", "body": piece}
                    await send({**message, "more_body": not ended})
            except TimeoutError:
                return  # with the response unfinished: the server cuts the connection
            if ended:
                return
            news = await self._reading.news(KEEP_ALIVE_S)
            piece = b"" if news else b": still waiting\n\n"

    def _told(self, news: Event) -> bytes:
        match news:
            case Token(text) if text:
                return self._completion.words(text)
            case Queued(place):
                return f": place {place} in the line\n\n".encode()
            case Done():
                return self._completion.last(news)
            case Failed(error):
                return event(refusal(error).body)
        return b""


def _at_once(news: list[Event]) -> LlavaChatError | None:
    """Why there will be no reply: then the answer has a status of its own, also for a stream."""
    match news:
        case [Failed(error), *_]:
            return error
        case [Opening(name), *_]:
            return EngineOpeningError(_OPENING.format(name))
    return None
