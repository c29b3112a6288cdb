"""Annotations and kill -9: what was acknowledged is there, once, and nothing is held for ever.

KILL_ROUNDS sets how often the writer is killed on each database, 5 by default.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from llava_chat.store import ConversationStore, Member
from llava_chat.store.annotation_schema import AnnotationRow, DraftRow, LeaseRow
from tests.feedback.annotation.conftest import Site, rows

ROUNDS = int(os.environ.get("KILL_ROUNDS", "5"))

# Imports once and forks a writer for every line that it reads, as the one of feedback does.
NURSERY = """
import os, sys
from pathlib import Path
from uuid import uuid4
from llava_chat.feedback.annotation import Annotation
from llava_chat.store import ConversationStore, Member

def write(project):
    store = ConversationStore.open(sys.argv[1], Path(sys.argv[2]))
    annotation, ann = Annotation.of(store), Member("ann")
    def say(*words):
        os.write(1, (" ".join(words) + chr(10)).encode())
    say("writer", str(os.getpid()))
    while True:
        given, _ = annotation.next(ann, project)
        item = given.item.item.id
        say("leases", item, "-")
        id = uuid4().hex
        annotation.draft(ann, item, {"better": id}, 1)
        say("drafts", item, id)
        annotation.submit(ann, item, id, {"good": 3, "better": id}, 1)
        say("annotations", item, id)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        write(line.strip())
    os.waitpid(child, 0)
    os.write(1, b"killed" + bytes([10]))
"""


@pytest.fixture
def nursery(database_url: str, database_file: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", NURSERY, database_url, str(database_file.parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdin is not None and process.stdout is not None
    yield process
    process.stdin.close()
    process.wait()
    process.stdout.close()


def _kill_a_writer(
    nursery: subprocess.Popen[str], project: str, draw: random.Random
) -> list[list[str]]:
    """Let one work for a moment; what it had acknowledged when it was killed: kind, item, id."""
    assert nursery.stdin is not None and nursery.stdout is not None
    nursery.stdin.write(project + "\n")
    nursery.stdin.flush()
    writer = int(nursery.stdout.readline().removeprefix("writer "))
    acknowledged = [nursery.stdout.readline() for _ in range(draw.randrange(1, 12))]
    time.sleep(draw.random() * 0.01)  # anywhere within what it does next
    os.kill(writer, signal.SIGKILL)
    while (line := nursery.stdout.readline()) != "killed\n":
        acknowledged.append(line)
    return [line.split() for line in acknowledged]


def _check(store: ConversationStore, acknowledged: list[list[str]]) -> None:
    """Everything is there once; whatever is held or begun is what comes next."""
    with store.database.read() as session:
        kept = {row.item_id: row for row in session.scalars(select(AnnotationRow))}
        leases = [row.item_id for row in session.scalars(select(LeaseRow))]
        drafts = [row.item_id for row in session.scalars(select(DraftRow))]
        assert len(session.scalars(select(AnnotationRow)).all()) == len(kept)
    for kind, item, id in acknowledged:
        if kind == "annotations":
            assert (kept[item].id, kept[item].values) == (id, {"good": 3, "better": id})
        else:
            assert item in leases or item in kept
    assert len(leases) <= 1 and set(drafts) <= set(leases)
    assert kept.keys().isdisjoint(leases)


def test_kill_9_loses_nothing_that_was_acknowledged(
    site: Site,
    open_site: Callable[[], Site],
    nursery: subprocess.Popen[str],
    database_file: Path,
    backend: str,
) -> None:
    draw = random.Random(7)
    project = site.project(overlap=2)
    site.add(project, rows(20 * ROUNDS + 40))
    site.people("ann")
    acknowledged: list[list[str]] = []
    for _ in range(ROUNDS):
        acknowledged += _kill_a_writer(nursery, project, draw)
        again = open_site()
        _check(again.store, acknowledged)
        again.store.close()
        # And the answer that was on its way can be sent again.
        kind, item, id = acknowledged[-1]
        if kind != "leases":
            values = {"good": 3, "better": id}
            site.annotation.submit(Member("ann"), item, id, values, 1)
            acknowledged.append(["annotations", item, id])
        _check(site.store, acknowledged)
    assert sum(kind == "annotations" for kind, _, _ in acknowledged) >= ROUNDS
    if backend == "sqlite":
        connection = sqlite3.connect(database_file)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()
