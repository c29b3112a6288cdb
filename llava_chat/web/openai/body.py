"""The body of a call: how many bytes, in how much time. Imports the errors beside it."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from llava_chat.web.openai.errors import CallError

# Some hundred megabytes of pictures at 10 Mbit/s.
MAX_BODY_S = 120.0


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body, refused as soon as it is longer than allowed.

    Raises CallError: 413 for one that is too long, 408 for one that takes too long. Raises
    starlette's ClientDisconnect.
    """
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length[:20]) > max_bytes:
        raise _too_long(max_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(MAX_BODY_S):
            async for piece in request.stream():
                body += piece
                if len(body) > max_bytes:
                    raise _too_long(max_bytes)
    except TimeoutError:
        raise CallError(f"The body took longer than {MAX_BODY_S:g} s.", status=408) from None
    return bytes(body)


def _too_long(max_bytes: int) -> CallError:
    sentence = f"The body is over the limit of {max_bytes:,} bytes: send fewer or smaller pictures."
    return CallError(sentence, status=413, code="request_too_large")
