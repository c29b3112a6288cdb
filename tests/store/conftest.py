"""A real store on a fresh SQLite file, and the small things that fill it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from llava_chat.image import Picture, picture_from_image
from llava_chat.store import ConversationStore, ReplyRecord

OpenStore = Callable[..., ConversationStore]


@pytest.fixture
def database_file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "chat.sqlite3"


@pytest.fixture
def open_store(database_file: Path) -> Iterator[OpenStore]:
    """Open the same database as often as wanted; all are closed at the end."""
    opened: list[ConversationStore] = []

    def open_again(busy_timeout_s: float = 5.0) -> ConversationStore:
        store = ConversationStore.open(
            f"sqlite:///{database_file}", database_file.parent, busy_timeout_s=busy_timeout_s
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
