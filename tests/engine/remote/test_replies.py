"""How a reply goes, and every way in which a server can spoil one."""

from __future__ import annotations

import asyncio
import gc
import logging
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
from llava_chat.engine.remote.event_stream import MAX_LINE_BYTES
from llava_chat.engine.remote.request import LEAST_REPLY_TOKENS
from llava_chat.errors import (
    ContextFullError,
    EngineBusyError,
    LlavaChatError,
    PictureError,
    RemoteEngineError,
)
from tests.engine.remote.conftest import MakeEngine, MakeServer
from tests.engine.remote.server import Heard, Wire

ASKED = Conversation((Turn("user", "Hello"),))
SETTINGS = GenerationSettings(temperature=0)
KEY = "sk-a-key-that-nobody-may-read"


async def talking(heard: Heard, wire: Wire) -> None:
    """Two words, and then nothing until the client goes."""
    await wire.head()
    await wire.pieces("One", " two")
    await wire.until_gone()


async def silent(heard: Heard, wire: Wire) -> None:
    await wire.until_gone()


def failure(events: Any) -> LlavaChatError:
    *_, last = events
    assert isinstance(last, Failed), last
    assert last.error.__traceback__ is None
    return last.error


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
    while engine.load().waiting:
        time.sleep(0.01)


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


async def half(heard: Heard, wire: Wire) -> None:
    await wire.head()
    await wire.pieces("One")


async def cut(heard: Heard, wire: Wire) -> None:
    """The transport itself breaks off: a chunk is announced that never comes."""
    await wire.raw(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    piece = b'data: {"choices": [{"delta": {"content": "One"}}]}\n\n'
    await wire.raw(b"%x\r\n%b\r\n100\r\n" % (len(piece), piece))


async def cut_in_an_event(heard: Heard, wire: Wire) -> None:
    await wire.head()
    await wire.pieces("One")
    await wire.raw(b'data: {"choices": [{"del')


async def aborted(heard: Heard, wire: Wire) -> None:
    await wire.head()
    await wire.pieces("One")
    await wire.end("abort")


async def no_json(heard: Heard, wire: Wire) -> None:
    await wire.head()
    await wire.raw(b"data: <b>Oh no</b>\n\n")


async def nested(heard: Heard, wire: Wire) -> None:
    await wire.head()
    await wire.raw(b"data: " + b"[" * 200_000 + b"\n\n")


async def no_text(heard: Heard, wire: Wire) -> None:
    await wire.head()
    await wire.event({"choices": [{"delta": {"content": {"a": 1}}}]})


async def page(heard: Heard, wire: Wire) -> None:
    await wire.head(kind="text/html")
    await wire.raw(b"<html>Welcome</html>")


async def whole(heard: Heard, wire: Wire) -> None:
    """An answer, but not as a stream."""
    await wire.json(200, {"choices": [{"message": {"content": "Hello"}}]})


async def broken_off(heard: Heard, wire: Wire) -> None:
    await wire.head()
    await wire.pieces("One")
    await wire.event({"error": {"message": f"CUDA\nerror {KEY}", "code": 500}})


async def broken_off_in_words(heard: Heard, wire: Wire) -> None:
    await wire.head()
    await wire.event({"error": "out of memory"})


async def endless_line(heard: Heard, wire: Wire) -> None:
    await wire.head()
    await wire.raw(b"data: ")
    for _ in range(64):
        await wire.raw(b"x" * MAX_LINE_BYTES)
    await wire.until_gone()


async def endless(heard: Heard, wire: Wire) -> None:
    await wire.head()
    while not wire.reader.at_eof():
        await wire.pieces("word " * 1000)


async def moved(heard: Heard, wire: Wire) -> None:
    await wire.head(302, extra="location: http://127.0.0.1:9/\r\n")


SPOILT: dict[str, tuple[Callable[..., Awaitable[None]], str]] = {
    "half a stream": (half, "broke off"),
    "half a body": (cut, "broke off"),
    "half an event": (cut_in_an_event, "no reply"),
    "given up by the server": (aborted, "broke off"),
    "no JSON": (no_json, "no reply"),
    "JSON too deep": (nested, "no reply"),
    "no text": (no_text, "no reply"),
    "a web page": (page, "no stream of words"),
    "no stream": (whole, "no stream of words"),
    "an error in the stream": (broken_off, "broke the reply off: CUDA error …"),
    "an error in words": (broken_off_in_words, "broke the reply off: out of memory"),
    "a line without an end": (endless_line, "no reply"),
    "more than was asked for": (endless, "more than it was asked for"),
    "somewhere else": (moved, "302"),
}


@pytest.mark.parametrize(("answer", "words"), SPOILT.values(), ids=SPOILT.keys())
def test_a_spoilt_reply_fails_in_a_sentence_and_the_next_one_works(
    make_server: MakeServer,
    make_engine: MakeEngine,
    answer: Callable[..., Awaitable[None]],
    words: str,
) -> None:
    server = make_server(answer)
    engine = make_engine(server, key=KEY)
    error = failure(engine.stream(ASKED, GenerationSettings(temperature=0, max_new_tokens=8)))
    assert isinstance(error, RemoteEngineError)
    assert words in str(error) and KEY not in str(error)
    assert len(server.heard) == 1  # a reply that began is never asked for again
    assert engine.load().running == engine.load().waiting == 0


REFUSED: dict[str, tuple[int, object, str, type[LlavaChatError], str]] = {
    "key": (401, {"error": {"message": f"Wrong key {KEY}"}}, "", RemoteEngineError, "_ENGINE_KEY"),
    "forbidden": (403, {}, "", RemoteEngineError, "LLAVA_CHAT_ENGINE_KEY"),
    "model": (404, {"error": {"message": "x"}}, "", RemoteEngineError, "does not have tiny"),
    "too large": (413, {}, "", PictureError, "fewer"),
    "busy": (429, {}, "retry-after: 7\r\n", EngineBusyError, "7 seconds"),
    "busy, no word when": (429, {}, "", EngineBusyError, "a minute"),
    "starting": (503, {}, "retry-after: 3\r\n", EngineBusyError, "3 seconds"),
    "failed": (500, {"error": "Traceback (most recent..."}, "", RemoteEngineError, "(500)"),
    "bad gateway": (502, "<html>", "", RemoteEngineError, "(502)"),
    "refused": (
        400, {"object": "error", "message": f"No\x00 {KEY} " + "x" * 900}, "",
        RemoteEngineError, "refused the message: No … xxx",
    ),
    "refused by a field": (
        422, {"detail": [{"loc": ["body", "seed"], "msg": "too big", "input": "A" * 9999}]}, "",
        RemoteEngineError, "refused the message: body.seed: too big",
    ),
    "refused without a word": (418, {}, "", RemoteEngineError, "Try again"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "extra", "kind", "words"), REFUSED.values(), ids=REFUSED.keys()
)
def test_a_refusal_is_a_sentence_without_the_key(
    make_server: MakeServer,
    make_engine: MakeEngine,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: object,
    extra: str,
    kind: type[LlavaChatError],
    words: str,
) -> None:
    async def answer(heard: Heard, wire: Wire) -> None:
        assert heard.headers["authorization"] == f"Bearer {KEY}"
        await wire.json(status, body, extra)

    caplog.set_level(logging.DEBUG)
    error = failure(make_engine(make_server(answer), key=KEY).stream(ASKED, SETTINGS))
    assert type(error) is kind
    assert words in str(error) and len(str(error)) < 300 and str(error).isprintable()
    assert KEY not in str(error)
    assert not [r for r in caplog.records if r.name != "asyncio" and KEY in r.getMessage()]
    if isinstance(error, EngineBusyError):
        assert error.retry_after_s == ({"7": 7, "3": 3}.get(extra[13:14]) if extra else None)


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_counts_no_tokens_is_asked_without_once_and_for_all(
    make_server: MakeServer, make_engine: MakeEngine, status: int
) -> None:
    async def answer(heard: Heard, wire: Wire) -> None:
        if "stream_options" in heard.fields:
            await wire.json(status, {"detail": "Unexpected fields: {'stream_options'}"})
            return
        await wire.head()
        await wire.pieces("Fine")
        await wire.end()

    server = make_server(answer)
    engine = make_engine(server)
    for asked in (2, 3):
        assert whole_reply(engine.stream(ASKED, SETTINGS)).text == "Fine"
        assert len(server.heard) == asked


def test_two_at_once_may_learn_that_no_tokens_are_counted(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    both = threading.Barrier(2, timeout=60)

    async def answer(heard: Heard, wire: Wire) -> None:
        if "stream_options" in heard.fields:
            await asyncio.to_thread(both.wait)
            await wire.json(400, {"error": {"message": "Unknown field: stream_options"}})
            return
        await wire.head()
        await wire.pieces("Fine")
        await wire.end()

    engine = make_engine(make_server(answer))
    streams = [engine.stream(ASKED, SETTINGS) for _ in range(2)]
    assert [whole_reply(stream).text for stream in streams] == ["Fine", "Fine"]


def test_a_server_without_the_extra_settings_says_which(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    async def answer(heard: Heard, wire: Wire) -> None:
        await wire.json(422, {"detail": "Unexpected fields in the request: {'top_k'}"})

    settings = GenerationSettings(temperature=1, top_k=5, repetition_penalty=1.2)
    error = failure(make_engine(make_server(answer)).stream(ASKED, settings))
    assert "does not know top_k; set it back" in str(error)


FULL = "This model's maximum context length is 4096 tokens. However, you requested 4500 tokens."


def test_a_long_reply_gives_way_to_a_nearly_full_context(
    make_server: MakeServer, make_engine: MakeEngine
) -> None:
    async def answer(heard: Heard, wire: Wire) -> None:
        if heard.fields["max_tokens"] > LEAST_REPLY_TOKENS:
            await wire.json(400, {"error": {"message": FULL}})
            return
        await wire.head()
        await wire.pieces("Short")
        await wire.end()

    server = make_server(answer)
    assert whole_reply(make_engine(server).stream(ASKED, SETTINGS)).text == "Short"
    assert [heard.fields["max_tokens"] for heard in server.heard] == [512, LEAST_REPLY_TOKENS]


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": FULL}},
        {
            "object": "error",
            "message": "The input (9 tokens) is longer than the model's context length",
        },
        {"error": {"message": "Too long.", "code": "context_length_exceeded"}},
        {"message": "The prompt (length 5000) is longer than the maximum model length of 4096."},
    ],
)
def test_a_full_context_says_the_way_out(
    make_server: MakeServer, make_engine: MakeEngine, body: object
) -> None:
    async def answer(heard: Heard, wire: Wire) -> None:
        await wire.json(400, body)

    error = failure(make_engine(make_server(answer)).stream(ASKED, SETTINGS))
    assert isinstance(error, ContextFullError) and "Start a new chat" in str(error)


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
