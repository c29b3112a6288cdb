"""What a server streams, with a bound on everything: lines of `data: {…}`, one chunk each.

A client library's own reader keeps a line until it ends, however long it gets, and takes a stream
that breaks off between two chunks for a whole one. Imports errors and the refusals.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

from llava_chat.engine.remote.refusals import said
from llava_chat.errors import RemoteEngineError

MAX_LINE_BYTES = 2**20
"""A chunk is some hundred bytes; nothing that a server means well is near this."""

DONE = b"[DONE]"
_UNREADABLE = "The model's server sent something that is no reply. Try again."


@dataclass(frozen=True)
class Usage:
    """Tokens as the server counted them; reused_tokens: of the prompt, those it still knew."""

    prompt_tokens: int
    generated_tokens: int
    reused_tokens: int


@dataclass(frozen=True)
class Chunk:
    """One event: a piece of text, why the reply ended, the counts; each may be missing."""

    text: str = ""
    finish: str | None = None
    usage: Usage | None = None


async def chunks(parts: AsyncIterator[bytes], key: str | None = None) -> AsyncIterator[Chunk]:
    """The events until `[DONE]` or the end. Raises RemoteEngineError for what is none.

    key: never repeated in a sentence, should the server do so.
    """
    async for line in _lines(parts):
        if not line.startswith(b"data:"):
            continue  # between two events, a comment that keeps the connection up, a field name
        data = line.removeprefix(b"data:").strip()
        if data == DONE:
            return
        yield _chunk(data, key)


async def _lines(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > MAX_LINE_BYTES:
            raise RemoteEngineError(_UNREADABLE)
    yield rest


def _chunk(data: bytes, key: str | None) -> Chunk:
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        raise RemoteEngineError(_UNREADABLE) from None
    if not isinstance(event, dict):
        raise RemoteEngineError(_UNREADABLE)
    if event.get("error") or event.get("object") == "error":
        raise RemoteEngineError(f"The model's server broke the reply off{said(event, key)}")
    choices = event.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    delta = choice.get("delta") if isinstance(choice, dict) else None
    text = delta.get("content") if isinstance(delta, dict) else None
    finish = choice.get("finish_reason") if isinstance(choice, dict) else None
    if not isinstance(text, str | None) or not isinstance(finish, str | None):
        raise RemoteEngineError(_UNREADABLE)
    return Chunk(text or "", finish, _usage(event.get("usage")))


def _usage(usage: object) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    given = usage.get("prompt_tokens"), usage.get("completion_tokens"), cached or 0
    counts = [count for count in given if isinstance(count, int) and 0 <= count < 2**31]
    return Usage(*counts) if len(counts) == len(given) else None
