"""The body of a call: how many bytes, in how much time. Imports the errors beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from starlette.requests import Request

from llava_chat.web.openai.errors import CallError

# Some hundred megabytes of pictures at 10 Mbit/s.
MAX_BODY_S = 120.0
# Most clients read no answer before they have sent everything: so much more is thrown away.
LINGER_S = 5.0


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body, of which never more than allowed is kept.

    Raises CallError: 413 for one that is too long, 408 for one that takes too long. Raises
    starlette's ClientDisconnect.
    """
    pieces = request.stream()
    body = bytearray()
    try:
        async with asyncio.timeout(MAX_BODY_S):
            async for piece in pieces:
                body += piece
                if len(body) > max_bytes:
                    break
    except TimeoutError:
        raise CallError(f"The body took longer than {MAX_BODY_S:g} s.", status=408) from None
    if len(body) <= max_bytes:
        return bytes(body)
    body.clear()
    await _throw_away(pieces, max_bytes)
    sentence = f"The body is over the limit of {max_bytes:,} bytes: send fewer or smaller pictures."
    raise CallError(sentence, status=413, code="request_too_large")


async def _throw_away(pieces: AsyncIterator[bytes], max_bytes: int) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            async for piece in pieces:
                max_bytes -= len(piece)
                if max_bytes < 0:
                    return
