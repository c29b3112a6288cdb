"""A server in a process of its own on a disk that is new each time, with a Hub of our own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from llava_chat.feedback import Rating
from llava_chat.settings import Settings
from llava_chat.store import ConversationStore, Message, ReplyRecord
from llava_chat.web.outside import Outside
from llava_chat.web.session import COOKIE_NAME, Sessions
from tests.databases import record, red
from tests.feedback.conftest import begin_talk, new_id
from tests.feedback.dataset.conftest import NAME, Begin, hub, space
from tests.feedback.dataset.hub_server import TOKEN, Hub
from tests.web.test_launch import HELD, ROOT, port

__all__ = ["hub", "port", "record", "red", "space"]
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
SECRET = "the same at every start of a Space"
SESSIONS = Sessions(SECRET.encode())
ANN, BOB = SESSIONS.new_cookie(), SESSIONS.new_cookie()


@pytest.fixture
def said(space: Begin, record: ReplyRecord) -> dict[str, Message]:
    """By cookie the reply that each of two people said something of, on a Space that is gone."""
    first = space()
    replies = {}
    for cookie, text in ((ANN, "Ann's own question"), (BOB, "Bob's own question")):
        owner = str(SESSIONS.owner_of_cookie(cookie))
        first.feedback.decide(owner, True)
        talk = begin_talk(first.store, owner, record, text=text)
        first.feedback.rate(owner, talk.id, talk.reply.id, Rating(new_id(), True))
        replies[cookie] = talk.reply
    first.end()
    return replies


@pytest.fixture
def server(
    hub: Hub, said: dict[str, Message], tmp_path: Path, port: int
) -> Iterator[subprocess.Popen[str]]:
    variables = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
        "LLAVA_CHAT_SECRET": SECRET,
        "LLAVA_CHAT_PORT": str(port),
        "LLAVA_CHAT_DATA_DIR": str(tmp_path / "new"),
        "LLAVA_CHAT_FEEDBACK_DATASET": NAME,
        "LLAVA_CHAT_FEEDBACK_PUSH_MINUTES": "600",
        "SPACE_ID": "ann/chat",
    }
    command = [sys.executable, "-c", HELD]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    server = subprocess.Popen(command, cwd=ROOT, env=variables, **pipes)
    yield server
    server.kill()
    server.communicate()


def test_people_find_theirs_again_and_the_last_word_is_pushed_at_the_end(
    server: subprocess.Popen[str], hub: Hub, said: dict[str, Message], port: int
) -> None:
    assert server.stdout is not None
    assert "The page is at" in server.stdout.readline()
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:

        def ask(cookie: str, path: str, body: Any = None) -> dict[str, Any]:
            headers = {"cookie": f"{COOKIE_NAME}={cookie}"}
            if body is None:
                answer = client.get(f"/feedback/{path}", headers=headers)
            else:
                answer = client.post(f"/feedback/{path}", headers=headers, json=body)
            assert answer.status_code == 200, answer.text
            told: dict[str, Any] = answer.json()
            return told

        while "being read in" in ask(BOB, "consent")["loss"]:
            time.sleep(0.05)
        told = ask(BOB, "consent")
        assert told["keep"] is True
        assert "last 600 minutes may be lost when this Space restarts" in told["loss"]
        assert len(ask(BOB, "mine.json")["ratings"]) == 1

        ask(ANN, "delete", {"everything": True})
        while b"Ann's own question" in hub.datasets[NAME].everything():
            time.sleep(0.05)  # pushed at once, not after 600 minutes

        place = {"conversation": said[BOB].conversation_id, "message": said[BOB].id}
        ask(BOB, "correct", {**place, "id": new_id(), "text": "Bob's last word"})
        assert b"Bob's last word" not in hub.datasets[NAME].everything()
    server.send_signal(signal.SIGTERM)
    _, errors = server.communicate(timeout=30)
    assert server.returncode == 0
    assert "Traceback" not in errors
    assert b"Bob's last word" in hub.datasets[NAME].everything()


def test_a_hub_that_never_answers_does_not_hold_the_end_up(
    server: subprocess.Popen[str], hub: Hub, port: int
) -> None:
    hub.gate.clear()
    assert server.stdout is not None
    assert "The page is at" in server.stdout.readline()
    answer = httpx2.post(
        f"http://127.0.0.1:{port}/feedback/delete",
        headers={"cookie": f"{COOKIE_NAME}={ANN}"},
        json={"everything": True},
    )
    assert answer.status_code == 503
    assert "still being read in" in answer.json()["error"]
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=30)  # half a push's own timeout
    assert server.returncode == 0


@pytest.mark.parametrize(
    ("space_id", "database_url", "told"),
    [(None, None, False), ("ann/chat", None, True), ("ann/chat", "postgresql://db/chat", False)],
)
def test_without_a_dataset_a_space_says_that_its_disk_is_lost(
    space_id: str | None,
    database_url: str | None,
    told: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    if space_id is not None:
        monkeypatch.setenv("SPACE_ID", space_id)
    store = ConversationStore.open(f"sqlite:///{tmp_path}/chat.db", tmp_path)
    outside = Outside.of(Settings(database_url=database_url), store)
    assert (outside.loss is not None) == told
    assert outside.close(0)
    store.close()
