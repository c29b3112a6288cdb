"""Feedback and kill -9: what was acknowledged is there, once.

KILL_ROUNDS sets how often the writer is killed on each database, 10 by default.
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

from llava_chat.feedback import Comparisons, Correction, Feedback, Ranking, Rating, Vote
from llava_chat.store import ConversationStore
from tests.feedback.conftest import Talk, begin_talk

ROUNDS = int(os.environ.get("KILL_ROUNDS", "10"))
OpenStore = Callable[..., ConversationStore]

# Imports once and forks a writer for every line that it reads: a start of Python takes far longer
# than what is to be interrupted. The writer says what it kept only when the method has returned.
NURSERY = """
import itertools, os, sys
from pathlib import Path
from uuid import uuid4
from llava_chat.feedback import Comparisons, Correction, Feedback, Ranking, Rating, Vote
from llava_chat.store import ConversationStore

def compare(store, comparisons):
    kept, sides = comparisons.begin("ann", "one", "two"), store.sides()
    for side in (kept.left_id, kept.right_id):
        asked = sides.add_user("ann", side, "What is it?", ())
        sides.add_reply("ann", side, asked.id, "It is.", None, "stop", None)
    return kept.id

def write(chat, asked, replies):
    store = ConversationStore.open(sys.argv[1], Path(sys.argv[2]))
    feedback, comparisons = Feedback.of(store), Comparisons.of(store)
    def say(*words):
        os.write(1, (" ".join(words) + chr(10)).encode())
    say("writer", str(os.getpid()))
    for number in itertools.count():
        id = uuid4().hex
        reply = replies[number % len(replies)]
        feedback.rate("ann", chat, reply, Rating(id, True, (), id))
        say("ratings", reply, id)
        feedback.correct("ann", chat, reply, Correction(id, id))
        say("corrections", reply, id)
        feedback.rank("ann", chat, asked, Ranking(id, replies[:2]))
        say("rankings", asked, id)
        comparison = compare(store, comparisons)
        comparisons.vote("ann", comparison, Vote(id, 1, "left"))
        say("votes", comparison, id)

for line in sys.stdin:
    chat, asked, *replies = line.split()
    child = os.fork()
    if child == 0:
        write(chat, asked, replies)
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
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None and process.stdout is not None
    yield process
    process.stdin.close()
    process.wait()
    process.stdout.close()


def _kill_a_writer(
    nursery: subprocess.Popen[str], talk: Talk, draw: random.Random
) -> list[tuple[str, str, str]]:
    """Let one write for a moment; what it had acknowledged when it was killed."""
    assert nursery.stdin is not None and nursery.stdout is not None
    told = " ".join([talk.id, talk.asked.id, *(reply.id for reply in talk.replies)])
    nursery.stdin.write(told + "\n")
    nursery.stdin.flush()
    writer = int(nursery.stdout.readline().removeprefix("writer "))
    acknowledged = []
    for _ in range(draw.randrange(12)):
        acknowledged.append(nursery.stdout.readline())
    time.sleep(draw.random() * 0.01)  # anywhere within what it does next
    os.kill(writer, signal.SIGKILL)
    while (line := nursery.stdout.readline()) != "killed\n":
        acknowledged.append(line)
    return [(kind, message, id) for kind, message, id in map(str.split, acknowledged)]


def _check(feedback: Feedback, acknowledged: list[tuple[str, str, str]]) -> None:
    """Everything is there once; of ratings the newest, which knows those before it."""
    mine = feedback.mine("ann")
    for kind in ("corrections", "rankings"):
        ids = [row["id"] for row in mine[kind]]
        assert len(set(ids)) == len(ids)
        assert {id for what, _, id in acknowledged if what == kind} <= set(ids)
    votes = [vote["id"] for one in mine["comparisons"] for vote in one["votes"]]
    assert len(set(votes)) == len(votes)
    assert {id for what, _, id in acknowledged if what == "votes"} <= set(votes)
    ratings = {row["message_id"]: row for row in mine["ratings"]}
    assert len(ratings) == len(mine["ratings"])
    newest = {message: id for what, message, id in acknowledged if what == "ratings"}
    for message, id in newest.items():
        row = ratings[message]
        assert id in (row["id"], *row["replaced_ids"][-1:])  # one more may have been committed
        assert row["comment"] == row["id"]


def test_kill_9_loses_nothing_that_was_acknowledged(
    open_store: OpenStore, nursery: subprocess.Popen[str], database_file: Path, backend: str
) -> None:
    draw = random.Random(7)
    store = open_store()
    feedback = Feedback.of(store)
    feedback.decide("ann", True)
    total = 0
    for _ in range(ROUNDS):
        talk = begin_talk(store, "ann", None, versions=3)
        acknowledged = _kill_a_writer(nursery, talk, draw)
        total += len(acknowledged)
        again = open_store()
        _check(Feedback.of(again), acknowledged)
        again.close()
        # And whatever was on its way when it was killed can be sent again.
        for kind, message, id in acknowledged[-1:]:
            if kind == "ratings":
                feedback.rate("ann", talk.id, message, Rating(id, True, (), id))
            elif kind == "corrections":
                feedback.correct("ann", talk.id, message, Correction(id, id))
            elif kind == "rankings":
                order = tuple(reply.id for reply in talk.replies[:2])
                feedback.rank("ann", talk.id, message, Ranking(id, order))
            else:
                Comparisons.of(store).vote("ann", message, Vote(id, 1, "left"))
        _check(feedback, acknowledged)
        store.delete("ann", talk.id)
    assert total > ROUNDS
    if backend == "sqlite":
        connection = sqlite3.connect(database_file)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()
