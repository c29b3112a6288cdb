"""What went wrong, told as OpenAI's clients read it.

    {"error": {"message": a sentence, "type", "param": a field or null, "code": or null}}

Imports errors, conversation and web.session.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse

from llava_chat.conversation import well_formed
from llava_chat.errors import (
    ContextFullError,
    EngineBusyError,
    EngineClosedError,
    EngineOpeningError,
    InputError,
    LimitError,
    LlavaChatError,
    PictureError,
    RemoteEngineError,
    SettingError,
    UsageError,
)
from llava_chat.web.session import SessionError

# What a client that was turned away without a time to wait is told, in seconds.
RETRY_S = 5
_LONGEST_CHARS = 500
_FAILED = "The server failed at this; its log tells why. Try again."
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}


class CallError(LlavaChatError):
    """A call that is refused. param: the field that is wrong. code: for programs, as OpenAI's."""

    def __init__(
        self, sentence: str, *, status: int = 400, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.param = param
        self.code = code


@dataclass(frozen=True)
class Refusal:
    """An error as it is sent: HTTP status, headers, and what `error` holds."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object, in valid Unicode whatever the sentence quotes."""
        return {
            "error": {
                "message": _short(self.message),
                "type": _TYPES.get(self.status, "invalid_request_error"),
                "param": None if self.param is None else _short(self.param),
                "code": self.code,
            }
        }

    def response(self) -> JSONResponse:
        """The whole answer."""
        headers = {**self.headers, "cache-control": "no-store"}
        return JSONResponse(self.body, self.status, headers)


def refusal(error: Exception) -> Refusal:
    """How an exception is told. One that is no LlavaChatError says nothing of the server.

    >>> refusal(ContextFullError("Too long.")).body["error"]["code"]
    'context_length_exceeded'
    >>> refusal(LimitError("Wait.", 2.5)).headers
    {'retry-after': '3'}
    >>> refusal(KeyError("secret")).body["error"]["message"]
    'The server failed at this; its log tells why. Try again.'
    """
    sentence = str(error)
    match error:
        case CallError():
            return Refusal(error.status, sentence, error.param, error.code, _headers(error.status))
        case SettingError():
            return Refusal(400, sentence, error.field, "invalid_value")
        case ContextFullError():
            return Refusal(400, sentence, "messages", "context_length_exceeded")
        case PictureError():
            return Refusal(400, sentence, "messages", "invalid_image")
        case InputError():
            return Refusal(400, sentence, "messages")
        case UsageError():
            return Refusal(400, sentence)
        case SessionError():
            return Refusal(401, sentence, code="invalid_api_key", headers=_headers(401))
        case LimitError():
            headers = _retry(error.retry_after_s)
            return Refusal(429, sentence, code="rate_limit_exceeded", headers=headers)
        case EngineBusyError():
            headers = _retry(error.retry_after_s)
            return Refusal(429, sentence, code="engine_busy", headers=headers)
        case EngineOpeningError() | EngineClosedError() | RemoteEngineError():
            return Refusal(503, sentence, code="engine_unavailable", headers=_retry(None))
        case LlavaChatError():
            return Refusal(500, sentence)
    return Refusal(500, _FAILED)


def _headers(status: int) -> dict[str, str]:
    if status in (408, 413):  # what is left of the body is not waited for
        return {"connection": "close"}
    if status == 401:
        return {"www-authenticate": "Bearer"}
    return _retry(None) if status == 503 else {}


def _short(text: str) -> str:
    """Valid Unicode of a bounded length, whatever of the caller's it quotes."""
    text = well_formed(text)
    return text if len(text) <= _LONGEST_CHARS else text[: _LONGEST_CHARS - 1] + "…"


def _retry(after_s: float | None) -> dict[str, str]:
    return {"retry-after": str(RETRY_S if after_s is None else max(1, math.ceil(after_s)))}
