"""What stands before Gradio's own routes: sizes, origins, files and event streams.

Gradio would fetch `{"path": "http://..."}` before a handler sees it, serve any public address as
`/gradio_api/file=https://...`, run ffmpeg on what anybody posts, read a JSON body of any length,
fill the disk with uploads, and give the events of a `session_hash` to whoever names it. This ASGI
middleware lets through what the page and `gradio_client` call, and refuses the rest with a sentence
and the status that says why. It belongs behind `web.session`'s middleware. Imports errors,
web.parts, web.security and web.session.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_chat.errors import LimitError, PictureError
from llava_chat.web.parts import PartCounter
from llava_chat.web.security import refuse_foreign_paths
from llava_chat.web.session import Sessions, read_cookie

API = "/gradio_api/"
# The part around a file in a multipart body: boundary, headers, the file's name.
MULTIPART_OVERHEAD_BYTES = 64 * 1024
REMEMBERED_PAGES = 10_000  # whose they are
_REMOTE = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:)?[/\\]{2}|^\s*(?:file|data|ftp|https?):", re.I)
# Below this an upload is refused: the database is on the same disk, and needs room for every word.
MIN_FREE_BYTES = 512 * 1024**2
# What the page and gradio_client call; a file is one of this server's, not an address.
_ROUTES = re.compile(
    r"""/gradio_api/(?:
    info | openapi\.json | app_id | startup-events | login_check | user | token
    | queue/(?:join|data|status) | (?:call|run|api)/.+ | cancel | reset | heartbeat/[^/]+
    | custom_component/[0-9a-f]+/client/component/[\w.-]+
    | upload | upload_progress | file=(?!\s*[a-z][a-z0-9+.-]*:).+
    )/?""",
    re.VERBOSE | re.IGNORECASE,
)
_HEARTBEAT = re.compile(r"^/gradio_api/heartbeat/([^/]+)$")


class _Refusal(Exception):
    """Answered at once: a status, one sentence, and when it may be tried again."""

    def __init__(self, status: int, sentence: str, retry_after_s: float | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = retry_after(retry_after_s)


class RequestGuard:
    """ASGI middleware that refuses what Gradio would let through.

    max_json_bytes: longest body of a call. max_upload_bytes: longest body of an upload, all its
    files together. uploads: the folder where they wait. on_picture: told of each file that is
    uploaded, with the request's scope; may raise LimitError. Events of a page belong to the session
    that first named its session_hash.
    """

    def __init__(
        self,
        app: ASGIApp,
        sessions: Sessions,
        *,
        max_json_bytes: int,
        max_upload_bytes: int,
        uploads: Path,
        on_picture: Callable[[Scope], None] = lambda scope: None,
    ) -> None:
        self._app = app
        self._sessions = sessions
        self._max_json_bytes = max_json_bytes
        self._max_upload_bytes = max_upload_bytes + MULTIPART_OVERHEAD_BYTES
        self._uploads = uploads
        self._on_picture = on_picture
        self._pages: OrderedDict[str, str | None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the request, then hand it on, or answer it."""
        if scope["type"] != "http" or not scope["path"].startswith(API):
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, await self._check(scope, receive), send)
        except _Refusal as refusal:
            body = {"detail": str(refusal)}
            answer = JSONResponse(body, status_code=refusal.status, headers=refusal.headers)
            await answer(scope, receive, send)

    async def _check(self, scope: Scope, receive: Receive) -> Receive:
        headers = Headers(scope=scope)
        if not _ROUTES.fullmatch(unquote(scope["path"])):
            raise _Refusal(403, "This server answers no such call, and serves its own files only.")
        owner = self._sessions.owner_of_cookie(read_cookie(headers.get("cookie", "")))
        for page in _named_pages(scope):
            self._claim(page, owner)
        if scope["method"] != "POST":
            return receive
        if headers.get("sec-fetch-site") == "cross-site":
            raise _Refusal(403, "Calls from pages of other sites are not answered.")
        if headers.get("content-type", "").startswith("multipart/"):
            if shutil.disk_usage(self._uploads).free < MIN_FREE_BYTES:
                raise _Refusal(
                    507, "The server's disk is nearly full: no picture can be taken now."
                )
            limited = _limited(receive, headers, self._max_upload_bytes)
            return _counted(limited, headers, partial(self._on_picture, scope))
        body = await _read(receive, headers, self._max_json_bytes)
        self._check_call(body, owner)
        return _replay(body, receive)

    def _check_call(self, body: bytes, owner: str | None) -> None:
        try:
            call = json.loads(body) if body else {}
        except (ValueError, RecursionError) as error:
            raise _Refusal(422, "The body of this call is not JSON.") from error
        for file in _files(call):
            if _REMOTE.match(file["path"]):
                raise _Refusal(403, "Pictures are not fetched from an address: upload the file.")
            if file.get("meta") == {"_type": "gradio.FileData"}:
                _check_uploaded(file["path"])
        if isinstance(call, dict) and isinstance(call.get("session_hash"), str):
            self._claim(call["session_hash"], owner)

    def _claim(self, page: str, owner: str | None) -> None:
        if self._pages.setdefault(page, owner) != owner:
            raise _Refusal(403, "This page belongs to another session. Reload it.")
        self._pages.move_to_end(page)
        if len(self._pages) > REMEMBERED_PAGES:
            self._pages.popitem(last=False)


def _named_pages(scope: Scope) -> list[str]:
    heartbeat = _HEARTBEAT.match(scope["path"])
    query = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [])
    return [*query, *([heartbeat.group(1)] if heartbeat else [])]


def _files(value: Any) -> Iterator[dict[str, Any]]:
    """Every object with a `path`, however deep: Gradio takes it for a file anywhere.

    >>> [file["path"] for file in _files({"data": [[{"path": "a"}], {"files": [{"path": "b"}]}]})]
    ['a', 'b']
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(reversed(item))
        elif isinstance(item, dict):
            if isinstance(item.get("path"), str):
                yield item
            waiting.extend(reversed(list(item.values())))


def _check_uploaded(path: str) -> None:
    try:
        refuse_foreign_paths(path)
    except PictureError as error:
        raise _Refusal(403, str(error)) from error


def _check_length(headers: Headers, max_bytes: int) -> None:
    length = headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length) > max_bytes:
        raise _too_long(max_bytes)


def _too_long(max_bytes: int) -> _Refusal:
    return _Refusal(413, f"This is too large: at most {max_bytes:,} bytes are accepted.")


async def _read(receive: Receive, headers: Headers, max_bytes: int) -> bytes:
    """The whole body, refused as soon as it is longer than allowed."""
    _check_length(headers, max_bytes)
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise _Refusal(400, "The call ended early.")
        body.extend(message.get("body", b""))
        if len(body) > max_bytes:
            raise _too_long(max_bytes)
        more = message.get("more_body", False)
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body that was read once more, then whatever comes after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


def _limited(receive: Receive, headers: Headers, max_bytes: int) -> Receive:
    """Pass a body on piece by piece, and raise as soon as it is longer than allowed."""
    _check_length(headers, max_bytes)
    read_bytes = 0

    async def limited() -> Message:
        nonlocal read_bytes
        message = await receive()
        read_bytes += len(message.get("body", b""))
        if read_bytes > max_bytes:
            raise _too_long(max_bytes)
        return message

    return limited


def _counted(receive: Receive, headers: Headers, on_picture: Callable[[], None]) -> Receive:
    """Pass a multipart body on piece by piece, and tell of every part that begins in it."""
    counter = PartCounter(headers["content-type"], on_picture)

    async def counted() -> Message:
        message = await receive()
        try:
            counter.read(message.get("body", b""))
        except LimitError as error:
            raise _Refusal(429, str(error), error.retry_after_s) from error
        return message

    return counted


def retry_after(seconds: float | None) -> dict[str, str]:
    """The header that says when to try again, in whole seconds; none where it is not known.

    >>> retry_after(11.2), retry_after(None)
    ({'retry-after': '12'}, {})
    """
    return {} if seconds is None else {"retry-after": str(math.ceil(seconds))}
