"""Callers who leave, who wait, who read nothing; and a server that stops under them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import openai
import pytest

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import EngineLoad, GenerationSettings, Stream
from llava_chat.engine.local import LocalEngine
from llava_chat.web.openai import body, responses
from tests.web.openai.conftest import Alone, Served, alone

HELLO: Any = [{"role": "user", "content": "Hello"}]
KEY = "a key of sixteen letters or more"
LONG_TOKENS = 3500  # some seconds of writing
Endless = Callable[..., LocalEngine]


def reached(engine: LocalEngine, state: Callable[[EngineLoad], bool]) -> bool:
    """Whether the engine's load becomes so, within half a minute."""
    for _ in range(3000):
        if state(engine.load()):
            return True
        time.sleep(0.01)
    return False


def runs(asked: int, load: EngineLoad) -> bool:
    """Whether all who found a slot are being answered."""
    return load.running == min(asked, load.slots or 1)


def idle(load: EngineLoad) -> bool:
    return load.running == load.waiting == 0


def ask(served: Served, unsent: int = 0, **fields: Any) -> socket.socket:
    """Send a call by hand, but for so many bytes at its end, and leave its answer unread."""
    call = json.dumps({"messages": HELLO, "max_tokens": LONG_TOKENS, **fields})
    connection = socket.create_connection(("127.0.0.1", int(served.url.split(":")[2][:-1])), 30)
    head = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: localhost",
        "content-type: application/json",
        f"authorization: Bearer {KEY}",
        f"content-length: {len(call)}",
    ]
    sent = call[: len(call) - unsent]
    connection.sendall(("\r\n".join(head) + "\r\n\r\n" + sent).encode())
    return connection


def soon_let_in(served: Served) -> bool:
    """Whether there comes to be room for one more reply at once."""
    for _ in range(1000):
        with suppress(openai.RateLimitError):
            served.client().chat.completions.create(model="tiny", messages=HELLO, max_tokens=1)
            return True
        time.sleep(0.01)
    return False


def until(connection: socket.socket, mark: bytes) -> bytes:
    """What came, as soon as `mark` is in it."""
    read = b""
    while mark not in read:
        piece = connection.recv(65536)
        assert piece, read
        read += piece
    return read


@pytest.fixture
def served(tiny: LocalEngine) -> Iterator[Alone]:
    with alone(tiny, api_keys=(KEY,), tokens_per_day=1_000_000) as served:
        yield served


@contextmanager
def occupied(engine: LocalEngine, waiting: int) -> Iterator[None]:
    """An engine that is so busy that so many wait."""
    long = GenerationSettings(temperature=0, max_new_tokens=LONG_TOKENS)
    streams: list[Stream] = []
    while engine.load().waiting < waiting:
        streams.append(engine.stream(Conversation((Turn("user", "Hello"),)), long))
        assert reached(engine, partial(runs, len(streams)))
    yield
    for stream in streams:
        stream.close()
    assert reached(engine, idle)


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_frees_the_engine(tiny: LocalEngine, served: Alone, stream: bool) -> None:
    left_before = served.tokens_left(KEY)
    connection = ask(served, stream=stream)
    if stream:
        until(connection, b'"content":"')
    assert reached(tiny, lambda load: load.running == 1)
    connection.close()
    assert reached(tiny, idle)
    assert left_before - served.tokens_left(KEY) < LONG_TOKENS


def test_who_leaves_the_line_gives_the_place_back(tiny: LocalEngine, served: Alone) -> None:
    with occupied(tiny, 1):
        with ask(served, stream=True) as connection:
            assert b": place 2 in the line" in until(connection, b"in the line")
            assert tiny.load().waiting == 2
        assert reached(tiny, lambda load: load.waiting == 1)


@pytest.mark.parametrize("stream", [True, False])
def test_a_full_line_is_told(tiny: LocalEngine, served: Alone, stream: bool) -> None:
    with (
        occupied(tiny, 2),
        pytest.raises(openai.RateLimitError, match="already waiting") as caught,
    ):
        served.client(KEY).chat.completions.create(model="tiny", messages=HELLO, stream=stream)
    assert caught.value.code == "engine_busy"
    assert int(caught.value.response.headers["retry-after"]) > 0


def test_who_waits_hears_of_it(
    tiny: LocalEngine, served: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "KEEP_ALIVE_S", 0.01)
    with occupied(tiny, 1), ask(served, stream=True) as connection:
        until(connection, b"\n: still waiting\n\n")


def test_who_reads_nothing_holds_nothing_up(tiny: LocalEngine, served: Alone) -> None:
    left_before = served.tokens_left(KEY)
    with ask(served, stream=True, max_tokens=300):
        assert reached(tiny, lambda load: load.running == 1)
        assert reached(tiny, idle)
        for _ in range(1000):
            if left_before - served.tokens_left(KEY) == 300:
                break
            time.sleep(0.01)
        assert left_before - served.tokens_left(KEY) == 300


def test_half_a_call_holds_nothing(tiny: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_BODY_S", 0.2)
    with alone(tiny, replies_at_once=1) as served:
        ask(served, unsent=5).close()
        assert soon_let_in(served)
        with ask(served, unsent=5) as connection:
            answer = until(connection, b"longer than 0.2 s")
            assert answer.startswith(b"HTTP/1.1 408 ") and b"\r\nconnection: close" in answer
        assert soon_let_in(served)


def test_one_reply_at_once_makes_room_for_the_next(tiny: LocalEngine) -> None:
    with alone(tiny, replies_at_once=1) as served:
        client = served.client()
        with client.chat.completions.create(
            model="tiny", messages=HELLO, max_tokens=LONG_TOKENS, stream=True
        ) as running:
            next(iter(running))
            with pytest.raises(openai.RateLimitError, match="1 reply is being written"):
                client.chat.completions.create(model="tiny", messages=HELLO)
        assert reached(tiny, idle)
        reply = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=2)
        assert reply.choices[0].finish_reason == "length"


def test_a_deadline_cuts_a_reply(tiny: LocalEngine) -> None:
    with alone(tiny, deadline_s=0.3) as served:
        reply = served.client().chat.completions.create(
            model="tiny", messages=HELLO, max_tokens=LONG_TOKENS
        )
        assert reply.choices[0].finish_reason == "length"
        assert reply.usage is not None and reply.usage.completion_tokens < LONG_TOKENS


def test_a_server_that_stops_ends_what_it_owes(endless: Endless) -> None:
    engine = endless()
    with alone(engine) as served:
        ask = partial(served.client().chat.completions.create, model="tiny", messages=HELLO)
        running: Any = iter(ask(max_tokens=LONG_TOKENS, stream=True))
        next(running)
        waiting: list[Any] = []
        while engine.load().waiting == 0:  # as many as there are slots, and one
            waiting.append(iter(ask(max_tokens=LONG_TOKENS, stream=True)))
            assert next(waiting[-1]).choices[0].delta.role == "assistant"
        engine.close(grace_s=0)
        *_, last = running
        assert last.choices[0].finish_reason == "length"
        with pytest.raises(openai.APIError, match="shutting down"):
            list(waiting[-1])
        with pytest.raises(openai.InternalServerError, match="shutting down") as caught:
            ask()
        assert caught.value.status_code == 503
        assert int(caught.value.response.headers["retry-after"]) > 0
