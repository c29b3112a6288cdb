"""Described pictures: a few that are made up here, and COCO's where somebody has them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llava_chat.engine.remote.completions import Completions
from tests.engine.remote.server import ScriptedServer
from tests.training.generation.model import MODEL, Model

MADE_UP = Path(__file__).with_name("pictures.jsonl")
VARIABLE = "COCO_CAPTIONS_BOXES"
BESIDE = Path(__file__).parents[4] / "shared" / "data" / "coco-captions-boxes.jsonl"

MakeModel = Callable[..., Model]
MakeClient = Callable[..., Completions]


def coco_file() -> Path:
    file = Path(os.environ.get(VARIABLE, BESIDE))
    if not file.is_file():
        pytest.skip(
            "COCO's captions and boxes are not ours to publish; with some, in JSONL as in "
            f"{MADE_UP.name}: {VARIABLE}=FILE python -m pytest tests/training/generation"
        )
    return file


@pytest.fixture(params=["made up", "coco"])
def described(request: pytest.FixtureRequest) -> Path:
    """A JSONL file of pictures with captions and boxes."""
    return MADE_UP if request.param == "made up" else coco_file()


@pytest.fixture
def make_model() -> Iterator[MakeModel]:
    """Build a server that answers as a model would, with the troubles that a test wants."""
    servers: list[ScriptedServer] = []

    def make(**options: Any) -> Model:
        model = Model(**options)
        servers.append(ScriptedServer(model))
        model.url = servers[-1].url
        return model

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def make_client() -> Iterator[MakeClient]:
    """Build a client that does not wait long before it tries again."""
    clients: list[Completions] = []

    def make(model: Model, **options: Any) -> Completions:
        given: dict[str, Any] = {
            "model": MODEL,
            "first_pause_s": 0.001,
            "retries": 3,
            "timeout_s": 20,
        } | options
        clients.append(Completions(model.url, **given))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
