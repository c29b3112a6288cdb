"""A request and its whole answer, within a time and a size: a server may dribble, or never end.

Imports the HTTP client and errors.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import httpx2

from llava_chat.errors import RemoteEngineError, SettingError


@dataclass(frozen=True)
class Answer:
    """What came. retry_after: the header of that name. body: cut where it is longer than asked."""

    status: int
    retry_after: str | None
    body: bytes


def exchange(
    client: httpx2.Client,
    method: str,
    address: str,
    *,
    timeout_s: float,
    most_bytes: int,
    content: bytes | None = None,
) -> Answer:
    """Ask, and read until the end or `most_bytes`. Raises httpx2.TransportError, also when late."""
    deadline_s = time.monotonic() + timeout_s
    body = bytearray()
    with client.stream(method, address, content=content) as response:
        for part in response.iter_raw():
            body += part
            if time.monotonic() > deadline_s:
                raise httpx2.ReadTimeout("slow", request=response.request)
            if len(body) > most_bytes:
                break
        return Answer(response.status_code, response.headers.get("retry-after"), bytes(body))


def headers(key: str | None) -> dict[str, str]:
    """What goes with every request. Nothing comes back compressed, so its size is what it takes.

    Raises SettingError for a key that no header can hold: the client's own error would repeat it.
    """
    sent = {"accept-encoding": "identity", "content-type": "application/json"}
    if not key:
        return sent
    if not key.isascii() or not key.isprintable() or key != key.strip():
        raise SettingError(
            "engine_key",
            "must be one line of ASCII without a space at its ends; see LLAVA_CHAT_ENGINE_KEY",
        )
    return sent | {"authorization": f"Bearer {key}"}


def key_refused(url: str, key: str | None) -> RemoteEngineError:
    """What to tell whoever starts the work of a server that answers with 401 or 403."""
    sent = "refuses the key in" if key else "wants a key; set"
    return RemoteEngineError(f"{url} {sent} LLAVA_CHAT_ENGINE_KEY.")
