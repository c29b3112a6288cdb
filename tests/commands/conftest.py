"""A checkpoint of random weights on disk: the commands load it as they load any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from llava_chat.model.checkpoint import Checkpoint, save_checkpoint


@pytest.fixture(scope="session")
def tiny_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, random_checkpoint: Callable[..., Checkpoint]
) -> Path:
    """The folder of the random checkpoint, context 1024 tokens."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(random_checkpoint(), folder)
    return folder


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A red circle would be too much to ask of random weights: a red square."""
    path = tmp_path_factory.mktemp("pictures") / "red.png"
    Image.new("RGB", (40, 30), "red").save(path)
    return path
