"""What is PostgreSQL's own: its migrations, its addresses, and how it fails."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, delete, make_url, text

from llava_chat.errors import StoreError
from llava_chat.image import Picture
from llava_chat.store import ConversationStore
from llava_chat.store.database import CURRENT_REVISION, Database
from llava_chat.store.schema import Base, MessagePictureRow

OpenStore = Callable[..., ConversationStore]
OPEN = """
import sys
from pathlib import Path
from llava_chat.store import ConversationStore
ConversationStore.open(sys.argv[1], Path(sys.argv[2])).create("ann")
"""


@pytest.fixture
def backend() -> str:
    return "postgresql"


def test_the_migrations_make_the_tables_that_the_code_expects(
    store: ConversationStore, database_url: str
) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        assert context.get_current_revision() == CURRENT_REVISION
    engine.dispose()


def test_processes_that_start_together_make_the_tables_once(
    database_url: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", OPEN, database_url, str(tmp_path)]
    root = Path(__file__).parents[2]
    together = [subprocess.Popen(command, cwd=root) for _ in range(3)]
    assert [process.wait() for process in together] == [0, 0, 0]
    store = ConversationStore.open(database_url, tmp_path)
    assert len(store.list("ann")) == 3
    store.close()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_the_address_that_hosts_give_is_taken(
    scheme: str, database_url: str, tmp_path: Path
) -> None:
    address = database_url.replace("postgresql+psycopg", scheme, 1)
    store = ConversationStore.open(address, tmp_path)
    store.create("ann")
    store.close()


def test_what_is_acknowledged_is_on_the_servers_disk(database_url: str) -> None:
    with psycopg.connect(_conninfo(database_url), autocommit=True) as connection:
        connection.execute("ALTER ROLE llava SET synchronous_commit = off")
    try:
        database = Database.open(database_url, busy_timeout_s=1.5)
        with database.read() as session:
            told = [session.scalar(text(f"SHOW {name}"))
                    for name in ("synchronous_commit", "lock_timeout")]  # fmt: skip
        database.close()
    finally:
        with psycopg.connect(_conninfo(database_url), autocommit=True) as connection:
            connection.execute("ALTER ROLE llava RESET synchronous_commit")
    assert told == ["on", "1500ms"]


def test_a_locked_row_is_told_in_a_sentence_and_the_store_goes_on(
    open_store: OpenStore, database_url: str
) -> None:
    store = open_store(busy_timeout_s=0.1)
    chat = store.create("ann").id
    with psycopg.connect(_conninfo(database_url)) as other:
        other.execute("SELECT * FROM conversations FOR UPDATE")
        with pytest.raises(StoreError, match="Another program holds what was to change"):
            store.add_user("ann", chat, "hello", ())
        assert store.load("ann", chat).path == ()
        other.rollback()
    store.add_user("ann", chat, "hello", ())


def test_a_picture_that_is_sent_while_another_program_removes_it_stays(
    open_store: OpenStore, database_url: str, red: Picture
) -> None:
    sender, remover = open_store(), open_store()
    gone = sender.add_user("ann", None, "look", (red,))
    again = sender.add_user("bob", None, "look again", ())
    with sender.database.write() as session:
        session.execute(delete(MessagePictureRow).filter_by(message_id=gone.id))
    with ThreadPoolExecutor(1) as thread:
        with sender.database.write() as session:
            sender.kept_pictures.keep(session, red)
            removal = thread.submit(remover.remove_pictures, [red.id])
            _wait_until_somebody_waits(database_url)
            session.add(MessagePictureRow(message_id=again.id, position=0, picture_id=red.id))
        assert removal.result() == ()
    assert sender.picture(red.id).rgb().tobytes() == red.rgb().tobytes()


def _wait_until_somebody_waits(database_url: str) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with psycopg.connect(_conninfo(database_url), autocommit=True) as watching:
        while watching.execute(waiting).fetchone() == (0,):
            time.sleep(0.01)


def test_a_connection_that_broke_is_made_again(store: ConversationStore, database_url: str) -> None:
    chat = store.create("ann").id
    with psycopg.connect(_conninfo(database_url), autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        )
    store.add_user("ann", chat, "hello", ())
    assert len(store.load("ann", chat).path) == 1


def test_a_server_that_is_away_or_refuses_is_told_without_the_password(
    database_url: str, tmp_path: Path
) -> None:
    away = "postgresql+psycopg://ann:topsecret@127.0.0.1:9/chats"
    with pytest.raises(StoreError, match="cannot be reached, so nothing was saved") as error:
        ConversationStore.open(away, tmp_path)
    assert "topsecret" not in str(error.value) and "127.0.0.1:9" in str(error.value)
    nobody = make_url(database_url).set(username="nobody", password="topsecret")
    with pytest.raises(StoreError, match="lets nobody in") as error:
        ConversationStore.open(nobody.render_as_string(hide_password=False), tmp_path)
    assert "topsecret" not in str(error.value)


def _conninfo(database_url: str) -> str:
    url = make_url(database_url)
    options = url.query["options"]
    return f"host={url.query['host']} user=llava dbname={url.database} options='{options}'"
