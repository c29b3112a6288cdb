"""The servers that make the replies: their addresses, how busy each is, which is away.

Imports errors only. Everything but checking addresses is for one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from llava_chat.errors import SettingError

FIRST_LEFT_OUT_S = 1.0
MOST_LEFT_OUT_S = 60.0


@dataclass(frozen=True)
class Timeouts:
    """Seconds. connect_s: until a server accepts. first_token_s: until the first word, while it
    may have others to answer. piece_s: between two pieces. A reply's deadline bounds them all.
    """

    connect_s: float = 5.0
    first_token_s: float = 120.0
    piece_s: float = 30.0


class Server:
    """One address. running: how many replies it makes for us just now.

    counts: False once it has refused to be asked for the token counts.
    """

    def __init__(self, url: str, now_s: Callable[[], float]) -> None:
        self.url = url
        self.running = 0
        self.counts = True
        self._now_s = now_s
        self._left_out_s = 0.0
        self._back_at_s = 0.0

    @property
    def away(self) -> bool:
        """Whether it is left out for now."""
        return self._now_s() < self._back_at_s

    @property
    def back_at_s(self) -> float:
        """When it is tried again."""
        return self._back_at_s

    def failed(self) -> None:
        """It could not be reached: leave it out, each time for twice as long."""
        self._left_out_s = min(max(2 * self._left_out_s, FIRST_LEFT_OUT_S), MOST_LEFT_OUT_S)
        self._back_at_s = self._now_s() + self._left_out_s

    def answered(self) -> None:
        """It is there."""
        self._left_out_s = self._back_at_s = 0.0


class Servers:
    """All of them. now_s: a clock that only goes forwards."""

    def __init__(self, urls: Iterable[str], now_s: Callable[[], float] = time.monotonic) -> None:
        self._servers = [Server(url, now_s) for url in urls]

    def in_turn(self) -> list[Server]:
        """Whom to ask, the least busy first. When all are away, the one that is back soonest:
        somebody has to find out that it is there again.
        """
        there = [server for server in self._servers if not server.away]
        if there:
            return sorted(there, key=lambda server: server.running)
        return [min(self._servers, key=lambda server: server.back_at_s)]


def checked_urls(urls: Iterable[str]) -> tuple[str, ...]:
    """The addresses without a slash at the end, each once. Raises SettingError.

    >>> checked_urls(["http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"])
    ('http://127.0.0.1:8000/v1',)
    >>> checked_urls(["127.0.0.1:8000"])
    Traceback (most recent call last):
    llava_chat.errors.SettingError: engine_url must be addresses like http://127.0.0.1:8000/v1, \
and the first one is none
    """
    found = dict.fromkeys(_checked(url, place) for place, url in enumerate(urls))
    if not found:
        raise SettingError("engine_url", "must name a server, like http://127.0.0.1:8000/v1")
    return tuple(found)


def _checked(url: str, place: int) -> str:
    which = ("first", "second", "third")[place] if place < 3 else f"{place + 1}th"
    return checked_url(
        url,
        "engine_url",
        f"must be addresses like http://127.0.0.1:8000/v1, and the {which} one is none",
    )


def checked_url(url: str, field: str, problem: str) -> str:
    """The address without a slash at its end. Raises SettingError of `field`, saying `problem`.

    An address that is refused is not repeated: it may hold a password.
    """
    wrong = SettingError(field, problem)
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise wrong from None
    if parts.username is not None or parts.password is not None:
        raise SettingError(
            field, "must hold no name or password; a key goes into LLAVA_CHAT_ENGINE_KEY"
        )
    strange = any(not c.isprintable() or c.isspace() for c in url)
    if parts.scheme not in ("http", "https") or not parts.hostname or strange:
        raise wrong
    if parts.query or parts.fragment:
        raise wrong
    return url.rstrip("/")
