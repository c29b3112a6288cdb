"""Every way in which a server can spoil a reply or refuse to make one."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable

import pytest

from llava_chat.engine.base import GenerationSettings, whole_reply
from llava_chat.engine.remote.event_stream import MAX_LINE_BYTES
from llava_chat.engine.remote.request import LEAST_REPLY_TOKENS
from llava_chat.errors import (
    ContextFullError,
    EngineBusyError,
    LlavaChatError,
    PictureError,
    RemoteEngineError,
)
from tests.engine.remote.conftest import ASKED, SETTINGS, MakeEngine, MakeServer, failure
from tests.engine.remote.server import Heard, Wire

KEY = "sk-a-key-that-nobody-may-read"


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
