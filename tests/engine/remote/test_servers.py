"""Several servers: who is asked, who is left out and for how long, and when nobody is there."""

from __future__ import annotations

import time

import pytest

from llava_chat.engine.base import Failed, Token, whole_reply
from llava_chat.engine.remote.servers import (
    FIRST_LEFT_OUT_S,
    MOST_LEFT_OUT_S,
    Servers,
    checked_urls,
)
from llava_chat.errors import RemoteEngineError, SettingError
from tests.engine.remote.conftest import ASKED, SETTINGS, MakeEngine, MakeServer
from tests.engine.remote.server import Heard, Wire


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def urls(servers: Servers) -> list[str]:
    return [server.url for server in servers.in_turn()]


def test_the_least_busy_comes_first() -> None:
    servers = Servers(["a", "b", "c"])
    a, b, _ = servers.in_turn()
    a.running, b.running = 2, 1
    assert urls(servers) == ["c", "b", "a"]


def test_one_that_is_away_is_left_out_for_longer_each_time() -> None:
    clock = Clock()
    servers = Servers(["a", "b"], clock)
    a, _ = servers.in_turn()
    for left_out_s in (FIRST_LEFT_OUT_S, 2 * FIRST_LEFT_OUT_S, 4 * FIRST_LEFT_OUT_S):
        a.failed()
        clock.now_s += left_out_s - 0.01
        assert urls(servers) == ["b"]
        clock.now_s += 0.01
        assert urls(servers) == ["a", "b"]
    for _ in range(20):
        a.failed()
    clock.now_s += MOST_LEFT_OUT_S
    assert urls(servers) == ["a", "b"]
    a.answered()
    a.failed()
    clock.now_s += FIRST_LEFT_OUT_S
    assert urls(servers) == ["a", "b"]


def test_when_all_are_away_the_one_that_is_back_soonest_is_tried() -> None:
    clock = Clock()
    servers = Servers(["a", "b"], clock)
    a, b = servers.in_turn()
    a.failed()
    a.failed()
    b.failed()
    assert urls(servers) == ["b"]


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000/v1", "ftp://host/v1", "http://", "http:///v1", "http://host:port/v1",
        "http://host:99999/v1", "http://ho st/v1", "http://host/v1\n", "http://host/v1?a=1",
        "http://host/v1#a", "http://[::1/v1", "",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingError, match="the second one is none"):
        checked_urls(["https://good/v1", url])


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingError, match="LLAVA_CHAT_ENGINE_KEY") as refused:
        checked_urls(["http://me:hunter2@host/v1"])
    assert "hunter2" not in str(refused.value)


async def busy(heard: Heard, wire: Wire) -> None:
    await wire.head()
    await wire.pieces("One")
    await wire.until_gone()


async def slammed(heard: Heard, wire: Wire) -> None:
    """The connection is closed before anything is said."""


def test_replies_go_to_the_least_busy_server(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    servers = [make_server(busy), make_server(busy)]
    engine = make_engine(*servers)
    streams = []
    for _ in range(4):
        streams.append(engine.stream(ASKED, SETTINGS))
        assert [next(streams[-1]), next(streams[-1])][1] == Token("One", -1)
    assert [len(server.heard) for server in servers] == [2, 2]
    assert engine.load().running == 4
    for stream in streams:
        stream.close()


@pytest.mark.parametrize("how", ["refused", "slammed"])
def test_one_dead_server_of_two_costs_nobody_a_reply(
    make_server: MakeServer, make_engine: MakeEngine, how: str
) -> None:
    dead, alive = make_server(), make_server()
    engine = make_engine(dead, alive)
    if how == "refused":
        dead.stop()
    else:
        dead.answer = slammed
    for _ in range(3):
        assert whole_reply(engine.stream(ASKED, SETTINGS)).text == "Hello there."
    assert len(alive.heard) == 3
    assert len(dead.heard) == (1 if how == "slammed" else 0)  # left out after the first time


def test_a_server_that_is_back_is_asked_again(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    server = make_server()
    engine = make_engine(server)
    server.stop()
    for _ in range(2):
        *_, last = engine.stream(ASKED, SETTINGS)
        assert isinstance(last, Failed) and isinstance(last.error, RemoteEngineError)
        assert "cannot be reached" in str(last.error) and server.url not in str(last.error)
    server.start()
    assert whole_reply(engine.stream(ASKED, SETTINGS)).text == "Hello there."


def test_after_the_first_word_nobody_else_is_asked(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    async def cut(heard: Heard, wire: Wire) -> None:
        await wire.raw(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 999\r\n\r\n"
        )
        await wire.pieces("One")

    first, second = make_server(cut), make_server()
    *_, last = make_engine(first, second).stream(ASKED, SETTINGS)
    assert isinstance(last, Failed) and "broke off" in str(last.error)
    assert (len(first.heard), len(second.heard)) == (1, 0)


def test_a_failing_server_is_not_asked_elsewhere(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    async def failing(heard: Heard, wire: Wire) -> None:
        await wire.json(500, {"error": "oh"})

    first, second = make_server(failing), make_server()
    *_, last = make_engine(first, second).stream(ASKED, SETTINGS)
    assert isinstance(last, Failed) and "(500)" in str(last.error)
    assert not second.heard


def test_one_that_accepts_and_says_nothing_is_given_up(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    async def hanging(heard: Heard, wire: Wire) -> None:
        await wire.until_gone()

    server = make_server(hanging)
    begun = time.monotonic()
    *_, last = make_engine(server, first_token_s=0.3).stream(ASKED, SETTINGS)
    assert isinstance(last, Failed) and "silent" in str(last.error)
    assert time.monotonic() - begun >= 0.3
