"""The whole server on the bundled model, and OpenAI's own client."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import uvicorn
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request

from llava_chat import ASSETS
from llava_chat.assembly import open_engine
from llava_chat.engine.base import ChatEngine
from llava_chat.engine.local import LocalEngine
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.settings import Settings
from llava_chat.store import ConversationStore
from llava_chat.web.allowances import Allowances
from llava_chat.web.chat.replies import Replies
from llava_chat.web.launch import launch
from llava_chat.web.openai import openai_routes
from llava_chat.web.openai.fetching import PictureFetcher
from llava_chat.web.people import People
from llava_chat.web.session import Sessions

MAX_PICTURE_BYTES = 100_000
MAX_MESSAGE_CHARS = 2000
MAX_PICTURES = 2
SHAPES = ASSETS / "examples" / "three-shapes.png"
STAR = ASSETS / "examples" / "star.png"


@dataclass(frozen=True)
class Served:
    """A running server. url: of its root, with a slash at its end. clients: end before it does."""

    url: str
    settings: Settings
    clients: ExitStack

    def client(self, key: str = "none", **options: Any) -> OpenAI:
        client = OpenAI(base_url=f"{self.url}v1", api_key=key, max_retries=0, **options)
        return self.clients.enter_context(client)


Serve = Callable[..., AbstractContextManager[Served]]


@pytest.fixture(scope="session")
def scenes() -> Iterator[SwitchingEngine]:
    """The bundled model."""
    settings = Settings(device="cpu")
    engine = SwitchingEngine(lambda name, report: open_engine(settings, report), "scenes")
    engine.wait()
    yield engine
    engine.close(grace_s=0)


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Start a server on an engine, with these settings beside the tests' own."""

    @contextmanager
    def serve(engine: SwitchingEngine, **options: Any) -> Iterator[Served]:
        data_dir = tmp_path_factory.mktemp("data")
        with pytest.MonkeyPatch.context() as environment, socket.socket() as free:
            environment.setenv("GRADIO_TEMP_DIR", "")  # the server sets it; this takes it back
            free.bind(("127.0.0.1", 0))
            settings = Settings(
                port=free.getsockname()[1],
                secret="a key that only these tests know",
                data_dir=data_dir,
                temperature=0,
                max_new_tokens=64,
                max_picture_bytes=MAX_PICTURE_BYTES,
                max_message_chars=MAX_MESSAGE_CHARS,
                max_pictures=MAX_PICTURES,
                **options,
            )
            free.close()
            store = ConversationStore.open(settings.database, data_dir)
            blocks = launch(engine, store, Replies(), settings)
            try:
                with ExitStack() as clients:
                    yield Served(f"http://127.0.0.1:{settings.port}/", settings, clients)
            finally:
                _end(blocks)
                store.close()

    return serve


def _end(blocks: gr.Blocks) -> None:
    assert blocks.server is not None
    blocks.server.force_exit = True  # clients keep connections that never end
    blocks.close(verbose=False)


@pytest.fixture(scope="session")
def server(serve: Serve, scenes: SwitchingEngine) -> Iterator[Served]:
    with serve(scenes) as served:
        yield served


@pytest.fixture(scope="session")
def client(server: Served) -> OpenAI:
    return server.client()


@pytest.fixture(scope="session")
def endless(random_checkpoint: Callable[..., Checkpoint]) -> Iterator[Callable[..., LocalEngine]]:
    """Engines whose replies have as many tokens as were asked for, and take their time."""
    engines: list[LocalEngine] = []

    def endless(**options: Any) -> LocalEngine:
        engines.append(LocalEngine(random_checkpoint(4096, layers=8), **options))
        return engines[-1]

    yield endless
    for engine in engines:
        engine.close(grace_s=0)


@pytest.fixture(scope="session")
def tiny(endless: Callable[..., LocalEngine]) -> LocalEngine:
    """One of them, in whose line there is room for two."""
    return endless(max_waiting=2)


@dataclass(frozen=True)
class Alone(Served):
    """The calls without the page around them. allowances: what is left of them."""

    allowances: Allowances
    people: People

    def tokens_left(self, key: str) -> int:
        headers = [(b"authorization", f"Bearer {key}".encode())]
        person = self.people.key_holder(Request({"type": "http", "headers": headers}))
        assert person is not None
        return next(left.left for left in self.allowances.left(person) if left.unit == "tokens")


@contextmanager
def alone(
    engine: ChatEngine, fetcher: PictureFetcher | None = None, **options: Any
) -> Iterator[Alone]:
    """Serve the calls below /v1 by uvicorn, in a thread."""
    settings = Settings(temperature=0, max_picture_bytes=MAX_PICTURE_BYTES, **options)
    allowances = Allowances.of(settings)
    people = People(Sessions(b"a key that only these tests know"), api_keys=settings.api_keys)
    routes = openai_routes(engine, settings, people, allowances, fetcher)
    config = uvicorn.Config(Starlette(routes=routes), port=0, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with ExitStack() as clients:
            yield Alone(f"http://127.0.0.1:{port}/", settings, clients, allowances, people)
    finally:
        server.should_exit = server.force_exit = True
        thread.join()


def data_url(file: Path | bytes) -> str:
    content = file if isinstance(file, bytes) else file.read_bytes()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
