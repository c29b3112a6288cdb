"""A real training of some steps, watched."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llava_chat.model.checkpoint import Checkpoint
from tests.training.watching.tiny_run import Runner, Watched


@pytest.fixture
def train(new_checkpoint: Callable[[], Checkpoint]) -> Runner:
    """Trains the tiny model, which is always the same one."""
    return Runner(new_checkpoint)


@pytest.fixture
def watched(train: Runner, tmp_path: Path) -> Watched:
    """A whole run."""
    return train(tmp_path / "run")
