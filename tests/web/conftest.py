"""The whole server on a checkpoint of random weights: page, database, queue, routes are real."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from PIL import Image

from llava_chat.engine.local import LocalEngine
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.settings import Settings
from llava_chat.store import ConversationStore
from llava_chat.web.chat.replies import Replies
from llava_chat.web.launch import launch
from llava_chat.web.session import COOKIE_NAME, Sessions

MAX_PICTURE_BYTES = 200_000
Result = TypeVar("Result")
OwnerOf = Callable[[Mapping[str, str]], str | None]
SECRET = "a key that only these tests know"


def run(waiting: Coroutine[Any, Any, Result]) -> Result:
    """`asyncio.run` in a thread of its own: Playwright's loop may run in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, waiting).result()


@pytest.fixture(scope="session")
def owner_of() -> OwnerOf:
    """The owner whom the server sees behind a client's cookies."""
    sessions = Sessions(SECRET.encode())
    return lambda cookies: sessions.owner_of_cookie(cookies.get(COOKIE_NAME))


@pytest.fixture(scope="session")
def engine(random_checkpoint: Callable[..., Checkpoint]) -> Iterator[SwitchingEngine]:
    """The real engine around random weights, context 1024 tokens."""
    engine = SwitchingEngine(lambda name, report: LocalEngine(random_checkpoint()), "tiny")
    engine.wait()
    yield engine
    engine.close(grace_s=0)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server keeps everything."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def store(data_dir: Path) -> Iterator[ConversationStore]:
    """The server's database, to look at what it kept."""
    store = ConversationStore.open(f"sqlite:///{data_dir / 'chat.db'}", data_dir)
    yield store
    store.close()


@pytest.fixture(scope="module")
def server(engine: SwitchingEngine, store: ConversationStore, data_dir: Path) -> Iterator[str]:
    """The address of a running server, with a slash at its end."""
    with pytest.MonkeyPatch.context() as environment, socket.socket() as free:
        environment.setenv("GRADIO_TEMP_DIR", "")  # the server sets it; this takes it back
        free.bind(("127.0.0.1", 0))
        settings = Settings(
            port=free.getsockname()[1],
            secret=SECRET,
            data_dir=data_dir,
            temperature=0,
            max_new_tokens=8,
            max_picture_bytes=MAX_PICTURE_BYTES,
            max_message_chars=1000,
            max_pictures=2,
        )
        free.close()
        replies = Replies()
        blocks = launch(engine, store, replies, settings)
        yield f"http://127.0.0.1:{settings.port}/"
        replies.close(grace_s=5)
        blocks.close(verbose=False)


@pytest.fixture(scope="session")
def draw(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Draw a small picture of one colour, and save it with a position in its EXIF."""

    def draw(colour: str) -> Path:
        path = tmp_path_factory.mktemp("drawn") / f"{colour}.jpg"
        image = Image.new("RGB", (80, 60), colour)
        exif = Image.Exif()
        exif[0x8825] = {1: "N", 2: (52.0, 31.0, 0.0)}
        exif[0x010F] = "Secret Camera"
        image.save(path, exif=exif)
        return path

    return draw


@pytest.fixture
def new_tab(
    engine: SwitchingEngine, store: ConversationStore, tmp_path: Path
) -> Callable[..., Any]:
    """Open a page of somebody's: `tests.web.tabs.Tab`."""
    from tests.web.tabs import tabs  # which needs `run`

    return tabs(engine, store, tmp_path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gradio's own code warns of pandas' deprecations in the server's threads."""
    for item in items:
        if {"server", "serve"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.filterwarnings("default"))
