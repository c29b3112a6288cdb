"""What the servers offer is asked at the start, and what is wrong with one is told then."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from llava_chat.engine.base import REMOTE_TEMPLATE, Done, EngineLoad, GenerationSettings
from llava_chat.engine.remote import RemoteEngine, Served, Timeouts, open_engine
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import (
    EngineBusyError,
    EngineClosedError,
    LlavaChatError,
    RemoteEngineError,
    SettingError,
)
from tests.engine.remote.conftest import ASKED, SETTINGS, MakeEngine, MakeServer
from tests.engine.remote.server import Answer, Heard, Wire

KEY = "sk-secret"


def test_the_only_model_is_taken_with_what_is_known_of_it(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    first = make_server(models=[{"id": "llava", "max_model_len": 4096, "root": "/models/llava"}])
    second = make_server(models=[{"id": "other"}, {"id": "llava", "max_model_len": 2048}])
    model = make_engine(first, second).model
    assert (model.id, model.context_tokens, model.template) == ("llava", 2048, REMOTE_TEMPLATE)
    assert (model.local, model.parameters, model.revision) == (False, 0, "")
    assert make_engine(make_server()).model.context_tokens == 0


def test_of_several_models_one_has_to_be_named(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    server = make_server(models=[{"id": "a"}, {"id": "b"}])
    with pytest.raises(SettingError, match=r"model must name one of those .* offers: a, b"):
        make_engine(server)
    assert make_engine(server, model="b").model.id == "b"
    with pytest.raises(SettingError, match=r"offers a, b"):
        make_engine(server, model="c")


def test_all_servers_have_to_offer_the_model(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    second = make_server(models=[{"id": "b"}])
    with pytest.raises(SettingError, match=rf"every server.*{second.url} offers b"):
        make_engine(make_server(models=[{"id": "a"}]), second)


def test_a_key_with_a_line_end_is_not_repeated(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    with pytest.raises(SettingError, match=r"^engine_key must be one line") as told:
        make_engine(make_server(), key=f"{KEY}\n")
    assert KEY not in str(told.value)
    with pytest.raises(SettingError):
        RemoteEngine([make_server().url], Served("tiny"), key=f"{KEY}\n")


def test_a_server_that_lists_none_is_taken_at_its_word(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    server = make_server(models=[])
    with pytest.raises(SettingError, match="which lists none"):
        make_engine(server)
    assert make_engine(server, model="folder").model.id == "folder"


async def wrong_key(heard: Heard, wire: Wire) -> None:
    await wire.json(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}})


async def web_page(heard: Heard, wire: Wire) -> None:
    await wire.head(200, "text/html")
    await wire.raw(b"<html></html>")


async def other_json(heard: Heard, wire: Wire) -> None:
    await wire.json(200, {"data": 3})


async def not_found(heard: Heard, wire: Wire) -> None:
    await wire.json(404, {"detail": "Not Found"})


async def endless(heard: Heard, wire: Wire) -> None:
    await wire.head(200, "application/json")
    while not wire.reader.at_eof():
        await wire.raw(b" " * 100_000)


async def hanging(heard: Heard, wire: Wire) -> None:
    await wire.until_gone()


async def trickling(heard: Heard, wire: Wire) -> None:
    await wire.head(200, "application/json")
    while not wire.reader.at_eof():
        await wire.raw(b" ")
        await asyncio.sleep(0.05)


async def slammed(heard: Heard, wire: Wire) -> None:
    """Nothing, and the connection is closed."""


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        (wrong_key, "refuses the key in LLAVA_CHAT_ENGINE_KEY"),
        (web_page, "is no OpenAI-compatible server"),
        (other_json, "is no OpenAI-compatible server"),
        (not_found, "answered with 404. An address mostly ends in /v1"),
        (endless, "is no OpenAI-compatible server"),
        (hanging, "cannot be reached (no answer in time)"),
        (trickling, "cannot be reached (no answer in time)"),
        (slammed, "cannot be reached"),
    ],
)
def test_a_server_that_cannot_be_used_is_named(
    make_server: MakeServer, make_engine: MakeEngine, listing: Answer, words: str
) -> None:
    server = make_server(listing=listing)
    with pytest.raises(RemoteEngineError) as refused:
        make_engine(make_server(), server, key=KEY, connect_s=0.5)
    assert str(refused.value).startswith(server.url) and words in str(refused.value)
    assert KEY not in str(refused.value) and refused.value.exit_code == 1
    assert server.asked_for_models[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_key_that_is_missing_is_asked_for(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    with pytest.raises(RemoteEngineError, match="wants a key; set LLAVA_CHAT_ENGINE_KEY"):
        make_engine(make_server(listing=wrong_key))


def test_a_server_that_is_not_there_is_named(make_server: MakeServer) -> None:
    server = make_server()
    server.stop()
    with pytest.raises(RemoteEngineError, match=r"cannot be reached .*--engine-url"):
        open_engine([server.url])


def test_too_many_at_once_are_refused(make_server: MakeServer) -> None:
    server = make_server(hanging)
    engine = RemoteEngine([server.url], Served("tiny"), max_waiting=1, at_once=1)
    held = [engine.stream(ASKED, SETTINGS) for _ in range(2)]
    assert engine.load() == EngineLoad(0, 2)
    with pytest.raises(EngineBusyError, match="2 replies"):
        engine.stream(ASKED, SETTINGS)
    held[0].cancel()
    assert isinstance([*held[0]][-1], Done)
    engine.stream(ASKED, SETTINGS).close()
    engine.close(grace_s=0)


def test_closing_lets_replies_end_and_stops_the_rest(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    go_on = threading.Event()

    async def answer(heard: Heard, wire: Wire) -> None:
        await wire.head()
        await wire.pieces("One")
        if heard.fields["max_tokens"] == 1:
            await wire.until_gone()
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        await wire.end()

    engine = make_engine(make_server(answer))
    ending = engine.stream(ASKED, SETTINGS)
    hanging = engine.stream(ASKED, GenerationSettings(temperature=0, max_new_tokens=1))
    for stream in (ending, hanging):
        next(stream), next(stream)
    closing = threading.Thread(target=engine.close, args=(0.6,))
    closing.start()
    go_on.set()
    finishes = [[*stream][-1] for stream in (ending, hanging)]
    assert [done.finish for done in finishes if isinstance(done, Done)] == ["stop", "cancelled"]
    closing.join()
    with pytest.raises(EngineClosedError):
        engine.stream(ASKED, SETTINGS)
    ending.cancel()  # of an engine that is gone
    engine.close()


def test_it_is_an_engine_that_another_one_can_open(make_server: MakeServer) -> None:
    server = make_server()

    def opened(name: str, report: Any) -> RemoteEngine:
        return open_engine([server.url], model=name, timeouts=Timeouts(connect_s=1))

    engine = SwitchingEngine(opened, "tiny")
    assert engine.wait().id == "tiny"
    *_, done = engine.stream(ASKED, SETTINGS)
    assert isinstance(done, Done) and done.model == engine.model
    assert engine.context_use(ASKED) is None
    engine.close()


def test_what_keeps_it_from_opening_is_told() -> None:
    engine = SwitchingEngine(lambda name, report: open_engine(["http://127.0.0.1:9/v1"]), "tiny")
    with pytest.raises(LlavaChatError, match=r"127\.0\.0\.1:9/v1 cannot be reached"):
        engine.wait()
    engine.close()
