"""What goes, and what stays: by age, by its owner's wish."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from llava_chat.errors import NotFoundError
from llava_chat.image import Picture
from llava_chat.store import ConversationStore, Opinions, remove_old, remove_unkept
from llava_chat.store.schema import ConversationRow


def _aged(store: ConversationStore, chat_id: str, age: timedelta) -> None:
    with store.database.write() as session:
        session.get_one(ConversationRow, chat_id).updated_at = datetime.now(UTC) - age


def test_old_conversations_go_with_what_was_said_of_them(
    store: ConversationStore, red: Picture, blue: Picture
) -> None:
    opinions = Opinions(store, "1")
    opinions.decide("ann", True)
    old = store.add_user("ann", None, "old", (red, blue))
    reply = store.add_reply("ann", old.conversation_id, old.id, "re", (), "stop", None)
    opinions.correct("ann", old.conversation_id, reply.id, id="c" * 32, text="better")
    young = store.add_user("bob", None, "young", (blue,))
    _aged(store, old.conversation_id, timedelta(days=31))
    _aged(store, young.conversation_id, timedelta(days=29))
    assert remove_old(store, None) == 0
    assert remove_old(store, 30) == 1
    assert (store.list("ann"), len(store.list("bob"))) == ([], 1)
    with pytest.raises(NotFoundError):
        store.picture(red.id)
    assert store.picture(blue.id) == blue
    assert remove_old(store, 30) == 0


def test_a_chat_that_is_not_kept_is_its_owners_until_they_have_left(
    store: ConversationStore, red: Picture
) -> None:
    asked = store.add_user("ann", None, "secret", (red,), kept=False)
    kept = store.create("ann")
    also = store.create("bob", kept=False)
    assert [(one.id, one.kept) for one in store.list("ann")] == [
        (kept.id, True),
        (asked.conversation_id, False),
    ]
    assert remove_unkept(store, unchanged_for=timedelta(days=1)) == 0
    _aged(store, also.id, timedelta(hours=25))
    assert remove_unkept(store, unchanged_for=timedelta(days=1)) == 1
    assert remove_unkept(store, owner="bob") == 0
    assert remove_unkept(store, owner="ann") == 1
    assert [one.id for one in store.list("ann")] == [kept.id]
    with pytest.raises(NotFoundError):
        store.picture(red.id)
