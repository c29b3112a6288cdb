"""How much one person may have: messages a minute, replies at once, uploads an hour, tokens a day.

Windows are counted by `limits`, in memory: they are forgotten when the server ends. What a session
uses counts against its address too, with SHARED_BY times the allowance. Imports web.people,
web.elements, settings and errors.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from limits import (
    RateLimitItem,
    RateLimitItemPerDay,
    RateLimitItemPerHour,
    RateLimitItemPerMinute,
)
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, RateLimiter

from llava_chat.errors import LimitError
from llava_chat.settings import Settings
from llava_chat.web.elements import plural
from llava_chat.web.people import Person

# Where others can reach the page and nothing else is said. A person who types sends 20 messages a
# minute only by accident; 200,000 tokens are some 400 long replies.
PUBLIC_MESSAGES_PER_MINUTE = 20
PUBLIC_REPLIES_AT_ONCE = 2
PUBLIC_UPLOADS_PER_HOUR = 120
PUBLIC_TOKENS_PER_DAY = 200_000
# Nobody judges faster; each is a line of the database, and no setting.
PUBLIC_JUDGEMENTS_PER_MINUTE = 60
# An annotator who judges with one key asks for an item, has a draft kept and sends the answer, with
# the pictures of the item beside: five requests, and once a second is as fast as anybody reads.
PUBLIC_ANNOTATIONS_PER_MINUTE = 300

# A household or a small office comes from one address, and few of it ask at the same time. Whoever
# throws cookies away gets this many allowances, and no more.
SHARED_BY = 4

# A reply lasts some seconds; asking again sooner is useless.
RETRY_REPLY_S = 2.0
LOW_SHARE = 0.2  # of an allowance: what is left is shown from here on
LOW_COUNT = 2  # the same of a small one
# How far the clock may fall behind without it being set back: its pace is corrected by little.
CLOCK_SLACK_S = 1.0
SWEEP_S = 60.0  # between two looks for windows that nothing is in any more

Unit = Literal["messages", "pictures", "tokens", "judgements", "annotations"]
LIMITS = ("replies", *get_args(Unit))
_PERIODS: dict[Unit, str] = {
    "messages": "minute",
    "pictures": "hour",
    "tokens": "day",
    "judgements": "minute",
    "annotations": "minute",
}


@dataclass(frozen=True)
class Left:
    """What is left of one allowance. free_in_s: seconds until there is more of it."""

    unit: Unit
    left: int
    allowed: int
    free_in_s: float

    @property
    def low(self) -> bool:
        """Whether a person should know.

        >>> Left("messages", 3, 20, 9.0).low, Left("messages", 5, 20, 9.0).low
        (True, False)
        """
        return self.left <= max(LOW_COUNT, self.allowed * LOW_SHARE) and self.left < self.allowed


class Ticket:
    """One reply that was let in. Dropping it without `end` ends it too, with no tokens."""

    def __init__(self, allowances: Allowances, person: Person) -> None:
        self._ended = partial(allowances._end, person)
        self._dropped = weakref.finalize(self, self._ended, 0)
        self._dropped.atexit = False

    def end(self, tokens: int) -> None:
        """The reply is over and had so many tokens. Only the first call counts."""
        if self._dropped.detach() is not None:
            self._ended(tokens)


@dataclass(frozen=True)
class _Window:
    """So many of `unit` in a stretch of time, for a person and for an address."""

    unit: Unit
    limiter: RateLimiter
    own: RateLimitItem
    shared: RateLimitItem

    def counted(self, person: Person) -> Iterator[tuple[RateLimitItem, str, bool]]:
        """What counts the person's use, and whether others' use counts there too."""
        yield self.own, person.id, False
        if person.address:
            yield self.shared, person.address, True

    def left(self, item: RateLimitItem, key: str) -> Left:
        stats = self.limiter.get_window_stats(item, self.unit, key)
        free_in_s = max(0.0, stats.reset_time - time.time())
        return Left(self.unit, max(0, stats.remaining), item.amount, free_in_s)

    def check(self, person: Person, cost: int = 1) -> None:
        """Raise LimitError where `cost` more would be too many."""
        for item, key, shared in self.counted(person):
            if not self.limiter.test(item, self.unit, key, cost=cost):
                left = self.left(item, key)
                raise LimitError(_refused(left, cost, shared), max(1.0, left.free_in_s))

    def count(self, person: Person, cost: int = 1) -> None:
        for item, key, _ in self.counted(person):
            self.limiter.hit(item, self.unit, key, cost=cost)


class Allowances:
    """Of all people of one server; 0 is any number. Every method may be called from any thread.

    A day's tokens are counted from the first reply on and at the end of each: one that begins
    below the limit is written to its end. `limits` goes by the wall clock; when that is set back,
    all counts begin anew, since a window could last for hours otherwise.

    uploaded: pictures that were let in since the server's start. refused: how often each limit
    refused something.
    """

    def __init__(
        self,
        *,
        messages_per_minute: int = 0,
        replies_at_once: int = 0,
        uploads_per_hour: int = 0,
        tokens_per_day: int = 0,
        judgements_per_minute: int = 0,
        annotations_per_minute: int = 0,
    ) -> None:
        self._storage = MemoryStorage()
        moving = MovingWindowRateLimiter(self._storage)
        # A moving one would keep an entry for each token.
        fixed = FixedWindowRateLimiter(self._storage)
        self._messages = _window("messages", moving, RateLimitItemPerMinute, messages_per_minute)
        self._uploads = _window("pictures", moving, RateLimitItemPerHour, uploads_per_hour)
        self._tokens = _window("tokens", fixed, RateLimitItemPerDay, tokens_per_day)
        self._judgements = _window(
            "judgements", moving, RateLimitItemPerMinute, judgements_per_minute
        )
        self._annotations = _window(
            "annotations", moving, RateLimitItemPerMinute, annotations_per_minute
        )
        self._replies_at_once = replies_at_once
        self.uploaded = 0
        self.refused = Counter[str]()
        self._running = Counter[str]()
        self._lock = threading.RLock()  # a ticket may be dropped by the thread that holds it
        self._clock_lead_s = _clock_lead_s()
        self._swept_s = time.monotonic()

    @classmethod
    def of(cls, settings: Settings) -> Allowances:
        """What the settings say, the defaults of a public page and of a private one filled in."""

        def chosen(value: int | None, public: int) -> int:
            return value if value is not None else public if settings.public else 0

        return cls(
            messages_per_minute=chosen(settings.messages_per_minute, PUBLIC_MESSAGES_PER_MINUTE),
            replies_at_once=chosen(settings.replies_at_once, PUBLIC_REPLIES_AT_ONCE),
            uploads_per_hour=chosen(settings.uploads_per_hour, PUBLIC_UPLOADS_PER_HOUR),
            tokens_per_day=chosen(settings.tokens_per_day, PUBLIC_TOKENS_PER_DAY),
            judgements_per_minute=chosen(None, PUBLIC_JUDGEMENTS_PER_MINUTE),
            annotations_per_minute=chosen(None, PUBLIC_ANNOTATIONS_PER_MINUTE),
        )

    def begin(self, person: Person) -> Ticket:
        """Count one message and one more reply. Raises LimitError, and counts nothing then."""
        with self._lock:
            self._tidy()
            with self._counted("replies"):
                self._check_running(person)
            for window in (self._tokens, self._messages):
                if window is not None:
                    with self._counted(window.unit):
                        window.check(person)
            if self._messages is not None:
                self._messages.count(person)
            self._running.update(_keys(person))
            return Ticket(self, person)

    def upload(self, person: Person, pictures: int) -> None:
        """Count so many pictures. Raises LimitError, and counts none of them then."""
        with self._lock:
            if self._uploads is not None:
                self._tidy()
                with self._counted(self._uploads.unit):
                    self._uploads.check(person, pictures)
                self._uploads.count(person, pictures)
            self.uploaded += pictures

    def judge(self, person: Person) -> None:
        """Count one thing that is said of a reply. Raises LimitError, and counts nothing then."""
        self._count_one(self._judgements, person)

    def annotate(self, person: Person) -> None:
        """Count one request of an annotator's. Raises LimitError, and counts nothing then."""
        self._count_one(self._annotations, person)

    def _count_one(self, window: _Window | None, person: Person) -> None:
        with self._lock:
            if window is not None:
                self._tidy()
                with self._counted(window.unit):
                    window.check(person)
                window.count(person)

    def left(self, person: Person) -> tuple[Left, ...]:
        """What is left of every allowance that is limited, the address's where that is less."""
        found = []
        with self._lock:
            self._tidy()
            for window in (self._messages, self._uploads, self._tokens):
                if window is None:
                    continue
                own, *shared = (window.left(item, key) for item, key, _ in window.counted(person))
                least = min((own, *shared), key=lambda left: left.left)
                found.append(Left(own.unit, least.left, own.allowed, least.free_in_s))
        return tuple(found)

    @contextmanager
    def _counted(self, limit: str) -> Iterator[None]:
        try:
            yield
        except LimitError:
            self.refused[limit] += 1
            raise

    def _check_running(self, person: Person) -> None:
        if not self._replies_at_once:
            return
        for key, factor in zip(_keys(person), (1, SHARED_BY), strict=False):
            allowed = factor * self._replies_at_once
            if self._running[key] >= allowed:
                of = "for you" if factor == 1 else "for your network"
                are = "is" if allowed == 1 else "are"
                raise LimitError(
                    f"{plural(allowed, 'reply', 'replies')} {are} being written {of}; the next one "
                    "can begin when one of them ends.",
                    RETRY_REPLY_S,
                )

    def _end(self, person: Person, tokens: int) -> None:
        with self._lock:
            self._running.subtract(_keys(person))
            self._running += Counter()  # forgets those that have none
            if self._tokens is not None and tokens > 0:
                self._tokens.count(person, tokens)

    def _tidy(self) -> None:
        """Start anew after the clock was set back; let go of windows that are empty."""
        lead_s = _clock_lead_s()
        if lead_s < self._clock_lead_s - CLOCK_SLACK_S:
            self._storage.reset()
        self._clock_lead_s = lead_s
        if time.monotonic() < self._swept_s + SWEEP_S:
            return
        self._swept_s = time.monotonic()
        for key in [key for key, entries in list(self._storage.events.items()) if not entries]:
            self._storage.clear(key)  # `limits` empties them, and keeps their names


def _window(
    unit: Unit, limiter: RateLimiter, per: type[RateLimitItem], allowed: int
) -> _Window | None:
    if not allowed:
        return None
    return _Window(unit, limiter, per(allowed), per(SHARED_BY * allowed))


def _keys(person: Person) -> list[str]:
    """Whose running replies are counted: the person's, then the address's."""
    return [person.id, *([f"at:{person.address}"] if person.address else [])]


def _clock_lead_s() -> float:
    """How far the wall clock is ahead of one that nobody sets."""
    return time.time() - time.monotonic()


def _refused(left: Left, cost: int, shared: bool) -> str:
    """The sentence that names the limit and when there is more."""
    period = _PERIODS[left.unit]
    free_in = about(left.free_in_s)
    if cost > left.allowed:
        return f"{left.allowed:,} {left.unit} may come in one {period}, and this is {cost:,}."
    used = plural(left.allowed, left.unit[:-1])
    match left.unit:
        case "messages":
            who = f"{used} came from your network" if shared else f"You have sent {used}"
            return f"{who} in the last {period}; the next one can go in {free_in}."
        case "pictures":
            who = f"{used} came from your network" if shared else f"You have uploaded {used}"
            return f"{who} in the last {period}; there is room for more in {free_in}."
        case "judgements":
            who = f"{used} came from your network" if shared else f"You have sent {used}"
            return f"{who} in the last {period}; the next one is kept in {free_in}."
        case "annotations":
            who = f"{left.allowed:,} requests came from " + ("your network" if shared else "you")
            return f"{who} in the last {period}; the next one is answered in {free_in}."
        case "tokens":
            whom = "your network" if shared else "you"
            return f"The {used} a {period} for {whom} are used up; there are more in {free_in}."


def about(seconds: float) -> str:
    """A length of time as one says it.

    >>> about(0.2), about(89), about(600), about(20_000)
    ('1 s', '89 s', '10 min', '6 h')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 3600)} h"
