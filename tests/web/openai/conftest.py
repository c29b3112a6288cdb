"""The whole server on the bundled model, and OpenAI's own client."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from openai import OpenAI

from llava_chat import ASSETS
from llava_chat.assembly import open_engine
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.settings import Settings
from llava_chat.store import ConversationStore
from llava_chat.web.chat.replies import Replies
from llava_chat.web.launch import launch

MAX_PICTURE_BYTES = 100_000
MAX_MESSAGE_CHARS = 2000
MAX_PICTURES = 2
SHAPES = ASSETS / "examples" / "three-shapes.png"
STAR = ASSETS / "examples" / "star.png"


@dataclass(frozen=True)
class Served:
    """A running server. url: of its root, with a slash at its end."""

    url: str
    settings: Settings

    def client(self, key: str = "none", **options: Any) -> OpenAI:
        return OpenAI(base_url=f"{self.url}v1", api_key=key, max_retries=0, **options)


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
                yield Served(f"http://127.0.0.1:{settings.port}/", settings)
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
def client(server: Served) -> Iterator[OpenAI]:
    with server.client() as client:
        yield client


def data_url(file: Path | bytes) -> str:
    content = file if isinstance(file, bytes) else file.read_bytes()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
