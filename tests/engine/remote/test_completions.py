"""Whole replies of a server that is well, busy, slow, broken, or no such server at all."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llava_chat.engine.remote.completions import MAX_REPLY_BYTES, Completion, Completions
from llava_chat.errors import (
    ContextFullError,
    EngineBusyError,
    EngineClosedError,
    LlavaChatError,
    RefusedRequestError,
    RemoteEngineError,
    SettingError,
)
from tests.engine.remote.conftest import MakeServer
from tests.engine.remote.server import MODEL, Answer, Heard, Wire

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "A cat?"}]
USAGE = {"prompt_tokens": 12, "completion_tokens": 3}

MakeClient = Callable[..., Completions]


def reply(text: object = "A cat.", **choice: object) -> dict[str, object]:
    message = {"role": "assistant", "content": text}
    return {"choices": [{"message": message, "finish_reason": "stop"} | choice], "usage": USAGE}


def saying(status: int, answer: object, extra: str = "") -> Answer:
    async def answered(heard: Heard, wire: Wire) -> None:
        await wire.json(status, answer, extra)

    return answered


def in_turn(*answers: Answer) -> Answer:
    """Each answer once, then the last one again and again."""
    left = list(answers)

    async def answered(heard: Heard, wire: Wire) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(heard, wire)

    return answered


async def slammed(heard: Heard, wire: Wire) -> None:
    """The connection is closed before anything is said."""


async def half(heard: Heard, wire: Wire) -> None:
    await wire.head(kind="application/json")
    await wire.raw(b'{"choices": [{"message": {"con')


async def silent(heard: Heard, wire: Wire) -> None:
    await wire.until_gone()


async def dribbling(heard: Heard, wire: Wire) -> None:
    await wire.head(kind="application/json")
    while True:
        await wire.raw(b" " * 1024)


@pytest.fixture
def make_client(make_server: MakeServer) -> Iterator[MakeClient]:
    clients: list[Completions] = []

    def make(answer: Answer, **options: Any) -> Completions:
        server = make_server(answer)
        options = {"model": MODEL, "first_pause_s": 0.001, "retries": 2, "timeout_s": 20} | options
        clients.append(Completions(server.url, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def ask(client: Completions, **options: Any) -> Completion:
    return client.ask(ASKED, **({"temperature": 0.2, "max_tokens": 64} | options))


def test_the_reply_and_its_counts(make_server: MakeServer) -> None:
    server = make_server(saying(200, reply()))
    with Completions(server.url, model=MODEL, api_key="sk-1") as client:
        assert ask(client, seed=7) == Completion("A cat.", "stop", 12, 3)
    (heard,) = server.heard
    assert heard.path == "/v1/chat/completions"
    assert heard.headers["authorization"] == "Bearer sk-1"
    assert heard.fields == {
        "model": MODEL, "messages": ASKED, "temperature": 0.2, "max_tokens": 64, "seed": 7,
    }  # fmt: skip


def test_a_temperature_that_is_left_to_the_server_is_not_sent(make_server: MakeServer) -> None:
    server = make_server(saying(200, reply()))
    with Completions(server.url, model=MODEL) as client:
        ask(client, temperature=None)
    assert "temperature" not in server.heard[0].fields
    assert "authorization" not in server.heard[0].headers


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply("A ca", finish_reason="length"), Completion("A ca", "length", 12, 3)),
        (reply(None, finish_reason="content_filter"), Completion("", "content_filter", 12, 3)),
        (reply("Half \ud800"), Completion("Half \ufffd", "stop", 12, 3)),
        (reply(finish_reason="\ud800"), Completion("A cat.", "\ufffd", 12, 3)),
        ({"choices": [{"message": {"content": "A cat."}}]}, Completion("A cat.", "stop", 0, 0)),
        (reply() | {"usage": {"prompt_tokens": -1, "completion_tokens": True}},
         Completion("A cat.", "stop", 0, 0)),
    ],
)  # fmt: skip
def test_replies_that_are_not_quite_as_usual(
    make_client: MakeClient, answer: object, expected: Completion
) -> None:
    assert ask(make_client(saying(200, answer))) == expected


@pytest.mark.parametrize(
    "trouble",
    [
        slammed,
        half,
        saying(429, {"error": "slow down"}),
        saying(503, {}, "retry-after: 0\r\n"),
        saying(500, {"error": {"message": "oops"}}),
        saying(200, {"error": {"message": "overloaded"}}),
    ],
    ids=["slammed", "half", "429", "503", "500", "no reply"],
)
def test_what_may_pass_is_tried_again(make_client: MakeClient, trouble: Answer) -> None:
    client = make_client(in_turn(trouble, trouble, saying(200, reply())))
    assert ask(client).text == "A cat."


WRONG: dict[str, tuple[Answer, type[LlavaChatError], str]] = {
    "slammed": (slammed, RemoteEngineError, "broke off"),
    "half": (half, RemoteEngineError, "half of it"),
    "no reply": (saying(200, {"detail": "later"}), RemoteEngineError, "without a reply: later"),
    "a list": (saying(200, ["?"]), RemoteEngineError, "without a reply"),
    "429": (saying(429, {"error": "quota"}), EngineBusyError, "stays busy .*quota"),
    "an hour": (saying(429, {}, "retry-after: 3600\r\n"), EngineBusyError, "stays busy"),
    "500": (saying(500, {"error": "oops"}), RemoteEngineError, r"fails \(500\): oops"),
    "401": (saying(401, {}), RemoteEngineError, "refuses the key in LLAVA_CHAT_ENGINE_KEY"),
    "404": (saying(404, {}), RemoteEngineError, "does not have tiny"),
    "302": (saying(302, {}, "location: /\r\n"), RemoteEngineError, "OpenAI-compatible"),
    "too long": (
        saying(400, {"error": {"message": "This model's maximum context length is 4096 tokens"}}),
        ContextFullError,
        "too long for tiny: This model",
    ),
    "refused": (
        saying(400, {"error": {"message": "bad words about sk-1"}}),
        RefusedRequestError,
        r"refused the messages \(400\): bad words about …",
    ),
}


@pytest.mark.parametrize(("answer", "kind", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_stays_wrong_is_a_sentence(
    make_client: MakeClient, answer: Answer, kind: type[LlavaChatError], words: str
) -> None:
    with pytest.raises(kind, match=words) as told:
        ask(make_client(answer, api_key="sk-1"))
    assert type(told.value) is kind
    assert "sk-1" not in str(told.value)


@pytest.mark.parametrize(
    ("answer", "attempts"),
    [(saying(500, {}), 3), (saying(400, {}), 1), (saying(401, {}), 1)],
    ids=["500", "400", "401"],
)
def test_how_often_it_is_tried(make_server: MakeServer, answer: Answer, attempts: int) -> None:
    server = make_server(answer)
    with (
        Completions(server.url, model=MODEL, retries=2, first_pause_s=0.001) as client,
        pytest.raises(RemoteEngineError),
    ):
        ask(client)
    assert len(server.heard) == attempts


def test_a_server_that_is_not_there_is_told_and_tried_again_when_it_is(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server(saying(200, reply()))
    server.stop()
    with Completions(server.url, model=MODEL, retries=1, first_pause_s=0.001) as client:
        with pytest.raises(RemoteEngineError, match="cannot be reached"):
            ask(client)
        server.start()
        assert ask(client).text == "A cat."
    assert len([each for each in caplog.records if each.levelno == logging.WARNING]) == 2


def test_a_server_that_says_nothing(make_client: MakeClient) -> None:
    with pytest.raises(RemoteEngineError, match=r"no whole answer in 0\.05 s"):
        ask(make_client(silent, timeout_s=0.05, retries=0))


def test_a_server_that_never_ends(make_client: MakeClient) -> None:
    with pytest.raises(RemoteEngineError, match=r"half of it|no whole answer"):
        ask(make_client(dribbling, timeout_s=0.3, retries=0))
    assert MAX_REPLY_BYTES < 2**25


def test_a_server_that_wants_the_length_in_the_newer_field(make_server: MakeServer) -> None:
    async def newer(heard: Heard, wire: Wire) -> None:
        if "max_tokens" in heard.fields:
            words = "'max_tokens' is not supported; use 'max_completion_tokens' instead."
            await wire.json(400, {"error": {"message": words}})
        else:
            await wire.json(200, reply())

    server = make_server(newer)
    with Completions(server.url, model=MODEL) as client:
        assert [ask(client).text, ask(client).text] == ["A cat.", "A cat."]
    assert ["max_tokens" in heard.fields for heard in server.heard] == [True, False, False]
    assert server.heard[-1].fields["max_completion_tokens"] == 64


def test_a_server_that_knows_no_seed(make_server: MakeServer) -> None:
    async def strict(heard: Heard, wire: Wire) -> None:
        if "seed" in heard.fields:
            problem = {"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}
            await wire.json(422, {"detail": [problem]})
        else:
            await wire.json(200, reply())

    server = make_server(strict)
    with Completions(server.url, model=MODEL) as client:
        assert [ask(client, seed=1).text, ask(client, seed=2).text] == ["A cat.", "A cat."]
    assert ["seed" in heard.fields for heard in server.heard] == [True, False, False]


def test_stopping_wakes_those_who_wait_to_try_again(make_client: MakeClient) -> None:
    asked = threading.Event()

    async def later(heard: Heard, wire: Wire) -> None:
        await wire.json(429, {}, "retry-after: 500\r\n")
        asked.set()

    client = make_client(later)
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask, client)
        assert asked.wait(20)
        client.stop()
        with pytest.raises(EngineClosedError):
            asking.result(20)
    with pytest.raises(EngineClosedError):
        ask(client)


def test_what_is_on_its_way_when_it_stops_still_comes(make_client: MakeClient) -> None:
    client: Completions

    async def slowly(heard: Heard, wire: Wire) -> None:
        client.stop()
        await wire.json(200, reply())

    client = make_client(slowly)
    assert ask(client).text == "A cat."
    with pytest.raises(EngineClosedError):
        ask(client)


def test_threads_ask_at_the_same_time(make_client: MakeClient) -> None:
    together = threading.Barrier(4)

    async def echo(heard: Heard, wire: Wire) -> None:
        await wire.json(200, reply(heard.fields["messages"][0]["content"]))

    client = make_client(echo)

    def asked(number: int) -> str:
        together.wait(20)
        message = {"role": "user", "content": str(number)}
        return client.ask([message], temperature=0, max_tokens=8).text

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(asked, range(4))) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("key", ["sk-1\n", " sk-1", "sk-\x00", "sk-\N{HORIZONTAL ELLIPSIS}"])
def test_a_key_that_no_header_can_hold_is_not_repeated(key: str) -> None:
    with pytest.raises(SettingError, match=r"^engine_key must be") as told:
        Completions("http://127.0.0.1:8000/v1", model=MODEL, api_key=key)
    assert "sk-" not in str(told.value)


def test_an_address_that_is_none() -> None:
    with pytest.raises(SettingError, match=r"^url must be an address like"):
        Completions("127.0.0.1:8000", model=MODEL)
