"""Whole replies to plain messages of an OpenAI-compatible server, for work that runs unattended.

What makes instruction data and what judges answers ask thousands of questions of a server and may
not stop at the first one that goes wrong: what may pass is tried again after a growing pause, what
will not pass is told in one sentence. Imports the HTTP client, conversation, errors and the modules
beside it; no torch.
"""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx2

from llava_chat.conversation import well_formed
from llava_chat.engine.remote.exchange import Answer, exchange, headers, key_refused
from llava_chat.engine.remote.refusals import about_context, names_field, parsed, said, seconds
from llava_chat.engine.remote.servers import checked_url
from llava_chat.errors import (
    ContextFullError,
    EngineBusyError,
    EngineClosedError,
    LlavaChatError,
    RefusedRequestError,
    RemoteEngineError,
)

MAX_REPLY_BYTES = 16 * 2**20
"""What is longer is no reply to a question of ours, whatever the server means by it."""

FIRST_PAUSE_S = 1.0
MOST_PAUSE_S = 60.0
MOST_RETRY_AFTER_S = 600.0
"""A server that wants a longer pause than this is not waited for."""

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
# OpenAI's newer models refuse the first and want the second, which older servers do not know.
_LENGTH_FIELDS = ("max_tokens", "max_completion_tokens")
_SEED = "seed"  # not all servers know it

_log = logging.getLogger(__name__)

Message = Mapping[str, object]


@dataclass(frozen=True)
class Completion:
    """One reply. finish: "stop", "length", "content_filter", or what else the server says.

    prompt_tokens, completion_tokens: as the server counts them, 0 where it does not tell.
    """

    text: str
    finish: str
    prompt_tokens: int
    completion_tokens: int


class Completions:
    """A server at `url` that completes chats; to be used by any number of threads at once.

    model: as the server names it. timeout_s: for one attempt, from the first to the last byte.
    retries: how often an attempt that may pass later is repeated. first_pause_s: before the first
    repetition; each further pause is twice as long, up to a minute, unless the server names one.
    Raises SettingError for an address or a key that is none.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str,
        api_key: str | None = None,
        timeout_s: float = 120.0,
        retries: int = 5,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self.url = checked_url(url, "url", "must be an address like http://127.0.0.1:8000/v1")
        self.model = model
        self._key = api_key
        self._timeout_s = timeout_s
        self._retries = retries
        self._first_pause_s = first_pause_s
        self._length_field = _LENGTH_FIELDS[0]
        self._left_out = frozenset[str]()
        self._stopped = threading.Event()
        self._client = httpx2.Client(
            headers=headers(api_key),
            timeout=timeout_s,
            # A connection that is kept may be dropped by the server just when it is used again.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
        )

    def ask(
        self,
        messages: Sequence[Message],
        *,
        temperature: float | None,
        max_tokens: int,
        seed: int | None = None,
    ) -> Completion:
        """The server's reply. temperature: None for the server's own.

        Raises RefusedRequestError when the server does not take these messages, ContextFullError
        when they are too long for it, EngineBusyError when it stays busy, EngineClosedError after
        `stop`, RemoteEngineError when the server cannot be used at all.
        """
        fields: dict[str, Any] = {"model": self.model, "messages": list(messages)}
        if temperature is not None:
            fields["temperature"] = temperature
        if seed is not None:
            fields[_SEED] = seed
        for attempt in range(self._retries + 1):
            try:
                return self._attempt(fields, max_tokens)
            except _PassingError as error:
                _log.warning("%s: %s", self.url, error.told)
                if attempt == self._retries:
                    raise error.told.with_traceback(None) from None
                self._pause(attempt, error)
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """Ask nothing more: who waits to try again, and whoever asks later, gets EngineClosedError.

        What is on its way comes to its end.
        """
        self._stopped.set()

    def close(self) -> None:
        """Stop, and let go of the connections."""
        self.stop()
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pause(self, attempt: int, error: _PassingError) -> None:
        if error.wait_s is not None and error.wait_s > MOST_RETRY_AFTER_S:
            raise error.told.with_traceback(None) from None
        pause_s = min(self._first_pause_s * 2**attempt, MOST_PAUSE_S)
        # Those that were refused together must not all come back together.
        pause_s = max(pause_s * random.uniform(0.5, 1.0), error.wait_s or 0.0)
        if self._stopped.wait(pause_s):
            raise self._no_more()

    def _attempt(self, fields: Mapping[str, Any], max_tokens: int) -> Completion:
        if self._stopped.is_set():
            raise self._no_more()
        sent = {name: fields[name] for name in fields if name not in self._left_out}
        sent[self._length_field] = max_tokens
        try:
            answer = self._send(sent)
        except (httpx2.TransportError, RuntimeError) as error:
            if self._stopped.is_set():
                raise self._no_more() from None
            if not isinstance(error, httpx2.TransportError):
                raise
            raise _PassingError(self._unreachable(error)) from None
        if answer.status == 200:
            return self._completion(answer.body)
        if answer.status in (400, 422) and self._wants_other_fields(answer.body, sent):
            return self._attempt(fields, max_tokens)
        told = self._refusal(answer.status, answer.body)
        if answer.status in _PASSING:
            raise _PassingError(told, seconds(answer.retry_after))
        raise told

    def _wants_other_fields(self, answer: bytes, sent: Mapping[str, Any]) -> bool:
        """Whether the server has told which field it does not know; it is not sent again."""
        older, newer = _LENGTH_FIELDS
        if older in sent and names_field(answer, newer):
            self._length_field = newer
            return True
        if _SEED in sent and names_field(answer, _SEED):
            _log.warning("%s knows no seed: what it says cannot be had again", self.url)
            self._left_out |= {_SEED}
            return True
        return False

    def _send(self, fields: Mapping[str, Any]) -> Answer:
        return exchange(
            self._client,
            "POST",
            f"{self.url}/chat/completions",
            content=json.dumps(fields, ensure_ascii=False).encode(errors="replace"),
            timeout_s=self._timeout_s,
            most_bytes=MAX_REPLY_BYTES,
        )

    def _completion(self, answer: bytes) -> Completion:
        try:
            body = json.loads(answer)
        except (ValueError, RecursionError):
            raise _PassingError(
                RemoteEngineError(
                    f"{self.url} answered with something that is no JSON, or half of it; is it "
                    "OpenAI-compatible?"
                )
            ) from None
        try:
            choice = body["choices"][0]
            text = choice["message"]["content"]
            finish = choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise _PassingError(
                RemoteEngineError(f"{self.url} answered without a reply{said(body, self._key)}")
            ) from None
        usage = body.get("usage")
        return Completion(
            well_formed(text) if isinstance(text, str) else "",
            well_formed(finish) if isinstance(finish, str) else "stop",
            _count(usage, "prompt_tokens"),
            _count(usage, "completion_tokens"),
        )

    def _refusal(self, status: int, answer: bytes) -> LlavaChatError:
        words = said(parsed(answer), self._key)
        if status in (401, 403):
            return key_refused(self.url, self._key)
        if status == 404:
            return RemoteEngineError(
                f"{self.url} does not have {self.model}, or is no OpenAI-compatible server; an "
                "address mostly ends in /v1."
            )
        if status == 429:
            return EngineBusyError(f"{self.url} stays busy ({status}){words}")
        if 400 <= status < 500 and status not in _PASSING:
            if about_context(answer):
                return ContextFullError(f"The messages are too long for {self.model}{words}")
            return RefusedRequestError(f"{self.url} refused the messages ({status}){words}")
        if status >= 400:
            return RemoteEngineError(f"{self.url} fails ({status}){words}")
        return RemoteEngineError(
            f"{self.url} answered with {status}; is it OpenAI-compatible? An address mostly ends "
            "in /v1."
        )

    def _unreachable(self, error: httpx2.TransportError) -> RemoteEngineError:
        if isinstance(error, httpx2.TimeoutException):
            return RemoteEngineError(f"{self.url} gave no whole answer in {self._timeout_s:g} s.")
        if isinstance(error, httpx2.ConnectError):
            return RemoteEngineError(
                f"{self.url} cannot be reached ({str(error)[:100]}). Start the server there, or "
                "name another one."
            )
        return RemoteEngineError(f"{self.url} broke off in the middle of its answer.")

    def _no_more(self) -> EngineClosedError:
        return EngineClosedError("Nothing more is asked: the work is being stopped.")


class _PassingError(Exception):
    """What went wrong may pass. wait_s: when to try again, where the server says so."""

    def __init__(self, told: LlavaChatError, wait_s: float | None = None) -> None:
        super().__init__(str(told))
        self.told = told
        self.wait_s = wait_s


def _count(usage: object, name: str) -> int:
    """A count of the server's, 0 for anything that is none.

    >>> _count({"prompt_tokens": 7}, "prompt_tokens"), _count(None, "prompt_tokens")
    (7, 0)
    """
    number = usage.get(name) if isinstance(usage, dict) else None
    usable = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**31
    return int(number) if usable and number is not None else 0
