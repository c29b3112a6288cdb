"""What people do with their conversations, on a real database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llava_chat.errors import NotFoundError, StoreError
from llava_chat.image import Picture
from llava_chat.store import ChatOptions, ConversationStore, Message, ReplyRecord
from llava_chat.store.database import Database
from llava_chat.store.schema import ConversationRow, MessageRow


@pytest.fixture
def chat_id(store: ConversationStore) -> str:
    return store.create("ann").id


def _ask(store: ConversationStore, chat_id: str, text: str) -> tuple[Message, Message]:
    asked = store.add_user("ann", chat_id, text, ())
    return asked, store.add_reply("ann", chat_id, asked.id, f"re {text}", (1,), "stop", None)


def _texts(store: ConversationStore, chat_id: str) -> list[str]:
    return [message.text for message in store.load("ann", chat_id).path]


def test_everything_is_found_again_after_a_restart(
    open_store: Callable[[], ConversationStore], red: Picture, blue: Picture, record: ReplyRecord
) -> None:
    store = open_store()
    settings = {"temperature": 0.5, "seed": None}
    chat = store.create("ann", system="Be brief.", template="vicuna_v1", settings=settings)
    asked = store.add_user("ann", chat.id, "What is it?\n<image> 😀 שלום", (red, blue, red))
    reply = store.add_reply("ann", chat.id, asked.id, "Red.", (7, 0, 31999), "stop", record)
    store.close()

    again = open_store()
    found = again.load("ann", chat.id)
    assert found.path == (asked, reply)
    assert found.path[0].picture_ids == (red.id, blue.id, red.id)
    assert (found.path[1].token_ids, found.path[1].finish) == ((7, 0, 31999), "stop")
    assert found.path[1].record == record
    assert (found.system, found.template, found.settings) == ("Be brief.", "vicuna_v1", settings)
    assert found.created_at == chat.created_at
    conversation = found.conversation(again.picture)
    assert conversation.turns[0].images == (red, blue, red)
    assert conversation.turns[0].images[1].rgb().tobytes() == blue.rgb().tobytes()
    assert conversation.turns[1].token_ids == (7, 0, 31999)
    assert conversation.system == "Be brief."


def test_no_tokens_and_unknown_tokens_are_not_the_same(
    store: ConversationStore, chat_id: str
) -> None:
    asked = store.add_user("ann", chat_id, "?", ())
    empty = store.add_reply("ann", chat_id, asked.id, "", (), "cancelled", None)
    unknown = store.add_reply("ann", chat_id, asked.id, "typed", None, "stop", None)
    assert (empty.token_ids, unknown.token_ids) == ((), None)


def test_regenerating_adds_a_version_and_shows_it(store: ConversationStore, chat_id: str) -> None:
    asked, first = _ask(store, chat_id, "one")
    second = store.add_reply("ann", chat_id, asked.id, "better", (2,), "stop", None)
    assert (second.version, second.versions, second.sibling_ids) == (2, 2, (first.id, second.id))
    shown = store.load("ann", chat_id).path
    assert [message.id for message in shown] == [asked.id, second.id]


def test_editing_branches_and_choosing_returns_to_the_newest_leaf(
    store: ConversationStore, chat_id: str
) -> None:
    asked, _ = _ask(store, chat_id, "one")
    _ask(store, chat_id, "two")
    edited = store.add_user("ann", chat_id, "uno", (), parent_id=asked.parent_id)
    assert _texts(store, chat_id) == ["uno"]
    assert (edited.version, edited.versions) == (2, 2)
    store.choose("ann", chat_id, asked.id)
    assert _texts(store, chat_id) == ["one", "re one", "two", "re two"]
    store.choose("ann", chat_id, edited.id)
    assert _texts(store, chat_id) == ["uno"]


def test_undo_gives_the_message_back_and_deletes_nothing(
    store: ConversationStore, chat_id: str
) -> None:
    first, _ = _ask(store, chat_id, "one")
    second, _ = _ask(store, chat_id, "two")
    assert store.undo("ann", chat_id) == second
    assert _texts(store, chat_id) == ["one", "re one"]
    assert store.undo("ann", chat_id) == first
    assert _texts(store, chat_id) == []
    with pytest.raises(NotFoundError, match="nothing to undo"):
        store.undo("ann", chat_id)
    assert store.add_user("ann", chat_id, "three", ()).versions == 2
    store.choose("ann", chat_id, first.id)
    assert _texts(store, chat_id) == ["one", "re one", "two", "re two"]


def test_a_message_without_a_reply_is_replaced_by_the_next_one(
    store: ConversationStore, chat_id: str
) -> None:
    _ask(store, chat_id, "one")
    failed = store.add_user("ann", chat_id, "two", ())
    instead = store.add_user("ann", chat_id, "three", ())
    assert instead.sibling_ids == (failed.id, instead.id)
    assert _texts(store, chat_id) == ["one", "re one", "three"]


def test_a_late_reply_does_not_drag_its_reader_back(store: ConversationStore, chat_id: str) -> None:
    asked = store.add_user("ann", chat_id, "slow", ())
    store.undo("ann", chat_id)
    late = store.add_reply("ann", chat_id, asked.id, "at last", (1,), "stop", None)
    assert _texts(store, chat_id) == []
    store.choose("ann", chat_id, asked.id)
    assert store.load("ann", chat_id).path[-1] == late


def test_users_and_replies_take_turns(store: ConversationStore, chat_id: str) -> None:
    asked, reply = _ask(store, chat_id, "one")
    with pytest.raises(StoreError, match="only follow a reply"):
        store.add_user("ann", chat_id, "two", (), parent_id=asked.id)
    with pytest.raises(StoreError, match="only follow a user"):
        store.add_reply("ann", chat_id, reply.id, "two", (), "stop", None)
    assert _texts(store, chat_id) == ["one", "re one"]


def test_somebody_elses_conversation_looks_like_none(
    store: ConversationStore, chat_id: str, red: Picture
) -> None:
    asked, _ = _ask(store, chat_id, "secret")
    attempts: list[Callable[[str], object]] = [
        lambda id: store.load("eve", id),
        lambda id: store.rename("eve", id, "mine"),
        lambda id: store.delete("eve", id),
        lambda id: store.add_user("eve", id, "hi", (red,)),
        lambda id: store.add_reply("eve", id, asked.id, "hi", (), "stop", None),
        lambda id: store.choose("eve", id, asked.id),
        lambda id: store.undo("eve", id),
    ]
    for attempt in attempts:
        told = set()
        for id in (chat_id, "0" * 32, "'; --", "\ud800", ""):
            with pytest.raises(NotFoundError) as error:
                attempt(id)
            told.add(str(error.value))
        assert len(told) == 1
    assert store.list("eve") == []
    assert store.list("eve", "secret") == []
    assert _texts(store, chat_id) == ["secret", "re secret"]


def test_messages_of_another_conversation_cannot_be_referred_to(
    store: ConversationStore, chat_id: str
) -> None:
    asked, reply = _ask(store, chat_id, "secret")
    own = store.create("eve").id
    with pytest.raises(NotFoundError):
        store.add_user("eve", own, "and?", (), parent_id=reply.id)
    with pytest.raises(NotFoundError):
        store.add_reply("eve", own, asked.id, "x", (), "stop", None)
    with pytest.raises(NotFoundError):
        store.choose("eve", own, reply.id)
    assert store.load("eve", own).path == ()


def test_the_list_is_newest_first_and_searched_in_titles_and_words(
    store: ConversationStore,
) -> None:
    shapes, sums, third = (store.create("ann", title=title).id for title in ("Été 100%", "", ""))
    _ask(store, sums, "How MANY a_b are there?")
    _ask(store, third, "axb")
    store.add_user("ann", shapes, "hello", ())

    def found(search: str, limit: int = 200) -> list[str]:
        return [summary.id for summary in store.list("ann", search, limit)]

    assert found("") == [shapes, third, sums]
    assert found("", limit=1) == [shapes]
    assert found("éTÉ") == [shapes]
    assert found("many") == [sums]
    assert found("a_b") == [sums]
    assert found("%") == [shapes]
    assert found("100%x") == []
    assert found("' OR 1=1 --") == []
    assert found("\\") == []
    summary = store.list("ann", "many")[0]
    assert (summary.title, summary.messages) == ("How MANY a_b are there?", 2)


def test_titles_come_from_the_first_words_until_somebody_names_them(
    store: ConversationStore, chat_id: str
) -> None:
    _ask(store, chat_id, "What is\nhere?")
    assert store.load("ann", chat_id).title == "What is here?"
    store.rename("ann", chat_id, " My \n shapes ")
    _ask(store, chat_id, "more")
    assert store.load("ann", chat_id).title == "My shapes"
    store.rename("ann", chat_id, "x" * 1000)
    assert len(store.load("ann", chat_id).title) == 200


def test_options_are_replaced_together(store: ConversationStore) -> None:
    plain = ChatOptions("", "plain", {"temperature": 0.0})
    begun = store.add_user("ann", None, "one", (), options=plain)
    found = store.load("ann", begun.conversation_id)
    assert (found.system, found.template, found.settings) == ("", "plain", {"temperature": 0.0})
    store.add_user("ann", begun.conversation_id, "two", (), options=ChatOptions())
    found = store.load("ann", begun.conversation_id)
    assert (found.system, found.template, found.settings) == (None, None, {})
    store.add_user("ann", begun.conversation_id, "three", ())
    assert store.load("ann", begun.conversation_id).template is None


def test_a_refused_message_changes_nothing(
    store: ConversationStore, chat_id: str, database_file: Path, red: Picture
) -> None:
    asked, _ = _ask(store, chat_id, "one")
    before = store.load("ann", chat_id)
    brief = ChatOptions("Be brief.", None, {})
    with pytest.raises(StoreError, match="only follow a reply"):
        store.add_user("ann", chat_id, "two", (), parent_id=asked.id, options=brief)
    (database_file.parent / "pictures").write_text("not a folder")
    with pytest.raises(StoreError, match="cannot be read or written"):
        store.add_user("ann", None, "look", (red,), options=brief)
    assert store.load("ann", chat_id) == before
    assert [one.id for one in store.list("ann")] == [chat_id]


def test_text_no_database_takes_survives(
    store: ConversationStore, chat_id: str, record: ReplyRecord
) -> None:
    told = "a\ud83d\x00b \u202e" + "z\u0335" * 100
    asked = store.add_user("ann", chat_id, told, ())
    kept = told.replace("\ud83d", "\ufffd").replace("\x00", "\ufffd")
    odd = replace(record, system=told)
    reply = store.add_reply("ann", chat_id, asked.id, told, (1,), "stop", odd)
    assert _texts(store, chat_id) == [kept, kept]
    assert reply.record == replace(record, system=kept)
    store.rename("ann", chat_id, told)
    assert len(store.list("ann", told)) == 1


def test_a_long_conversation_is_loaded_and_deleted(
    store: ConversationStore, chat_id: str, database_url: str
) -> None:
    # Past 1,000 messages SQLite refuses deletions that cascade from parent to child.
    ids = [f"{position:032x}" for position in range(1200)]
    database = Database.open(database_url)
    with database.write() as session:
        chain = zip([None, *ids], ids, strict=False)
        for position, (parent_id, id) in enumerate(chain):
            row = MessageRow(id=id, conversation_id=chat_id, parent_id=parent_id, text=id)
            row.position, row.role = position, ("user", "assistant")[position % 2]
            row.created_at = datetime.now(UTC)
            session.add(row)
        session.get_one(ConversationRow, chat_id).head_id = ids[-1]
    database.close()
    assert _texts(store, chat_id) == ids
    store.delete("ann", chat_id)
    assert store.list("ann") == []


def test_a_conversation_is_gone_even_if_its_picture_cannot_be_removed(
    store: ConversationStore,
    chat_id: str,
    red: Picture,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.add_user("ann", chat_id, "look", (red,))
    file = store.picture(red.id).source
    assert isinstance(file, Path)
    file.unlink()
    file.mkdir()  # what cannot be unlinked
    assert store.delete("ann", chat_id) == (red.id,)
    assert store.list("ann") == []
    assert "could not be removed" in caplog.text
    file.rmdir()
    # It goes with whatever is deleted a day later.
    monkeypatch.setattr("llava_chat.store.pictures.UNSENT_PICTURE_AGE", timedelta(0))
    assert store.delete("ann", store.create("ann").id) == (red.id,)
