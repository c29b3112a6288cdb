"""Opens the database, brings its tables up to date, and gives out transactions.

One process writes with one thread at a time; any number read. SQLite takes one writing process at a
time too; PostgreSQL takes several, in read-committed transactions that lock the rows they are about
to change. A reader sees one state of either. Alembic is imported only when there
is something to migrate: it is slow to import, and nearly every start finds the tables as they
should be. Only the store and what builds on its tables import this module.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from llava_chat.errors import SettingError, StoreError
from llava_chat.store.faults import sentence

CURRENT_REVISION = "0004"
"""The newest migration; a test holds it to the files in migrations/versions."""

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_S = 5.0
"""How long a transaction waits for another program's. Below the 10 s after which people reload."""
MIGRATION_LOCK = 0x6C6C617661
"""The key of PostgreSQL's advisory lock that one migrating process holds; "llava" in ASCII."""
CONNECT_TIMEOUT_S = 10
"""For a server that does not answer; without it the system waits for minutes."""


class Database:
    """A database with its tables up to date. All methods may be called from any thread."""

    def __init__(self, url: URL, busy_timeout_s: float) -> None:
        self.place = url.database if _is_sqlite(url) else url.render_as_string()
        self._engine = _engine(url, busy_timeout_s)
        self._writer = self._engine.execution_options(writes=True)
        self._reader = self._engine
        if not _is_sqlite(url):
            # Several queries of one session are to see one state, as they do in SQLite.
            self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ")
        self._writing = threading.Lock()
        self._closed = False
        self._writes = 0

    @property
    def writes(self) -> int:
        """How many transactions of this process were committed: more since then, and it changed."""
        return self._writes

    @classmethod
    def open(cls, database_url: str, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Database:
        """Connect, and create or migrate the tables.

        database_url: as SQLAlchemy writes it; a SQLite file is made when there is none.
        Raises SettingError when the URL cannot be used, StoreError when the database cannot.
        """
        database = cls(_checked(database_url), busy_timeout_s)
        try:
            database._upgrade()
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database and changes nothing."""
        with self.told(), Session(self._reader) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that is committed at the end, or not at all when anything is raised."""
        with (
            self.told(),
            self._writing,
            Session(self._writer, expire_on_commit=False) as session,
            self._counted(),
            session.begin(),
        ):
            yield session

    @contextmanager
    def _counted(self) -> Iterator[None]:
        yield
        self._writes += 1

    def close(self) -> None:
        """Let go of the database; a transaction that still runs ends first."""
        with self._writing:
            self._closed = True
            self._engine.dispose()

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn what SQLAlchemy, the driver and the disk raise into one sentence."""
        if self._closed:
            raise StoreError("The database is closed: the app is shutting down.")
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise StoreError(sentence(error, str(self.place))) from error

    def _upgrade(self) -> None:
        with self.told():
            with self._engine.connect() as connection:
                if _revision(connection) == CURRENT_REVISION:
                    return
            # Asked again inside the transaction: two processes may start on one new database.
            with self._writer.begin() as connection:
                if connection.dialect.name == "postgresql":
                    connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
                revision = _revision(connection)
                if revision != CURRENT_REVISION:
                    _migrate(connection, revision, str(self.place))


def _checked(database_url: str) -> URL:
    try:
        url = make_url(database_url)
    except ArgumentError:
        raise SettingError(
            "database_url", "must be a URL like sqlite:////data/chat.sqlite3"
        ) from None
    if url.drivername in ("postgresql", "postgres"):  # as hosts of databases write it
        return url.set(drivername="postgresql+psycopg")
    if _is_sqlite(url):
        if url.database in (None, "", ":memory:"):
            raise SettingError(
                "database_url", "must name a file: a database in memory forgets every chat"
            )
        try:
            Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(sentence(error, str(url.database))) from error
    return url


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _engine(url: URL, busy_timeout_s: float) -> Engine:
    try:
        if url.get_backend_name() == "postgresql":
            return _postgresql(url, busy_timeout_s)
        if not _is_sqlite(url):
            raise SettingError("database_url", "must begin with sqlite:// or postgresql+psycopg://")
        engine = create_engine(url, connect_args={"timeout": busy_timeout_s})
    except (ImportError, SQLAlchemyError) as error:
        raise SettingError("database_url", f"names a driver that is missing: {error}") from error
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql(url: URL, busy_timeout_s: float) -> Engine:
    options = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_TIMEOUT_S}
    engine = create_engine(url, pool_pre_ping=True, connect_args=options)
    settings = (
        f"SET lock_timeout = {round(busy_timeout_s * 1000)}",
        # Where the server would acknowledge before it wrote to its disk. A stricter choice stays.
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') = 'off'",
    )

    def set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for setting in settings:
            cursor.execute(setting)
        cursor.close()
        connection.commit()

    event.listen(engine, "connect", set_up)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    # The driver's own way to begin leaves DDL and reads outside transactions (sqlalchemy.org,
    # "Serializable isolation / Savepoints / Transactional DDL"): _begin_sqlite begins instead.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    # SQLite's own lower() knows ASCII only; searches should find "ÉTÉ" by "été" too.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(value: str | bytes | float | None) -> str | bytes | float | None:
    return value.lower() if isinstance(value, str) else value


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock first: one that reads and then writes may be refused in between.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _migrate(connection: Connection, revision: str | None, place: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise StoreError(
            f"The database {place} was written by a newer llava_chat (its revision {revision} is "
            "unknown here): update llava_chat, or name another database."
        )
    command.upgrade(config, "head")
