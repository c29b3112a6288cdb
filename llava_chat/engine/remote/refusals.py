"""What a server answers instead of a reply, as a sentence that says the way out.

Imports errors only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from llava_chat.errors import (
    ContextFullError,
    EngineBusyError,
    LlavaChatError,
    PictureError,
    RemoteEngineError,
)

MAX_ANSWER_BYTES = 64 * 1024  # of an answer that is no reply so much is read
_MAX_SAID_CHARACTERS = 200
_MAX_RETRY_AFTER_S = 3600.0

KEY_REFUSED = (
    "The model's server refuses the key: whoever runs this page has to start it with the right one "
    "in LLAVA_CHAT_ENGINE_KEY."
)
CONTEXT_FULL = (
    "This chat has become longer than the model can read. Start a new chat, or send fewer pictures."
)
# vLLM, SGLang and OpenAI; transformers has no limit of its own.
_CONTEXT = re.compile(
    r"context[ _](length|window|size)|maximum (allowed |model |input |prompt )+length",
    re.IGNORECASE,
)


def refusal(
    status: int,
    answer: bytes,
    *,
    model: str,
    retry_after: str | None = None,
    extras: Iterable[str] = (),
    key: str | None = None,
) -> LlavaChatError:
    """The error to tell of an HTTP status that is no success.

    extras: settings that were sent and that not every server knows. key: never repeated.
    """
    body = parsed(answer)
    words = _words(body)
    match status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return RemoteEngineError(KEY_REFUSED)
        case HTTPStatus.NOT_FOUND:
            return RemoteEngineError(
                f"The model's server does not have {model}. Whoever runs this page has to start it "
                "again with a model that is there."
            )
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return PictureError(
                "The pictures of this chat are more than the model's server takes. Send fewer, or "
                "smaller ones."
            )
        case HTTPStatus.TOO_MANY_REQUESTS:
            return _busy(retry_after)
        case HTTPStatus.SERVICE_UNAVAILABLE if retry_after:
            return _busy(retry_after)
    if 400 <= status < 500:
        if _CONTEXT.search(words):
            return ContextFullError(CONTEXT_FULL)
        unknown = [name for name in extras if name in words]
        if unknown:
            return RemoteEngineError(
                f"The model's server does not know {' and '.join(unknown)}; set "
                f"{'it' if len(unknown) == 1 else 'them'} back to none."
            )
        return RemoteEngineError(f"The model's server refused the message{said(body, key)}")
    if status >= 500:
        return RemoteEngineError(
            f"The model's server failed at this reply ({status}). Try again in a minute."
        )
    return RemoteEngineError(
        f"What should be the model's server answered with {status}; is it OpenAI-compatible?"
    )


def said(body: object, key: str | None = None) -> str:
    r"""What the server gives as a reason, to end a sentence with: short, one line, without the key.

    >>> said({"error": {"message": "No\n\x00room for sk-1"}}, "sk-1")
    ': No room for …'
    >>> said(["?"])
    '. Try again in a minute.'
    """
    words = _words(body)
    if key:
        words = words.replace(key, "…")
    words = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    if len(words) > _MAX_SAID_CHARACTERS:
        words = words[: _MAX_SAID_CHARACTERS - 1] + "…"
    return f": {words}" if words else ". Try again in a minute."


def about_context(answer: bytes) -> bool:
    """Whether a refusal says that what was sent is longer than the model can read."""
    return _CONTEXT.search(_words(parsed(answer))) is not None


def names_field(answer: bytes, field: str) -> bool:
    """Whether a refusal is about that field of the request."""
    return field in _words(parsed(answer))


def parsed(answer: bytes) -> object:
    """What an answer's JSON says, None where it is none."""
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


def _words(body: object) -> str:
    """The reason in an error as OpenAI, vLLM, SGLang or FastAPI write one; "" where there is none.

    >>> _words({"error": "Busy"}), _words({"detail": [{"loc": ["body", "n"], "msg": "Unknown"}]})
    ('Busy', 'body.n: Unknown')
    """
    for name in ("error", "detail", "message", "msg"):
        inner = body.get(name) if isinstance(body, dict) else None
        if isinstance(inner, str):
            code = body.get("code") if isinstance(body, dict) else None
            return f"{inner} ({code})" if isinstance(code, str) and code not in inner else inner
        if isinstance(inner, dict):
            return _words(inner)
        if isinstance(inner, list):
            return "; ".join(_field_words(each) for each in inner[:3])
    return ""


def _field_words(problem: object) -> str:
    place = problem.get("loc") if isinstance(problem, dict) else None
    where = ".".join(str(step) for step in place) if isinstance(place, list) else ""
    return ": ".join(part for part in (where, _words(problem)) if part)


def _busy(retry_after: str | None) -> EngineBusyError:
    wait_s = seconds(retry_after)
    when = "a minute" if wait_s is None else f"{max(1, round(wait_s))} seconds"
    return EngineBusyError(f"The model's server is busy. Try again in {when}.", wait_s)


def seconds(retry_after: str | None) -> float | None:
    """How long Retry-After asks to wait; None when it says nothing that can be read.

    >>> seconds("7"), seconds("9" * 400), seconds("soon")
    (7.0, 3600.0, None)
    >>> seconds("Wed, 21 Oct 2015 07:28:00 GMT")
    0.0
    """
    if retry_after is None:
        return None
    try:
        wait_s = float(min(int(retry_after), _MAX_RETRY_AFTER_S))
    except ValueError:
        try:
            until = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        wait_s = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(wait_s, 0.0), _MAX_RETRY_AFTER_S)
