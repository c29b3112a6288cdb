"""How a reply goes: its words, its end, and what stops it."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import (
    UNKNOWN_TOKEN,
    Done,
    Failed,
    GenerationSettings,
    Looking,
    Token,
    whole_reply,
)
from llava_chat.errors import RemoteEngineError
from tests.engine.remote.conftest import ASKED, SETTINGS, MakeEngine, MakeServer, failure
from tests.engine.remote.server import Heard, Wire


async def talking(heard: Heard, wire: Wire) -> None:
    """Two words, and then nothing until the client goes."""
    await wire.head()
    await wire.pieces("One", " two")
    await wire.until_gone()


async def silent(heard: Heard, wire: Wire) -> None:
    await wire.until_gone()


def test_the_events_of_a_reply(make_server: MakeServer, make_engine: MakeEngine) -> None:
    async def answer(heard: Heard, wire: Wire) -> None:
        await wire.head()
        await wire.raw(b": a comment\r\n\r\n")
        await wire.event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        await wire.pieces("Hello", " \ud800there")
        counts = {"prompt_tokens": 40, "completion_tokens": 5}
        await wire.end("length", counts | {"prompt_tokens_details": {"cached_tokens": 32}})

    engine = make_engine(make_server(answer))
    looking, *words, done = engine.stream(ASKED, SETTINGS)
    assert looking == Looking(0, 0, 0)
    assert words == [Token("Hello", UNKNOWN_TOKEN), Token(" \ufffdthere", UNKNOWN_TOKEN)]
    assert isinstance(done, Done)
    assert (done.text, done.finish, done.token_ids) == ("Hello \ufffdthere", "length", ())
    assert (done.prompt_tokens, done.reused_tokens, done.generated_tokens) == (40, 32, 5)
    assert done.known_ids is None and done.first_token_s is not None
    assert done.first_token_s <= done.total_s


def test_without_counts_the_pieces_are_counted(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    done = whole_reply(make_engine(make_server()).stream(ASKED, SETTINGS))
    assert (done.text, done.generated_tokens, done.prompt_tokens) == ("Hello there.", 3, 0)


def test_a_server_without_the_last_mark_is_understood(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    async def answer(heard: Heard, wire: Wire) -> None:
        await wire.head()
        await wire.pieces("Yes")
        await wire.event({"choices": [{"delta": {}, "finish_reason": "stop"}]})

    assert whole_reply(make_engine(make_server(answer)).stream(ASKED, SETTINGS)).text == "Yes"


def test_a_stopped_reply_keeps_its_words_and_the_server_is_left(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    server = make_server(talking)
    stream = make_engine(server).stream(ASKED, SETTINGS)
    assert [next(stream), next(stream), next(stream)][2] == Token(" two", UNKNOWN_TOKEN)
    stream.cancel()
    (done,) = stream
    assert isinstance(done, Done)
    assert (done.text, done.finish, done.generated_tokens) == ("One two", "cancelled", 2)
    assert server.gone.wait(30)


@pytest.mark.parametrize("answer", [silent, talking])
def test_a_closed_reply_yields_nothing_more(
    make_server: MakeServer, make_engine: MakeEngine, answer: Callable[..., Awaitable[None]]
) -> None:
    server = make_server(answer)
    engine = make_engine(server)
    stream = engine.stream(ASKED, SETTINGS)
    rest: list[Any] = []
    next(stream)
    reader = threading.Thread(target=lambda: rest.extend(stream))
    reader.start()
    while not server.heard:
        time.sleep(0.005)
    stream.close()
    reader.join(30)
    assert not reader.is_alive()
    assert not [event for event in rest if isinstance(event, Done | Failed)]
    assert server.gone.wait(30)


def test_a_forgotten_reply_is_stopped(make_server: MakeServer, make_engine: MakeEngine) -> None:
    server = make_server(silent)
    engine = make_engine(server)
    engine.stream(ASKED, SETTINGS)
    gc.collect()
    until = time.monotonic() + 30
    while engine.load().waiting and time.monotonic() < until:
        time.sleep(0.01)
    assert engine.load().waiting == 0


def test_stopping_before_the_first_word(make_server: MakeServer, make_engine: MakeEngine) -> None:
    stream = make_engine(make_server(silent)).stream(ASKED, SETTINGS)
    stream.cancel()
    _, done = stream
    assert isinstance(done, Done)
    assert (done.text, done.finish, done.first_token_s) == ("", "cancelled", None)


@pytest.mark.parametrize(("answer", "text"), [(silent, ""), (talking, "One two")])
def test_the_deadline_cuts_a_reply(
    make_server: MakeServer,
    make_engine: MakeEngine,
    answer: Callable[..., Awaitable[None]],
    text: str,
) -> None:
    server = make_server(answer)
    settings = GenerationSettings(temperature=0, deadline_s=0.7)
    done = whole_reply(make_engine(server).stream(ASKED, settings))
    assert (done.text, done.finish) == (text, "deadline")
    assert server.gone.wait(30)


def test_a_slow_first_word_fails_the_reply(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    server = make_server(silent)
    error = failure(make_engine(server, first_token_s=0.2).stream(ASKED, SETTINGS))
    assert isinstance(error, RemoteEngineError) and "silent" in str(error)
    assert server.gone.wait(30)


def test_silence_after_some_words_fails_the_reply(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    error = failure(make_engine(make_server(talking), piece_s=0.2).stream(ASKED, SETTINGS))
    assert isinstance(error, RemoteEngineError) and "silent" in str(error)


def test_a_reply_goes_on_while_nobody_reads(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    ended = threading.Event()

    async def answer(heard: Heard, wire: Wire) -> None:
        await wire.head()
        for _ in range(50):
            await wire.pieces("word ")
            await asyncio.sleep(0)
        await wire.end()
        ended.set()

    engine = make_engine(make_server(answer))
    stream = engine.stream(ASKED, SETTINGS)
    assert ended.wait(30)
    while engine.load().running:
        time.sleep(0.005)
    assert whole_reply(stream).text == "word " * 50


def test_a_conversation_that_ends_with_a_reply_is_refused(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    server = make_server()
    talk = Conversation((*ASKED.turns, Turn("assistant", "Hi")))
    assert "ends with a message" in str(failure(make_engine(server).stream(talk, SETTINGS)))
    assert not server.heard
