"""Servers of this project that share a dataset: each with a disk of its own, all with one Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from llava_chat.feedback import Feedback
from llava_chat.feedback.dataset import FeedbackDataset
from llava_chat.store import ConversationStore
from tests.feedback.dataset.hub_server import TOKEN, Hub, served

NAME = "ann/said"
SOON_S = 20.0


@pytest.fixture
def hub() -> Iterator[Hub]:
    with served() as hub:
        yield hub


@dataclass
class Space:
    """A server without its page. Its pushes come when a test asks for them."""

    store: ConversationStore
    dataset: FeedbackDataset
    folder: Path

    @property
    def feedback(self) -> Feedback:
        return Feedback.of(self.store)

    def push(self) -> None:
        self.dataset.push().result(SOON_S)

    def begin(self) -> None:
        self.dataset.start()
        assert self.dataset.wait(SOON_S), self.dataset.trouble
        self.push()  # after the scheduler's own first one

    def end(self) -> None:
        assert self.dataset.close(SOON_S)
        self.store.close()


Begin = Callable[..., Space]


@pytest.fixture
def space(hub: Hub, tmp_path: Path) -> Iterator[Begin]:
    """Start a server on a new disk, or on that of an earlier one."""
    spaces: list[Space] = []

    def begin(folder: Path | None = None, *, token: str = TOKEN, wait: bool = True) -> Space:
        folder = folder or tmp_path / f"disk-{len(spaces)}"
        store = ConversationStore.open(f"sqlite:///{folder}/chat.db", folder)
        dataset = FeedbackDataset(
            store,
            NAME,
            600,
            folder / "dataset",
            retry_s=0.05,
            api=HfApi(endpoint=hub.url, token=token),
        )
        spaces.append(Space(store, dataset, folder))
        if wait:
            spaces[-1].begin()
        else:
            dataset.start()
        return spaces[-1]

    yield begin
    hub.gate.set()
    for one in spaces:
        one.dataset.close(SOON_S)
        one.store.close()
