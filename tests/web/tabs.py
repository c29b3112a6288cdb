"""One page of one person, without a browser: real engine, store, turns, components."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr

from llava_chat.engine.generation import GenerationSettings
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.image import PictureLimits
from llava_chat.store import ConversationStore
from llava_chat.web.chat import layout
from llava_chat.web.chat.handlers import ChatHandlers
from llava_chat.web.chat.models import Models
from llava_chat.web.chat.options import Options
from llava_chat.web.chat.replies import LiveReply, Replies
from llava_chat.web.chat.showing import Showing, View
from llava_chat.web.chat.turns import Limits, Turns
from llava_chat.web.people import People, Person
from llava_chat.web.session import Sessions
from llava_chat.web.thumbnails import Thumbnails
from tests.web.conftest import run

GREEDY = GenerationSettings(temperature=0, max_new_tokens=900)
OPTIONS = Options(None, None, GREEDY)
ME, SOMEBODY = "me", "somebody"


@dataclass
class Tab:
    """A page of one person: calls the handlers as Gradio does."""

    handlers: ChatHandlers
    owner: str
    view: View
    query: dict[str, str]
    unkept: bool = False

    @property
    def turns(self) -> Turns:
        return self.handlers.turns

    def request(self) -> Any:
        return SimpleNamespace(
            owner=self.owner, query_params=self.query, session_hash=str(id(self.view))
        )

    def values(self, text: str = "", **fields: Any) -> dict[Any, Any]:
        settings = self.handlers.parts.settings
        shown = settings.show(OPTIONS, ())
        shown[settings.adapter] = ""  # the update also says what there is to choose
        known = {**shown, **{getattr(settings, k): v for k, v in fields.items()}}
        composer = {"text": text, "files": []}
        parts = self.handlers.parts
        shown = {parts.composer: composer, parts.unkept: self.unkept}
        return {**known, **shown, self.handlers.view: self.view}

    def send(self, text: str, **fields: Any) -> Any:
        return self.handlers.send(self.values(text, **fields), self.request())

    def act(self, action: str, **detail: str) -> Any:
        event: Any = SimpleNamespace(_data={"action": action, **detail})
        return self.handlers.act(self.values(), event, self.request())

    def running(self) -> LiveReply:
        live = self.turns.replies.running(self.view.conversation_id)
        assert live is not None
        return live

    def sentence(self, steps: list[dict[Any, Any]]) -> str:
        shown = [
            step[self.handlers.parts.notice] for step in steps if self.handlers.parts.notice in step
        ]
        return str(shown[-1])


class KnownPeople(People):
    """Who says who they are."""

    def owner_of(self, request: Any) -> str:
        return str(request.owner)

    def of_request(self, request: Any) -> Person:
        return Person(request.owner)


def tabs(engine: SwitchingEngine, store: ConversationStore, folder: Path) -> Callable[..., Tab]:
    """Opens tabs of one server; whose each is, and what its address says, are the arguments."""
    limits = Limits(PictureLimits(), max_pictures=2, max_message_chars=5000, deadline_s=60)
    turns = Turns(engine, store, Replies(), limits, Thumbnails(folder))
    with gr.Blocks():
        parts = layout.build(OPTIONS, ("vicuna_v1",), (), 5000)
    showing = Showing(parts, turns, Models(engine, ()), OPTIONS, ())
    handlers = ChatHandlers(parts, turns, showing, (), KnownPeople(Sessions(b"a key")))

    def new_tab(owner: str = ME, **query: str) -> Tab:
        return Tab(handlers, owner, View(), query)

    return new_tab


async def rest(steps: Any) -> list[dict[Any, Any]]:
    return [step async for step in steps]


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not happened():
            await asyncio.sleep(0.002)


def asked(tab: Tab, text: str, max_new_tokens: int = 4) -> str:
    """A conversation of the tab's owner with one reply."""
    generation = GenerationSettings(temperature=0, max_new_tokens=max_new_tokens)
    live = tab.turns.ask(tab.owner, None, text, [], Options(None, None, generation))
    run(until(lambda: live.ended))
    return live.conversation_id


def shown_last(tab: Tab, steps: list[dict[Any, Any]]) -> str:
    thread = tab.handlers.parts.thread
    return [str(step[thread]) for step in steps if thread in step][-1]
