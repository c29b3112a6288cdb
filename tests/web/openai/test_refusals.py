"""Every call that is refused: a status, OpenAI's error object, one sentence, nothing generated."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
import zlib
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI

from llava_chat.engine.local import LocalEngine
from llava_chat.engine.switching import SwitchingEngine
from tests.web.openai.conftest import (
    MAX_MESSAGE_CHARS,
    MAX_PICTURE_BYTES,
    MAX_PICTURES,
    SHAPES,
    STAR,
    Served,
    alone,
    data_url,
)

HELLO = [{"role": "user", "content": "Hello"}]
KEY = "a key of sixteen letters or more"


def post(server: Served, content: Any, **headers: str) -> httpx2.Response:
    headers = {"content_type": "application/json", **headers}
    return httpx2.post(
        f"{server.url}v1/chat/completions",
        content=content if isinstance(content, bytes) else json.dumps(content).encode(),
        headers={"content-type": "application/json"}
        | {k.replace("_", "-"): v for k, v in headers.items()},
        timeout=60,
    )


def refused(answer: httpx2.Response, status: int) -> dict[str, Any]:
    """The error, after a look at its shape."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert list(body) == ["error"] and list(body["error"]) == ["message", "type", "param", "code"]
    error: dict[str, Any] = body["error"]
    assert "Traceback" not in error["message"] and "\n" not in error["message"]
    assert 0 < len(error["message"]) <= 500
    assert not {"set-cookie", "access-control-allow-origin"} & set(answer.headers)
    return error


def saying(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [*parts]}]}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def picture(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def turns(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": "Hello"} for role in roles]}


WRONG_FIELDS: list[tuple[dict[str, Any], str, str]] = [
    ({"messages": None}, "messages", "must be a valid list"),
    ({"messages": []}, "messages", "at least 1"),
    ({"messages": "Hello"}, "messages", "list"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "is missing"),
    ({"messages": [{"content": "Hi"}]}, "messages[0].role", "is missing"),
    ({"messages": [{"role": "tool", "content": "Hi"}]}, "messages[0].role", "'assistant'"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "list"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "list"),
    (saying({"type": "input_audio"}), "messages[0].content[0].type", "'image_url'"),
    (saying({"type": "text"}), "messages[0].content[0]", "no 'text'"),
    (saying({"type": "image_url", "image_url": {}}), "messages[0].content[0].image_url.url",
     "is missing"),
    ({"messages": HELLO * 1001}, "messages", "1000"),
    ({"temperature": -1}, "temperature", "between 0 and 2, not -1"),
    ({"temperature": "hot"}, "temperature", "must be a number"),
    ({"temperature": True}, "temperature", "must be a number"),
    ({"temperature": [[]]}, "temperature", "must be a number"),
    ({"top_p": 0}, "top_p", "above 0"),
    ({"top_k": 1.5}, "top_k", "whole number"),
    ({"seed": -1}, "seed", "between"),
    ({"seed": 10**400}, "seed", "out of its range"),
    ({"repetition_penalty": 99}, "repetition_penalty", "between 1 and 2"),
    ({"max_tokens": 10**9}, "max_tokens", "between 1 and 4096"),
    ({"max_tokens": 5, "max_completion_tokens": 0}, "max_completion_tokens", "between"),
    ({"stop": ["a"] * 5}, "stop", "at most 4"),
    ({"stop": [""]}, "stop", "1 to 200"),
    ({"stop": 5}, "stop", "list"),
    ({"stream": "yes"}, "stream", "boolean"),
    ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage", "boolean"),
    ({"model": 5}, "model", "string"),
    ({"n": 2}, "n", "not supported"),
    ({"tools": [{"type": "function"}]}, "tools", "not supported"),
    ({"response_format": {"type": "json_object"}}, "response_format", "not supported"),
    ({"logprobs": True}, "logprobs", "not supported"),
    ({"presence_penalty": 0.5}, "presence_penalty", "not supported"),
    ({"frequency_penalty": -1}, "frequency_penalty", "not supported"),
    ({"modalities": ["audio"]}, "modalities", "not supported"),
    ({"min_p": 0.1}, "min_p", "not known"),
    ({"x" * 10_000: 1}, "x" * 499 + "…", "xxx"),
    (turns("user", "assistant"), "messages[1]", "last message must be the user's"),
    (turns("assistant", "user"), "messages[0]", "begins with the user's"),
    (turns("system"), "messages", "no message of the user's"),
    (turns("user", "system", "user"), "messages[1]", "before all others"),
    (saying(text(" \n")), "messages[0]", "empty"),
    (saying(text("x" * (MAX_MESSAGE_CHARS + 1))), "messages[0]", f"{MAX_MESSAGE_CHARS:,}"),
    ({"messages": [{"role": "system", "content": "x" * 2001}, *HELLO]}, "messages[0]", "2,000"),
    ({"messages": [{"role": "system", "content": [picture(data_url(STAR))]}, *HELLO]},
     "messages[0].content[0].image_url.url", "only the user's"),
    (saying(*[picture(data_url(STAR))] * 3), "messages[0]", f"at most {MAX_PICTURES}"),
    ({"messages": HELLO[:1] * 20 + [{"role": "user", "content": "x" * 32_000}]},
     "messages", "32,000"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param", "sentence"), WRONG_FIELDS)
def test_a_wrong_field_is_named(
    server: Served, fields: dict[str, Any], param: str, sentence: str
) -> None:
    error = refused(post(server, {"messages": HELLO, **fields}), 400)
    assert error["param"] == param and sentence in error["message"], error
    assert error["type"] == "invalid_request_error"


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """The head of a PNG of one bit a pixel, and these chunks."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    packed = ((b"IHDR", header), *chunks, (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in packed
    )


WRONG_PICTURES = [
    data_url(b""),
    data_url(STAR.read_bytes()[:200]),
    data_url(b"GIF"),
    data_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    data_url(b"<html>"),
    data_url(png(13_370, 13_370, (b"IDAT", zlib.compress(bytes(100))))),
    data_url(png(1, 100_000, (b"IDAT", zlib.compress(bytes(100))))),
    data_url(png(2**31 - 1, 2**31 - 1)),
    "data:image/png;base64,AAA",
    "data:image/png;base64,AA AA",
    "data:image/png;base64,A-_A",
    "data:image/png;base64,\ud800AAA",
    "data:image/png,AAAA",
    "data:",
    "",
    "cat.png",
    "/etc/passwd",
    "file:///etc/passwd",
    "ftp://example.org/cat.png",
    "https://example.org/cat.png",
    "http://127.0.0.1/cat.png",
    "http://169.254.169.254/latest",
    "http://[::1]/cat.png",
    "http://[::1/cat.png",
    "https://user:secret@example.org/cat.png",
    "http://" + "a" * 3000,
]


@pytest.mark.parametrize("url", WRONG_PICTURES, ids=lambda url: str(url)[:40])
def test_what_is_no_picture_is_refused(server: Served, url: str) -> None:
    error = refused(post(server, saying(text("What is it?"), picture(url))), 400)
    assert error["param"] == "messages[0].content[1].image_url.url"
    assert error["code"] == "invalid_image_url"


def test_one_byte_too_many_is_too_large(server: Served) -> None:
    url = data_url(SHAPES.read_bytes().ljust(MAX_PICTURE_BYTES, b"\0"))
    assert post(server, saying(text("What is it?"), picture(url))).status_code == 200
    url = data_url(SHAPES.read_bytes().ljust(MAX_PICTURE_BYTES + 1, b"\0"))
    error = refused(post(server, saying(text("What is it?"), picture(url))), 413)
    assert "100,000 bytes" in error["message"]


def test_a_picture_of_one_pixel_is_answered(server: Served) -> None:
    pixel = png(1, 1, (b"IDAT", zlib.compress(b"\0\xff")))
    assert post(server, saying(text("What is it?"), picture(data_url(pixel)))).status_code == 200


WRONG_BODIES = [
    b"",
    b"null",
    b"[]",
    b"Hello",
    b'{"messages": [{"role": "user", "content": "Hi"}], "temperature": NaN}',
    b'{"messages": [{"role": "user", "content": "Hi"}], "temperature": -Infinity}',
    b'{"messages": [{"role": "user", "content": "Hi"}], "seed": ' + b"9" * 5000 + b"}",
    b"[" * 100_000,
    b'{"messages":' * 100_000,
    b'{"a": "\xff"}',
    b'\xff\xfe{"a": 1}',
    b"\0\0\0",
]


@pytest.mark.parametrize("body", WRONG_BODIES, ids=lambda body: repr(body[:30]))
def test_what_is_no_json_is_refused(server: Served, body: bytes) -> None:
    assert refused(post(server, body), 400)["type"] == "invalid_request_error"


@pytest.mark.parametrize("depth", [50, 400, 900])
def test_deep_json_is_refused(server: Served, depth: int) -> None:
    nested: Any = "x"
    for _ in range(depth):
        nested = [nested]
    for field in ("temperature", "messages", "n", "unknown", "stop"):
        refused(post(server, {"messages": HELLO, field: nested}), 400)


def test_odd_letters_survive(server: Served) -> None:
    words = "a\ud800b \u202eRTL\u202c z\u0300\u0301\u0302algo"
    assert post(server, saying(text(words))).status_code == 200
    error = refused(post(server, {"messages": HELLO, "model": "\ud800"}), 404)
    assert error["param"] == "model"


def test_a_body_is_not_read_past_its_limit(server: Served) -> None:
    error = refused(post(server, b" " * 3_000_000), 413)
    assert error["code"] == "request_too_large"

    address = server.settings.host, server.settings.port
    with socket.create_connection(address, timeout=30) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address[0]}:{address[1]}\r\n"
        kind = "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.sendall((head + kind).encode())
        with pytest.raises(OSError):  # cut off, with no time to read it all
            for _ in range(1000):
                connection.sendall(b"186a0\r\n" + b" " * 100_000 + b"\r\n")


def test_the_context_can_be_full(server: Served, scenes: SwitchingEngine) -> None:
    assert scenes.model.context_tokens < 2000
    error = refused(post(server, saying(text("é" * MAX_MESSAGE_CHARS))), 400)
    assert error["code"] == "context_length_exceeded" and error["param"] == "messages"
    streamed = {**saying(text("é" * MAX_MESSAGE_CHARS)), "stream": True}
    assert refused(post(server, streamed), 400)["code"] == "context_length_exceeded"


def test_calls_that_are_not_here(server: Served, client: OpenAI) -> None:
    for method, path, status in (
        ("GET", "chat/completions", 405),
        ("DELETE", "models/scenes", 405),
        ("POST", "models", 405),
        ("POST", "embeddings", 404),
        ("GET", "", 404),
        ("GET", "models/", 404),
    ):
        refused(httpx2.request(method, f"{server.url}v1/{path}"), status)
    with pytest.raises(openai.NotFoundError, match="'gpt-4o' does not exist here"):
        client.chat.completions.create(model="gpt-4o", messages=HELLO)  # type: ignore[arg-type]
    with pytest.raises(openai.NotFoundError, match="There is no /v1/responses"):
        client.responses.create(model="scenes", input="Hello")


def test_only_json_is_read(server: Served) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert (
            "application/json" in refused(post(server, saying(), content_type=kind), 415)["message"]
        )


def test_pages_of_other_sites_are_refused(server: Served) -> None:
    for headers in (
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "https://example.org"},
        {"origin": "null"},
    ):
        assert (
            "other sites" in refused(post(server, {"messages": HELLO}, **headers), 403)["message"]
        )
    own = {"sec_fetch_site": "same-origin", "origin": server.url.rstrip("/")}
    assert post(server, {"messages": HELLO}, **own).status_code == 200


def test_a_key_is_wanted_where_there_are_keys(tiny: LocalEngine) -> None:
    with alone(tiny, api_keys=(KEY, "another key of that length")) as served:
        for key in ("wrong", KEY[:-1]):
            with pytest.raises(openai.AuthenticationError, match="not known here") as caught:
                served.client(key).models.list()
            assert caught.value.code == "invalid_api_key"
        answer = httpx2.get(f"{served.url}v1/models")
        assert "No API key was sent" in refused(answer, 401)["message"]
        assert answer.headers["www-authenticate"] == "Bearer"
        refused(post(served, {"messages": HELLO}, authorization=f"Basic {KEY}"), 401)
        assert served.client(KEY).models.list().data[0].id == "tiny"


def test_limits_are_told_with_a_time_to_wait(tiny: LocalEngine) -> None:
    with alone(tiny, messages_per_minute=2) as served:
        client = served.client()
        for _ in range(2):
            client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=1)  # type: ignore[arg-type]
        with pytest.raises(openai.RateLimitError, match="2 messages") as caught:
            client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=1)  # type: ignore[arg-type]
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
        assert caught.value.code == "rate_limit_exceeded"


def test_a_picture_that_comes_again_is_not_counted_again(tiny: LocalEngine) -> None:
    star, shapes = picture(data_url(STAR)), picture(data_url(SHAPES))
    with alone(tiny, uploads_per_hour=1) as served:
        for _ in range(2):
            asked = {**saying(text("What is it?"), star), "max_tokens": 1}
            assert post(served, asked).status_code == 200
        asked = {**saying(text("What are they?"), star, shapes), "max_tokens": 1}
        assert "1 picture" in refused(post(served, asked), 429)["message"]


def test_a_model_that_is_being_opened_is_waited_for_elsewhere(
    endless: Callable[..., LocalEngine],
) -> None:
    opened = threading.Event()

    def open_slowly(name: str, report: object) -> LocalEngine:
        opened.wait()
        return endless()

    engine = SwitchingEngine(open_slowly, "tiny")
    with alone(engine) as served:
        client = served.client()
        for call in (
            client.models.list,
            lambda: client.chat.completions.create(model="tiny", messages=HELLO),  # type: ignore[arg-type]
        ):
            with pytest.raises(openai.InternalServerError, match="still being loaded") as caught:
                call()
            assert caught.value.status_code == 503
            assert int(caught.value.response.headers["retry-after"]) > 0
        opened.set()
        engine.wait()
        assert client.models.list().data[0].id == "tiny"
    engine.close(0)


def test_what_fails_tells_nothing_of_the_server(endless: Callable[..., LocalEngine]) -> None:
    class Broken(LocalEngine):
        def stream(self, *asked: Any) -> Any:
            raise KeyError("a secret of the server's")

    engine = endless()
    engine.__class__ = Broken
    with alone(engine) as served:
        error = refused(post(served, {"messages": HELLO}), 500)
        assert error["type"] == "server_error" and "secret" not in error["message"]


def test_base64_is_taken_as_it_is(server: Served) -> None:
    packed = base64.b64encode(STAR.read_bytes()).decode()
    for url in (f"DATA:;BASE64,{packed}", f"data:text/html;base64,{packed}"):
        assert post(server, saying(text("What is it?"), picture(url))).status_code == 200
