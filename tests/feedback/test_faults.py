"""A full disk, a lock, a damaged file: feedback says that it was not saved, and the file stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from llava_chat.errors import ConsentError, NotFoundError, StoreError
from llava_chat.feedback import Correction, Feedback, Ranking, Rating
from llava_chat.store import ConversationStore
from llava_chat.store.database import Database
from llava_chat.store.pictures import Pictures
from tests.feedback.conftest import Talk, new_id

OpenStore = Callable[..., ConversationStore]


@pytest.fixture
def backend() -> str:
    return "sqlite"  # those of PostgreSQL are its server's: see tests/store/test_postgresql.py


def _say(feedback: Feedback, talk: Talk, words: str = "x") -> list[Callable[[], None]]:
    order = tuple(reply.id for reply in talk.replies)
    return [
        lambda: feedback.rate("ann", talk.id, talk.reply.id, Rating(new_id(), True)),
        lambda: feedback.correct("ann", talk.id, talk.reply.id, Correction(new_id(), words)),
        lambda: feedback.rank("ann", talk.id, talk.asked.id, Ranking(new_id(), order)),
        lambda: feedback.decide("ann", True),
    ]


def _check_not_saved(attempts: list[Callable[[], None]], told: str) -> None:
    for attempt in attempts:
        with pytest.raises(StoreError, match=rf"^Not saved\. .*{told}") as error:
            attempt()
        assert not isinstance(error.value, NotFoundError | ConsentError)


def test_a_locked_database_is_told_and_later_takes_it(
    talk: Talk, open_store: OpenStore, database_file: Path
) -> None:
    hurried = Feedback.of(open_store(busy_timeout_s=0.05))
    other = sqlite3.connect(database_file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    attempts = _say(hurried, talk)
    _check_not_saved(attempts, "Another program holds the database")
    assert hurried.of_conversation("ann", talk.id) == {}
    other.execute("ROLLBACK")
    other.close()
    for attempt in attempts:
        attempt()
    assert len(hurried.of_conversation("ann", talk.id)) == 2


def test_a_full_disk_is_told_and_the_store_goes_on(
    talk: Talk, feedback: Feedback, database_url: str, database_file: Path
) -> None:
    # SQLite's own limit on pages fails with the very error of a full disk.
    database = Database.open(database_url)
    limited = ConversationStore(database, Pictures(database_file.parent / "pictures"))
    with database.read() as session:
        session.connection().exec_driver_sql("PRAGMA max_page_count = 1")
    correct = _say(Feedback.of(limited), talk, words="long " * 4000)[1]
    _check_not_saved([correct], "The disk is full")
    assert Feedback.of(limited).of_conversation("ann", talk.id) == {}
    database.close()
    for attempt in _say(feedback, talk):
        attempt()


def test_a_damaged_database_is_told_and_its_file_is_kept(
    talk: Talk, store: ConversationStore, open_store: OpenStore, database_file: Path
) -> None:
    store.close()
    damaged = Feedback.of(open_store())
    content = bytearray(database_file.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    database_file.write_bytes(content)
    with pytest.raises(StoreError, match=r"^Not saved\. The database .* is damaged"):
        damaged.rate("ann", talk.id, talk.reply.id, Rating(new_id(), True))
    assert database_file.read_bytes() == content


def test_a_store_that_is_closed_says_so(
    talk: Talk, store: ConversationStore, feedback: Feedback
) -> None:
    store.close()
    _check_not_saved(_say(feedback, talk), "shutting down")
