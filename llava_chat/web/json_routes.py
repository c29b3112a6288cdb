"""JSON that this server's own page posts: where it may come from, how long it is, what it is told.

Routes of our own and no events of Gradio's, so a request has to prove here what Gradio's would: it
comes from the same origin, with the session's cookie, and is JSON. A refusal is `{"error":
sentence}` with the status that says why; where consent is missing also `consent`, null while the
person was not asked. Imports errors, web.guard and web.session.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llava_chat.errors import (
    ConflictError,
    ConsentError,
    InputError,
    LimitError,
    LlavaChatError,
    NotFoundError,
    RoleError,
    StoreError,
)
from llava_chat.web.guard import retry_after
from llava_chat.web.session import SessionError

MAX_BODY_BYTES = 256 * 1024  # 20,000 characters, each \\uXXXX\\uXXXX, and the rest
NOT_STORED = {"cache-control": "no-store"}
_STATUS: tuple[tuple[type[LlavaChatError], int], ...] = (
    (SessionError, 401),
    (ConsentError, 403),
    (RoleError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (LimitError, 429),
    (InputError, 422),
    (StoreError, 503),
)

Body = dict[str, Any]
Who = TypeVar("Who")

_log = logging.getLogger(__name__)


class Refusal(LlavaChatError):
    """A request that this page does not send. status: of HTTP."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


async def answered(
    request: Request,
    who: Callable[[Request], Who],
    work: Callable[[Who, Body], Body],
    *,
    count: Callable[[Request], None],
    consent: Callable[[Who], bool | None],
    loss: str | None = None,
    max_bytes: int = MAX_BODY_BYTES,
) -> Response:
    """Do what a request asks for and answer it.

    who: tells who asks, before anything of the body is read. work: does it, in a thread of its own.
    count: raises LimitError where somebody asks too often. consent: what the person decided.
    loss: what a restart may lose, for who is asked then.
    """
    try:
        check_origin(request)
        asks = who(request)
        body = await body_of(request, max_bytes)
        count(request)
        done = await run_in_threadpool(work, asks, body)
    except ConsentError as error:
        try:
            decided = await run_in_threadpool(consent, asks)
        except StoreError as trouble:
            return refused(trouble)
        return refused(error, consent=decided, **({} if loss is None else {"loss": loss}))
    except LlavaChatError as error:
        return refused(error)
    return JSONResponse(done, headers=NOT_STORED)


def refused(error: LlavaChatError, **more: Any) -> Response:
    """The answer to what was not done."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 400)
    if isinstance(error, Refusal):
        status = error.status
    if status == 503:
        _log.warning("what the page sent could not be kept: %s", error)
    headers = NOT_STORED | retry_after(getattr(error, "retry_after_s", None))
    return JSONResponse({"error": str(error), **more}, status_code=status, headers=headers)


def check_origin(request: Request) -> None:
    """Refuse what another site's page sends with this browser's cookie.

    Gradio's CORS lets other sites' preflights through, and on a Space the cookie is SameSite=None.
    Browsers leave Sec-Fetch-Site out for pages without https; Origin they always send.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        own = site in ("same-origin", "none")
    elif origin is not None:
        hosts = (request.headers.get("host"), request.headers.get("x-forwarded-host"))
        own = urlsplit(origin).netloc in hosts
    else:
        own = True  # no browser
    if not own:
        raise Refusal(403, "Only the page itself may say this.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "This takes JSON.")


async def body_of(request: Request, max_bytes: int = MAX_BODY_BYTES) -> Body:
    """The JSON object in a body of at most so many bytes."""
    text = bytearray()
    async for piece in request.stream():
        text.extend(piece)
        if len(text) > max_bytes:
            raise Refusal(413, f"This is too long: at most {max_bytes:,} bytes are taken.")
    try:
        body = await run_in_threadpool(json.loads, text)
    except (ValueError, RecursionError) as error:
        raise Refusal(422, "The body is not JSON.") from error
    if not isinstance(body, dict):
        raise Refusal(422, "The body is not a JSON object.")
    return body
