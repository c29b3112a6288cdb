"""Fixtures of a real store on a fresh database, for whatever stands on it.

Every test that uses them runs on SQLite and on PostgreSQL; a module that is about one of them says
so by a `backend` of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from llava_chat.image import Picture, picture_from_image
from llava_chat.store import ConversationStore, ReplyRecord
from tests.postgresql import PostgresqlServer

OpenStore = Callable[..., ConversationStore]


@pytest.fixture
def database_file(tmp_path: Path) -> Path:
    file = tmp_path / "data" / "chat.sqlite3"
    file.parent.mkdir()
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    """Which database the test runs on."""
    return str(request.param)


@pytest.fixture
def database_url(backend: str, database_file: Path, request: pytest.FixtureRequest) -> str:
    """The address of a database that is not there yet, or is empty."""
    if backend == "sqlite":
        return f"sqlite:///{database_file}"
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    return server.new_database()


@pytest.fixture
def open_store(database_url: str, database_file: Path) -> Iterator[OpenStore]:
    """Open the same database as often as wanted; all are closed at the end."""
    opened: list[ConversationStore] = []

    def open_again(busy_timeout_s: float = 5.0) -> ConversationStore:
        store = ConversationStore.open(
            database_url, database_file.parent, busy_timeout_s=busy_timeout_s
        )
        opened.append(store)
        return store

    yield open_again
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> ConversationStore:
    return open_store()


@pytest.fixture
def red() -> Picture:
    return picture_from_image(Image.new("RGB", (30, 20), "red"))


@pytest.fixture
def blue() -> Picture:
    return picture_from_image(Image.new("RGB", (20, 30), "blue"))


@pytest.fixture
def record(red: Picture) -> ReplyRecord:
    return ReplyRecord(
        model_id="scenes",
        revision="abc123",
        adapter="manners",
        template="vicuna_v1",
        system="Be brief.",
        settings={"temperature": 0.0, "top_p": 1.0, "max_new_tokens": 64},
        seed=2**63 - 1,
        picture_ids=(red.id,),
        prompt_tokens=91,
        generated_tokens=2,
        first_token_s=0.25,
        total_s=0.5,
        app_version="0.1.0",
        padded_boxes=True,
    )
