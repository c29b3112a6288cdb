"""A question that is quicker than the page, or a page that goes before its reply has begun."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from llava_chat.web.chat.replies import LiveReply
from tests.web.conftest import run
from tests.web.tabs import ME, Tab, asked, rest, shown_last, until

Steps = list[dict[Any, Any]]


def test_a_question_that_was_answered_before_the_page_opened_stays(
    new_tab: Callable[..., Tab],
) -> None:
    tab = new_tab()
    sent = run(rest(tab.send("Quick", max_new_tokens=4)))
    conversation_id = tab.view.conversation_id
    opened = run(rest(tab.handlers.open_page(tab.values(), tab.request())))
    assert "Quick" in shown_last(tab, sent)
    assert not any(tab.handlers.parts.thread in step for step in opened)
    assert not any(tab.handlers.parts.composer in step for step in opened)
    assert tab.view.conversation_id == conversation_id is not None


def test_a_question_on_its_way_when_the_page_opens_is_shown(new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()

    async def go() -> tuple[Steps, Steps]:
        sending = tab.send("Quick", max_new_tokens=4)
        await anext(sending)
        opening = asyncio.ensure_future(rest(tab.handlers.open_page(tab.values(), tab.request())))
        await asyncio.sleep(0)
        return await rest(sending), await opening

    sent, opened = run(go())
    assert "Quick" in shown_last(tab, sent)
    assert not any(tab.handlers.parts.thread in step for step in opened)
    assert len(tab.turns.store.load(ME, str(tab.view.conversation_id)).path) == 2


def test_a_question_while_the_page_opens_goes_to_what_its_address_names(
    new_tab: Callable[..., Tab], monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation_id = asked(new_tab(), "Before")
    tab = new_tab(c=conversation_id)
    agreed, looked = threading.Event(), threading.Event()
    load = tab.turns.store.load

    def slow_once(owner: str, wanted: str) -> Any:
        monkeypatch.setattr(tab.turns.store, "load", load)
        looked.set()
        assert agreed.wait(30)
        return load(owner, wanted)

    monkeypatch.setattr(tab.turns.store, "load", slow_once)

    async def go() -> tuple[Steps, Steps]:
        opening = asyncio.ensure_future(rest(tab.handlers.open_page(tab.values(), tab.request())))
        await until(looked.is_set)
        sent = await rest(tab.send("Quick", max_new_tokens=4))
        agreed.set()
        return sent, await opening

    sent, opened = run(go())
    assert tab.view.conversation_id == conversation_id
    assert "Before" in shown_last(tab, sent) and "Quick" in shown_last(tab, sent)
    assert not any(tab.handlers.parts.thread in step for step in opened)


def test_a_refused_question_leaves_the_page_to_open(new_tab: Callable[..., Tab]) -> None:
    conversation_id = asked(new_tab(), "Before")
    tab = new_tab(c=conversation_id)

    async def go() -> tuple[Steps, Steps]:
        sending = tab.send("x" * 5001)
        await anext(sending)
        opening = asyncio.ensure_future(rest(tab.handlers.open_page(tab.values(), tab.request())))
        await asyncio.sleep(0)
        return await rest(sending), await opening

    sent, opened = run(go())
    composer = tab.handlers.parts.composer
    assert sent[0][composer].value["text"] == "x" * 5001
    assert "Before" in shown_last(tab, opened)
    assert "value" not in opened[0][composer].constructor_args
    assert tab.view.conversation_id == conversation_id


def test_a_page_that_leaves_before_the_reply_begins_loses_no_question(
    new_tab: Callable[..., Tab], monkeypatch: pytest.MonkeyPatch
) -> None:
    tab = new_tab()
    begun: list[LiveReply] = []
    ask = tab.turns.ask

    def watched(*arguments: Any) -> LiveReply:
        begun.append(ask(*arguments))
        return begun[-1]

    monkeypatch.setattr(tab.turns, "ask", watched)

    async def go() -> None:
        sending = tab.send("Kept")
        await anext(sending)
        await sending.aclose()
        await until(lambda: bool(begun) and begun[0].ended)

    run(go())
    path = tab.turns.store.load(ME, begun[0].conversation_id).path
    assert path[0].text == "Kept"
    assert len(path) == 1 or path[1].finish == "cancelled"
    assert tab.view.asking == 0
