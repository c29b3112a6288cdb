"""Chats that are not to be kept, and what else goes by itself: real engine, store, handlers."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from llava_chat.errors import NotFoundError, StoreError
from llava_chat.feedback import Feedback, Rating
from llava_chat.store import ConversationStore
from llava_chat.store.schema import ConversationRow
from llava_chat.web.retaining import remove_left_behind, retaining, together
from llava_chat.web.thumbnails import Thumbnails
from tests.web.conftest import run
from tests.web.tabs import ME, SOMEBODY, Tab, asked, rest, shown_last


def begun_unkept(tab: Tab) -> tuple[str, list[dict[Any, Any]]]:
    tab.unkept = True
    steps = run(rest(tab.send("A secret", max_new_tokens=4)))
    assert tab.view.conversation_id is not None
    return tab.view.conversation_id, steps


def listed(tab: Tab) -> str:
    return str(tab.handlers.showing.listed(tab.owner, tab.view)[tab.handlers.parts.conversations])


def test_a_chat_that_is_not_kept_lives_in_its_page_and_goes_with_it(
    new_tab: Callable[..., Tab],
) -> None:
    page, other = new_tab(), new_tab()
    kept = asked(page, "Keep this")
    conversation_id, steps = begun_unkept(page)
    stored = page.turns.store.load(ME, conversation_id)
    assert not stored.kept and len(stored.path) == 2
    shown = shown_last(page, steps)
    assert "data-unkept" in shown and 'data-click="vote"' not in shown
    assert "A secret" in listed(page)
    run(rest(other.act("new")))
    assert "A secret" not in listed(other)
    other.handlers.leave(other.request())
    assert page.turns.store.load(ME, conversation_id).path
    page.handlers.leave(page.request())
    with pytest.raises(NotFoundError):
        page.turns.store.load(ME, conversation_id)
    assert page.turns.store.load(ME, kept).path


def test_a_page_that_names_anothers_session_removes_nothing(new_tab: Callable[..., Tab]) -> None:
    page = new_tab()
    conversation_id, _ = begun_unkept(page)
    thief = new_tab(SOMEBODY)
    thief.view = page.view  # the same session_hash
    thief.handlers.leave(thief.request())
    assert page.turns.store.load(ME, conversation_id).path


def test_a_chat_that_begins_after_its_page_was_left_goes_at_once(
    new_tab: Callable[..., Tab],
) -> None:
    page = new_tab()
    page.handlers.leave(page.request())
    stored = page.turns.store.create(ME, kept=False)
    page.handlers.showing.unkept.note(ME, page.request().session_hash, stored.id)
    with pytest.raises(NotFoundError):
        page.turns.store.load(ME, stored.id)


def test_a_page_that_only_lost_its_connection_goes_on(new_tab: Callable[..., Tab]) -> None:
    page = new_tab()
    page.handlers.leave(page.request())
    conversation_id, _ = begun_unkept(page)
    assert page.turns.store.load(ME, conversation_id).path


def test_the_next_chat_may_be_kept_again(new_tab: Callable[..., Tab]) -> None:
    page = new_tab()
    begun_unkept(page)
    steps = run(rest(page.act("new")))
    switch = [
        step[page.handlers.parts.unkept] for step in steps if page.handlers.parts.unkept in step
    ]
    assert (switch[-1].value, switch[-1].interactive, switch[-1].visible) == (False, True, True)


def test_what_was_said_stands_in_the_thread_again_as_text(new_tab: Callable[..., Tab]) -> None:
    page = new_tab()
    conversation_id = asked(page, "Hello")
    reply = page.turns.store.load(ME, conversation_id).path[-1]
    feedback = Feedback.of(page.turns.store)
    feedback.decide(ME, True)
    hostile = "\"><script>alert(1)</script>${x}'"
    feedback.rate(ME, conversation_id, reply.id, Rating("0" * 32, True, ("style",), hostile))
    shown = shown_last(page, run(rest(page.act("open", conversation=conversation_id))))
    assert "<script>" not in shown
    assert "&lt;script&gt;alert(1)" in shown
    assert shown.count('aria-pressed="true"') == 1
    feedback.delete_mine(ME)


def test_feedback_that_cannot_be_read_hides_no_word(
    new_tab: Callable[..., Tab], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = new_tab()
    conversation_id = asked(page, "Still here")

    def broken(*_: object) -> Any:
        raise StoreError("The database cannot be read.")

    monkeypatch.setattr(Feedback, "of_conversation", broken)
    shown = shown_last(page, run(rest(page.act("open", conversation=conversation_id))))
    assert "Still here" in shown


def aged(store: ConversationStore, conversation_id: str, days: int) -> None:
    with store.database.write() as session:
        before = datetime.now(UTC) - timedelta(days=days)
        row = update(ConversationRow).where(ConversationRow.id == conversation_id)
        session.execute(row.values(updated_at=before))


def there(store: ConversationStore, conversation_id: str) -> bool:
    try:
        store.load(ME, conversation_id)
    except NotFoundError:
        return False
    return True


@pytest.fixture
def own_store(tmp_path: Path) -> Any:
    store = ConversationStore.open(f"sqlite:///{tmp_path / 'own.db'}", tmp_path)
    yield store
    store.close()


def test_a_start_removes_what_an_earlier_run_left(own_store: ConversationStore) -> None:
    kept, unkept = own_store.create(ME), own_store.create(ME, kept=False)
    remove_left_behind(own_store)
    assert there(own_store, kept.id) and not there(own_store, unkept.id)


def test_a_database_that_refuses_does_not_keep_the_server_from_starting(
    own_store: ConversationStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unkept = own_store.create(ME, kept=False)
    with closing(sqlite3.connect(tmp_path / "own.db")) as other:
        other.execute(
            "CREATE TRIGGER no BEFORE DELETE ON conversations BEGIN SELECT RAISE(FAIL, 'no'); END"
        )
        other.commit()
    remove_left_behind(own_store)
    assert there(own_store, unkept.id)
    assert "could not be removed" in caplog.text


async def rounds(store: ConversationStore, folder: Path, keep_days: int | None, gone: str) -> None:
    lifespan = retaining(store, Thumbnails(folder), keep_days, every_s=0)
    async with asyncio.timeout(60), together(lifespan)(None):
        while await asyncio.to_thread(there, store, gone):
            await asyncio.sleep(0)


def test_the_old_and_what_nobody_saw_leave_go_while_the_server_runs(
    own_store: ConversationStore, tmp_path: Path
) -> None:
    young, old = own_store.create(ME), own_store.create(ME)
    forgotten, open_now = own_store.create(ME, kept=False), own_store.create(ME, kept=False)
    aged(own_store, old.id, 8)
    aged(own_store, forgotten.id, 2)
    run(rounds(own_store, tmp_path, 7, old.id))
    run(rounds(own_store, tmp_path, None, forgotten.id))
    assert there(own_store, young.id) and there(own_store, open_now.id)


def test_lifespans_end_in_the_opposite_order() -> None:
    told = []

    def one(name: str) -> Any:
        @asynccontextmanager
        async def lifespan(app: object) -> Any:
            told.append(f"{name} begins")
            yield
            told.append(f"{name} ends")

        return lifespan

    async def whole() -> None:
        async with together(one("a"), one("b"))(None):
            told.append("between")

    run(whole())
    assert told == ["a begins", "b begins", "between", "b ends", "a ends"]
