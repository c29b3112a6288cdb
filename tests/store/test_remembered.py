"""A conversation that was read before is read on from there, and is never another one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from sqlalchemy.orm import Session

from llava_chat.errors import NotFoundError
from llava_chat.store import ConversationStore, Message, rows
from llava_chat.store.remembered import Remembered
from llava_chat.store.schema import MessageRow

OpenStore = Callable[..., ConversationStore]
Read = tuple[tuple[Message, ...], int]


@pytest.fixture
def read_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages each look into the database brought."""
    found: list[int] = []
    messages_from = rows.messages_from

    def watched(session: Session, conversation_id: str, position: int) -> Read:
        read = messages_from(session, conversation_id, position)
        found.append(len(read[0]))
        return read

    monkeypatch.setattr(rows, "messages_from", watched)
    return found


def talk(store: ConversationStore, chat: str, turns: int, text: str = "?") -> None:
    for turn in range(turns):
        asked = store.add_user("ann", chat, f"{text} {turn}", ())
        store.add_reply("ann", chat, asked.id, f"re {text} {turn}", (1,), "stop", None)


def test_only_what_is_new_is_read(store: ConversationStore, read_rows: list[int]) -> None:
    chat = store.create("ann").id
    talk(store, chat, 5)
    assert len(store.load("ann", chat).path) == 10
    read_rows.clear()
    store.load("ann", chat)
    talk(store, chat, 1, "more")
    assert len(store.load("ann", chat).path) == 12
    assert sum(read_rows) == 2


def test_what_another_program_writes_is_found_with_its_versions(open_store: OpenStore) -> None:
    one, two = open_store(), open_store()
    chat = one.create("ann").id
    talk(one, chat, 2)
    first = one.load("ann", chat).path[0]
    assert first.versions == 1
    edited = two.add_user("ann", chat, "edited", (), parent_id=None)
    assert [message.text for message in one.load("ann", chat).path] == ["edited"]
    one.choose("ann", chat, first.id)
    path = two.load("ann", chat).path
    assert path[0].sibling_ids == (first.id, edited.id)
    assert path == one.load("ann", chat).path
    assert len(path) == 4


def test_what_was_not_committed_is_not_remembered(store: ConversationStore) -> None:
    chat = store.create("ann").id
    talk(store, chat, 1)
    before = store.load("ann", chat)
    with suppress(ZeroDivisionError), store._database.write() as session:
        row = rows.owned(session, "ann", chat, to_change=True)
        known = store._remembered.read(session, chat)
        lost = rows.new_message(row, before.path[-1].id, len(known), "lost")
        lost.role = "user"
        session.add(lost)
        session.flush()
        raise ZeroDivisionError
    assert store.load("ann", chat) == before
    talk(store, chat, 1, "kept")
    texts = [message.text for message in store.load("ann", chat).path]
    assert texts == ["? 0", "re ? 0", "kept 0", "re kept 0"]


def test_a_conversation_at_hand_is_still_its_owners_alone(store: ConversationStore) -> None:
    chat = store.create("ann").id
    talk(store, chat, 1, "secret")
    store.load("ann", chat)
    with pytest.raises(NotFoundError):
        store.load("eve", chat)
    store.delete("ann", chat)
    with pytest.raises(NotFoundError):
        store.load("ann", chat)
    assert chat not in store._remembered._known


def test_no_more_is_kept_than_there_is_room_for(
    store: ConversationStore, read_rows: list[int]
) -> None:
    chats = [store.create("ann").id for _ in range(3)]
    for chat in chats:
        talk(store, chat, 2)
    few = Remembered(most_bytes=20_000)
    with store._database.read() as session:
        for chat in chats:
            assert len(few.read(session, chat)) == 4
        assert len(few._known) == 2 and few._bytes <= 20_000
        read_rows.clear()
        for chat in reversed(chats):
            assert few.read(session, chat)[0].conversation_id == chat
        assert read_rows == [0, 0, 4]
        assert few._bytes <= 20_000
    with store._database.read() as session:
        none = Remembered(most_bytes=1)
        assert [len(none.read(session, chats[0])) for _ in range(2)] == [4, 4]
        assert not none._known and none._bytes == 0


def test_gaps_that_another_import_fills_are_seen_filled(store: ConversationStore) -> None:
    chat = store.create("ann").id
    talk(store, chat, 3)
    path = store.load("ann", chat).path
    with store.database.write() as session:
        for message in path[2:4]:  # as if only its end had been imported, behind its beginning
            row = session.get(MessageRow, message.id)
            assert row is not None
            row.position += 100
    for _ in range(2):
        fresh = Remembered()
        with store.database.read() as session:
            for _ in range(3):
                found = fresh.read(session, chat)
                assert sorted(one.id for one in found) == sorted(one.id for one in path)
