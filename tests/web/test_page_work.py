"""What a turn makes the server do: no more in a long conversation than in a short one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from llava_chat.store import ConversationStore, Message, rows
from tests.web.conftest import run
from tests.web.tabs import Tab, rest, shown_last


@pytest.fixture(autouse=True)
def any_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that are sent here were not uploaded."""
    monkeypatch.setattr("llava_chat.web.chat.handlers.refuse_foreign_paths", Path)


@pytest.fixture
def statements(store: ConversationStore) -> Iterator[list[str]]:
    """What the database is asked."""
    told: list[str] = []

    def note(*arguments: Any) -> None:
        told.append(arguments[2])

    engine = store._database._engine
    event.listen(engine, "before_cursor_execute", note)
    yield told
    event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def read_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages each look into the database brought."""
    found: list[int] = []
    messages_from = rows.messages_from

    def watched(*arguments: Any) -> tuple[tuple[Message, ...], int]:
        read = messages_from(*arguments)
        found.append(len(read[0]))
        return read

    monkeypatch.setattr(rows, "messages_from", watched)
    return found


def send(tab: Tab, *pictures: Path) -> list[dict[Any, Any]]:
    """Send a question with these pictures, and give back what the page was told."""
    values = tab.values("Look", max_new_tokens=2)
    values[tab.handlers.parts.composer]["files"] = [str(picture) for picture in pictures]
    return run(rest(tab.handlers.send(values, tab.request())))


def test_only_a_second_picture_is_warned_of(
    new_tab: Callable[..., Tab], draw: Callable[[str], Path]
) -> None:
    tab = new_tab()
    brought: list[list[Path]] = [[draw("red")], [], [draw("blue")], []]
    told = [tab.sentence(send(tab, *pictures)) for pictures in brought]
    assert ["first picture best" in sentence for sentence in told] == [False, False, True, False]


def test_a_turn_asks_the_database_no_more_in_a_long_conversation_than_in_a_short_one(
    new_tab: Callable[..., Tab],
    draw: Callable[[str], Path],
    read_rows: list[int],
    statements: list[str],
) -> None:
    tab, told, read = new_tab(), [], []
    for colour in ("red", "green", "blue", "pink", "gold", "teal"):
        statements.clear()
        read_rows.clear()
        steps = send(tab, draw(colour))
        told.append(len(statements))
        read.append(sum(read_rows))
    assert shown_last(tab, steps).count("message user") == 6
    # The question and the reply, of twelve messages in the end. Whoever keeps the reply and whoever
    # shows the question look at the same time, so that one of them may be read twice.
    assert max(read) <= 4
    # Each such look asks for a message, its pictures and its record.
    assert max(told) - min(told[1:]) <= 6


def test_the_context_is_counted_once_before_the_first_word_and_once_after_the_last(
    new_tab: Callable[..., Tab], monkeypatch: pytest.MonkeyPatch
) -> None:
    tab, counted = new_tab(), []
    context_use = tab.turns.engine.context_use

    def watched(conversation: Any, *more: Any) -> Any:
        counted.append(len(conversation.turns))
        return context_use(conversation, *more)

    monkeypatch.setattr(tab.turns.engine, "context_use", watched)
    steps = run(rest(tab.send("A question", max_new_tokens=4)))
    assert counted == [1, 2]
    meters = [
        str(step[tab.handlers.parts.meter]) for step in steps if tab.handlers.parts.meter in step
    ]
    assert len(meters) == 2 and all("% of context" in meter for meter in meters)


def test_the_start_of_a_reply_is_shown_once(new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    live = tab.handlers.parts.live
    steps = run(rest(tab.send("A question", max_new_tokens=4)))
    shown = [step[live] for step in steps if live in step]
    assert all(before != after for before, after in pairwise(shown))
