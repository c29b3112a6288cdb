"""Opening, migrating and failing: a real SQLite file in every state that was thought of."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from llava_chat.errors import SettingError, StoreError
from llava_chat.store import ConversationStore
from llava_chat.store.database import CURRENT_REVISION, MIGRATIONS, Database
from llava_chat.store.schema import Base

OpenStore = Callable[..., ConversationStore]
OPEN = """
import sys
from pathlib import Path
from llava_chat.store import ConversationStore
ConversationStore.open(sys.argv[1], Path(sys.argv[2])).create("ann")
print("alembic" in sys.modules)
"""


@pytest.fixture
def backend() -> str:
    return "sqlite"


def _opening(database_file: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OPEN, f"sqlite:///{database_file}", str(database_file.parent)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )


def test_the_migrations_make_the_tables_that_the_code_expects(
    store: ConversationStore, database_file: Path
) -> None:
    store.close()
    engine = create_engine(f"sqlite:///{database_file}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        assert context.get_current_revision() == CURRENT_REVISION
    engine.dispose()
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [CURRENT_REVISION]


def test_the_tables_of_an_earlier_version_are_brought_up_to_date(
    open_store: OpenStore, database_file: Path
) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(f"sqlite:///{database_file}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    store = open_store()
    chat = store.create("ann")
    assert [found.id for found in store.list("ann")] == [chat.id]


def test_sqlite_is_set_up_to_lose_nothing(store: ConversationStore, database_file: Path) -> None:
    database = Database.open(f"sqlite:///{database_file}", busy_timeout_s=1.5)
    with database.read() as session:
        connection = session.connection()
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        values = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    database.close()
    assert values == ["wal", 2, 1, 1500]


def test_processes_that_start_together_make_the_tables_once(database_file: Path) -> None:
    together = [_opening(database_file) for _ in range(3)]
    for process in together:
        process.communicate()
    assert [process.returncode for process in together] == [0, 0, 0]
    later = _opening(database_file)
    # A start that finds its tables does not wait for Alembic to be imported.
    assert later.communicate()[0].strip() == "False"
    store = ConversationStore.open(f"sqlite:///{database_file}", database_file.parent)
    assert len(store.list("ann")) == 4
    store.close()


def test_a_database_of_a_newer_program_is_refused_untouched(
    open_store: OpenStore, database_file: Path
) -> None:
    open_store().close()
    with sqlite3.connect(database_file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = database_file.read_bytes()
    with pytest.raises(StoreError, match=r"newer llava_chat \(its revision 9999 .* update"):
        open_store()
    assert database_file.read_bytes() == before


def test_a_file_that_is_no_database_is_kept(open_store: OpenStore, database_file: Path) -> None:
    database_file.write_bytes(b"holiday notes, not a database" * 100)
    with pytest.raises(StoreError, match="damaged") as error:
        open_store()
    assert str(database_file) in str(error.value)
    assert database_file.read_bytes() == b"holiday notes, not a database" * 100


def test_damage_in_the_middle_is_told_in_a_sentence(
    open_store: OpenStore, database_file: Path
) -> None:
    store = open_store()
    chat = store.create("ann").id
    store.add_user("ann", chat, "hello", ())
    store.close()
    content = bytearray(database_file.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    database_file.write_bytes(content)
    with pytest.raises(StoreError, match="damaged") as error:
        damaged = open_store()
        damaged.load("ann", chat)
    assert str(database_file) in str(error.value)
    assert database_file.exists()


def test_a_locked_database_is_read_and_refuses_writes_until_it_is_free(
    open_store: OpenStore, database_file: Path
) -> None:
    store = open_store(busy_timeout_s=0.05)
    chat = store.create("ann").id
    other = sqlite3.connect(database_file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="Another program holds"):
        store.add_user("ann", chat, "hello", ())
    assert store.load("ann", chat).path == ()
    other.execute("ROLLBACK")
    other.close()
    store.add_user("ann", chat, "hello", ())
    assert len(store.load("ann", chat).path) == 1


def test_a_full_disk_saves_nothing_and_the_store_goes_on(
    store: ConversationStore, database_file: Path
) -> None:
    # SQLite's own limit on pages fails with the very error of a full disk.
    database = Database.open(f"sqlite:///{database_file}")
    chat = store.create("ann").id
    limited = ConversationStore(database, store._pictures)
    with database.read() as session:
        session.connection().exec_driver_sql("PRAGMA max_page_count = 1")
    with pytest.raises(StoreError, match="disk is full"):
        limited.add_user("ann", chat, "long " * 100_000, ())
    assert limited.load("ann", chat).path == ()
    database.close()
    store.add_user("ann", chat, "short", ())


def test_a_closed_store_says_so(store: ConversationStore) -> None:
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.list("ann")


@pytest.mark.parametrize(
    ("database_url", "problem"),
    [
        ("chat.sqlite3", "must be a URL"),
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("nonesuch://host/db", "must begin with sqlite:// or postgresql"),
        ("postgresql+nonesuch://host/db", "driver that is missing"),
    ],
)
def test_unusable_urls_name_the_setting(database_url: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=f"database_url .*{problem}"):
        ConversationStore.open(database_url, tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be read or written"):
        ConversationStore.open(f"sqlite:///{tmp_path}/file/chat.sqlite3", tmp_path)
    with pytest.raises(StoreError, match="cannot be opened"):
        ConversationStore.open(f"sqlite:///{tmp_path}", tmp_path)
