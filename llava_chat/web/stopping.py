"""The orderly end of a server: nothing new is let in, and what was asked gets its answer.

Imports web.session alone.
"""

from __future__ import annotations

import threading
import time

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from llava_chat.web.session import ENTRANCES

RETRY_S = 10  # another server stands in by then, or this one has started again
SENTENCE = "The server is stopping. Try again in a minute."
# A page's heartbeat lasts as long as the page: nobody waits for the end of it.
_ENDLESS = "/gradio_api/heartbeat/"
# What begins something: a visit, an upload, a call of the API. A page that is open may go on, to
# show the end of its replies.
_BEGINNINGS = (*ENTRANCES, "/gradio_api/upload", "/gradio_api/upload/")
_API = "/v1/"


class Stopping:
    """Whether a server is ending. told: set when it is to end."""

    def __init__(self, told: threading.Event) -> None:
        self._told = told
        self.answering = 0  # requests whose answer is not out yet; counted on the event loop

    @property
    def begun(self) -> bool:
        """Whether it was told to end."""
        return self._told.is_set()

    def wait_for_answers(self, limit_s: float) -> None:
        """Let those who are being answered hear the end of it, for at most so many seconds."""
        until_s = time.monotonic() + limit_s
        while self.answering and time.monotonic() < until_s:
            time.sleep(0.02)


class StoppingMiddleware:
    """ASGI middleware that counts who is being answered, and lets nothing begin after the end has.

    What asks whether the server is there is answered to the last.
    """

    def __init__(self, app: ASGIApp, stopping: Stopping) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or say that it is too late."""
        if scope["type"] != "http" or scope["path"].startswith(_ENDLESS):
            await self._app(scope, receive, send)
            return
        self._stopping.answering += 1
        try:
            if self._stopping.begun and _begins(scope["path"]):
                headers = {"retry-after": str(RETRY_S), "connection": "close"}
                await _refusal(scope["path"], headers)(scope, receive, send)
            else:
                await self._app(scope, receive, send)
        finally:
            self._stopping.answering -= 1


def _refusal(path: str, headers: dict[str, str]) -> Response:
    """A page to read; to a program the same in JSON, where OpenAI's clients look for it too."""
    if path == "/":
        return PlainTextResponse(SENTENCE, status_code=503, headers=headers)
    error = {"message": SENTENCE, "type": "server_error"}
    return JSONResponse({"detail": SENTENCE, "error": error}, status_code=503, headers=headers)


def _begins(path: str) -> bool:
    return path in _BEGINNINGS or path.startswith(_API)
