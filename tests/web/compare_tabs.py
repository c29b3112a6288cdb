"""Compare tabs without a browser, one of one person: real engines, store, turns, components."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from llava_chat.engine.generation import GenerationSettings
from llava_chat.engine.local import LocalEngine
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.feedback import Vote
from llava_chat.image import PictureLimits
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.store import ConversationStore
from llava_chat.web.allowances import Allowances
from llava_chat.web.chat.options import Options
from llava_chat.web.chat.replies import Replies
from llava_chat.web.chat.turns import Limits, Turns
from llava_chat.web.compare import layout
from llava_chat.web.compare.contestants import Choice
from llava_chat.web.compare.handlers import CompareHandlers
from llava_chat.web.compare.pairs import Pairs
from llava_chat.web.compare.showing import CompareView
from llava_chat.web.compare.tab import pairs_of
from llava_chat.web.session import Sessions
from llava_chat.web.thumbnails import Thumbnails
from tests.web.tabs import ME, KnownPeople


@dataclass
class CompareTab:
    """A tab of one person: calls the handlers as Gradio does."""

    handlers: CompareHandlers
    owner: str
    view: CompareView
    query: dict[str, str]

    @property
    def pairs(self) -> Pairs:
        return self.handlers.pairs

    def request(self) -> Any:
        return SimpleNamespace(owner=self.owner, query_params=self.query, session_hash="tab")

    def values(self, text: str = "", choices: tuple[Choice, ...] | None = None) -> dict[Any, Any]:
        parts = self.handlers.parts
        chosen = choices or self.pairs.contestants.first_two()
        fields = {
            field: value
            for part, choice in zip(parts.contestants, chosen, strict=True)
            for field, value in zip(part.fields, vars(choice).values(), strict=True)
        }
        return {
            **fields,
            parts.composer: {"text": text, "files": []},
            self.handlers.view: self.view,
        }

    def send(self, text: str, choices: tuple[Choice, ...] | None = None) -> Any:
        return self.handlers.send(self.values(text, choices), self.request())

    def act(self, action: str) -> Any:
        event: Any = SimpleNamespace(_data={"action": action})
        return self.handlers.act(self.values(), event, self.request())

    def shown(self, steps: list[dict[Any, Any]]) -> str:
        """The turns as they were shown last."""
        thread = self.handlers.parts.thread
        return [str(step[thread]) for step in steps if thread in step][-1]

    def sentence(self, steps: list[dict[Any, Any]]) -> str:
        notice = self.handlers.parts.notice
        return [str(step[notice]) for step in steps if notice in step][-1]


NewTab = Callable[..., CompareTab]


def compare_tabs(
    engine: SwitchingEngine,
    store: ConversationStore,
    folder: Path,
    beside: Mapping[str, SwitchingEngine],
    allowances: Allowances | None = None,
    max_new_tokens: int = 4,
) -> NewTab:
    """Opens Compare tabs of one server; whose each is, and its address, are the arguments."""
    limits = Limits(PictureLimits(), max_pictures=2, max_message_chars=5000, deadline_s=60)
    turns = Turns(engine, store, Replies(), limits, Thumbnails(folder), allowances)
    generation = GenerationSettings(temperature=0, max_new_tokens=max_new_tokens)
    pairs = pairs_of(turns, engine, beside, Options(None, None, generation))
    with gr.Blocks():
        parts = layout.build(pairs.contestants.offered(), pairs.contestants.first_two(), 5000)
    handlers = CompareHandlers(parts, pairs, KnownPeople(Sessions(b"a key")))

    def new_tab(owner: str = ME, **query: str) -> CompareTab:
        return CompareTab(handlers, owner, CompareView(), query)

    return new_tab


@pytest.fixture(scope="module")
def other(random_checkpoint: Callable[..., Checkpoint]) -> Iterator[SwitchingEngine]:
    """A second model, opened beside the first."""
    checkpoint = replace(random_checkpoint(), id="other")
    engine = SwitchingEngine(lambda name, report: LocalEngine(checkpoint), "other")
    engine.wait()
    yield engine
    engine.close(grace_s=0)


@pytest.fixture
def new_compare(
    engine: SwitchingEngine, other: SwitchingEngine, store: ConversationStore, tmp_path: Path
) -> NewTab:
    return compare_tabs(engine, store, tmp_path, {"other": other})


@pytest.fixture
def new_long(
    engine: SwitchingEngine, other: SwitchingEngine, store: ConversationStore, tmp_path: Path
) -> NewTab:
    """Of a server whose replies go on until they are stopped."""
    return compare_tabs(engine, store, tmp_path, {"other": other}, max_new_tokens=900)


@pytest.fixture
def alone(engine: SwitchingEngine, store: ConversationStore, tmp_path: Path) -> NewTab:
    """Of a server with one model."""
    return compare_tabs(engine, store, tmp_path, {})


def vote(tab: CompareTab, turn: int, choice: str) -> None:
    assert tab.view.comparison_id is not None
    given = Vote(f"{tab.view.comparison_id}{turn}", turn, choice)
    tab.pairs.comparisons.vote(tab.owner, tab.view.comparison_id, given)


def names_of(tab: CompareTab) -> tuple[str, str]:
    assert tab.view.comparison_id is not None
    told = tab.pairs.comparisons.load(tab.owner, tab.view.comparison_id)
    return told.left_name, told.right_name
