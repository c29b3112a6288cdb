"""Pictures from addresses: of listed hosts only, and never from inside the server's network."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import LlavaChatError, SettingError
from llava_chat.web.openai import fetching
from llava_chat.web.openai.fetching import PictureFetcher, is_public
from tests.web.conftest import run
from tests.web.openai.conftest import SHAPES, alone, data_url

NAME = "pictures.test"
MAX_BYTES = 50_000


class _Pictures(BaseHTTPRequestHandler):
    """A host of pictures. asked: the paths and hosts of all requests."""

    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["host"]))
        if self.path == "/moved.png":
            self.send_response(302)
            self.send_header("location", "/shapes.png")
            self.end_headers()
        elif self.path == "/missing.png":
            self.send_error(404)
        elif self.path == "/slow.png":
            self.server.told_to_go_on.wait(30)  # type: ignore[attr-defined]
        else:
            self._send()

    def _send(self) -> None:
        picture = SHAPES.read_bytes()
        sizes = {"/largest.png": MAX_BYTES, "/larger.png": MAX_BYTES + 1, "/endless.png": 10**10}
        left = sizes.get(self.path, len(picture))
        self.send_response(200)
        self.send_header("content-type", "text/html")
        if self.path == "/packed.png":
            self.send_header("content-encoding", "gzip")
        self.end_headers()
        try:
            while left > 0:
                left -= self.wfile.write(picture[:left])
        except OSError:
            pass  # whoever asked has seen enough

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pictures) as host:
        host.told_to_go_on = threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=host.serve_forever)
        thread.start()
        yield host.server_port
        host.told_to_go_on.set()  # type: ignore[attr-defined]
        host.shutdown()
        thread.join()


def fetcher(port: int, *addresses: str, hosts: tuple[str, ...] = ()) -> PictureFetcher:
    """One for which the test's own host is a public one, at these addresses in turn."""
    turns = iter([[each] for each in addresses or ("127.0.0.1",)])

    async def resolve(host: str, port: int) -> list[str]:
        assert host == NAME
        return next(turns)

    return PictureFetcher(
        hosts or (f"{NAME}:{port}",), MAX_BYTES, resolve=resolve, is_allowed=lambda address: True
    )


def fetch(of: PictureFetcher, address: str) -> bytes:
    return run(of.fetch(address))


def test_a_picture_of_a_listed_host_comes_from_the_address_that_was_checked(port: int) -> None:
    rebound = fetcher(port, "127.0.0.1", "127.0.0.9")  # a second look would find another
    assert fetch(rebound, f"http://{NAME}:{port}/shapes.png") == SHAPES.read_bytes()
    assert _Pictures.asked[-1] == ("/shapes.png", f"{NAME}:{port}")


REFUSED = [
    ("http://{name}:{port}/moved.png", "answered with 302"),
    ("http://{name}:{port}/missing.png", "answered with 404"),
    ("http://{name}:{port}/larger.png", "over the limit of 50,000 bytes"),
    ("http://{name}:{port}/endless.png", "over the limit of 50,000 bytes"),
    ("https://{name}:{port}/shapes.png", "gave no picture"),
    ("http://{name}/shapes.png", "not fetched from this address"),
    ("http://{name}:1/shapes.png", "not fetched from this address"),
    ("http://a.{name}:{port}/shapes.png", "not fetched from this address"),
    ("http://{name}.:{port}/shapes.png", "not fetched from this address"),
    ("http://127.0.0.1:{port}/shapes.png", "not fetched from this address"),
    ("http://me:secret@{name}:{port}/shapes.png", "name or password"),
    ("http://{name}:{port}@127.0.0.1/", "name or password"),
    ("ftp://{name}:{port}/shapes.png", "http or https"),
    ("file:///etc/passwd", "http or https"),
    ("//{name}:{port}/shapes.png", "http or https"),
    ("http://{name}:99999/", "not fetched from this address"),
    ("http://{name}:port/", "http or https"),
]


@pytest.mark.parametrize(("address", "sentence"), REFUSED)
def test_what_is_not_fetched(port: int, address: str, sentence: str) -> None:
    with pytest.raises(LlavaChatError, match=sentence):
        fetch(fetcher(port), address.format(name=NAME, port=port))


def test_a_file_of_the_largest_size_is_fetched(port: int) -> None:
    assert len(fetch(fetcher(port), f"http://{NAME}:{port}/largest.png")) == MAX_BYTES


def test_a_packed_file_is_not_unpacked(port: int) -> None:
    assert fetch(fetcher(port), f"http://{NAME}:{port}/packed.png") == SHAPES.read_bytes()


def test_a_slow_host_is_not_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "FETCH_S", 0.2)
    with pytest.raises(LlavaChatError, match=r"took longer than 0\.2 s"):
        fetch(fetcher(port), f"http://{NAME}:{port}/slow.png")


def test_another_address_is_tried_where_one_does_not_answer(port: int) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["::1", "127.0.0.1"]  # nobody listens at the first

    both = PictureFetcher(
        (f"{NAME}:{port}",), MAX_BYTES, resolve=resolve, is_allowed=lambda address: True
    )
    assert fetch(both, f"http://{NAME}:{port}/shapes.png") == SHAPES.read_bytes()


def test_the_certificate_is_asked_for_by_name() -> None:
    """The handshake names the host, whatever address is connected to."""
    context, named = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), list[str | None]()
    context.sni_callback = lambda connection, name, _: named.append(name)

    async def ask() -> None:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", ssl=context) as host:
            port = host.sockets[0].getsockname()[1]
            with pytest.raises(LlavaChatError, match="gave no picture"):
                await fetcher(port).fetch(f"https://{NAME}:{port}/shapes.png")

    run(ask())
    assert named == [NAME]


INSIDE = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0.0.0.0",
    "localhost",
    "169.254.169.254",
    "10.0.0.1",
    "100.64.0.1",
    "192.168.1.1",
    "224.0.0.1",
    "[::1]",
    "[::]",
    "[::ffff:10.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[fe80::1]",
    "[fc00::1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
]


@pytest.mark.parametrize("host", INSIDE)
def test_what_is_inside_is_refused_even_when_it_is_listed(host: str) -> None:
    """With the resolver and the check as they are."""
    listed = PictureFetcher((host,), MAX_BYTES)
    with pytest.raises(LlavaChatError, match="Pictures are not fetched from this host's address"):
        fetch(listed, f"http://{host}/cat.png")


@pytest.mark.parametrize(
    "host",
    [
        "https://example.org",
        "example.org/cats",
        "me@example.org",
        "*.example.org",
        "0177.0.0.1",
        "?",
    ],
)
def test_what_is_no_host_cannot_be_listed(host: str) -> None:
    with pytest.raises(SettingError, match="--picture-hosts must name hosts"):
        PictureFetcher((host,), MAX_BYTES)


@pytest.mark.parametrize("address", ["", "localhost", "1.2.3", "fe80::1%eth0", "240.0.0.1"])
def test_what_is_no_address_is_not_public(address: str) -> None:
    assert not is_public(address)


def test_one_inner_address_among_outer_ones_is_enough() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["93.184.215.14", "10.0.0.1"]

    with pytest.raises(LlavaChatError, match="not fetched from this host's address"):
        fetch(PictureFetcher((NAME,), MAX_BYTES, resolve=resolve), f"http://{NAME}/cat.png")


def test_a_reply_about_a_fetched_picture(port: int, scenes: SwitchingEngine) -> None:
    def asked(url: str) -> Any:
        words = {"type": "text", "text": "What is in this picture?"}
        picture = {"type": "image_url", "image_url": {"url": url}}
        return [{"role": "user", "content": [words, picture]}]

    with alone(scenes, fetcher(port)) as served:
        create: Callable[..., Any] = served.client().chat.completions.create
        fetched = create(model="scenes", messages=asked(f"http://{NAME}:{port}/shapes.png"))
        sent = create(model="scenes", messages=asked(data_url(SHAPES)))
    assert fetched.choices[0].message.content == sent.choices[0].message.content
    assert fetched.usage.prompt_tokens == sent.usage.prompt_tokens
