"""A real PostgreSQL for the tests: a server of their own in a temporary folder, on a Unix socket.

The programs are Debian's (`apt-get install postgresql`). Where the tests run as root the server
runs as the user that the package made, for it refuses to be root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql

HOW_TO_GET_ONE = "PostgreSQL is not installed here: apt-get install postgresql"
START_TIMEOUT_S = 60.0


def programs() -> Path | None:
    """The folder of the newest server that is installed, None where there is none."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not found and (elsewhere := shutil.which("initdb")):
        found = [Path(elsewhere).resolve().parent]
    return max(found, key=lambda folder: folder.parts[-2].zfill(4), default=None)


class PostgresqlServer:
    """A server that runs. Databases are made in it as they are needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new_database(self) -> str:
        """The SQLAlchemy address of what looks like a database that is empty.

        It is a schema of its own in the one database: made in milliseconds, where a whole database
        takes 7 MB and as many seconds as the disk wants.
        """
        name = f"test_{uuid4().hex}"
        with psycopg.connect(
            host=str(self._folder), user="llava", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        options = f"options=-csearch_path%3D{name}"
        return f"postgresql+psycopg://llava@/postgres?host={self._folder}&{options}"


@contextmanager
def running(bin_folder: Path) -> Iterator[PostgresqlServer]:
    """Make a cluster, start its server, and remove both at the end."""
    # Not below pytest's own folder: nobody but its user may look into that one.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    user = "postgres" if os.geteuid() == 0 else None
    try:
        if user is not None:
            account = pwd.getpwnam(user)
            os.chown(folder, account.pw_uid, account.pw_gid)
        cluster = str(folder / "cluster")
        subprocess.run(
            [bin_folder / "initdb", "-D", cluster, "-U", "llava", "--auth=trust",
             "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"],
            check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        log = (folder / "log").open("wb")
        server = subprocess.Popen(
            [bin_folder / "postgres", "-D", cluster, "-k", str(folder),
             "-c", "listen_addresses=", "-c", "max_connections=60",
             "-c", "fsync=off"],  # tests kill who writes to it; none cuts its power
            user=user, cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
        log.close()
        try:
            _wait_for(folder, server)
            yield PostgresqlServer(folder)
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing of it is needed any more
            server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(folder: Path, server: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            psycopg.connect(host=str(folder), user="llava", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError((folder / "log").read_text(errors="replace")) from None
            time.sleep(0.05)
