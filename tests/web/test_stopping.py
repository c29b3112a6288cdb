"""SIGTERM while much is going on: everybody hears the end, and what was written is kept."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.client import Job
from gradio_client.exceptions import AppError

from llava_chat.model.checkpoint import Checkpoint, save_checkpoint
from llava_chat.store import ConversationStore
from llava_chat.web.session import COOKIE_NAME, Sessions

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a key that only these tests know"
PATIENCE_S = 120  # a guard against waiting for ever
# More than any grace lasts: 4,000 tokens of a deep model, at some milliseconds each.
LONG, DEEP, CONTEXT = 4000, 16, 8192


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, random_checkpoint: Any) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    checkpoint: Checkpoint = random_checkpoint(CONTEXT, layers=DEEP)
    save_checkpoint(checkpoint, folder)
    return folder


@pytest.fixture
def start(tmp_path: Path) -> Any:
    """Start the server on its own model or another; it comes with its address once it answers."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> tuple[subprocess.Popen[str], str]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        data = ("--port", str(port), "--data-dir", str(tmp_path / "data"))
        server = subprocess.Popen(
            [sys.executable, "-m", "llava_chat", "serve", *data, *options],
            cwd=ROOT,
            env={**os.environ, "LLAVA_CHAT_SECRET": SECRET},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(server)
        address = f"http://127.0.0.1:{port}/"
        until(lambda: status(f"{address}readyz") == 200)
        return server, address

    yield start
    for server in started:
        if server.poll() is None:
            server.kill()
            server.communicate()


def status(url: str) -> int | None:
    """The status of an answer, None where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code
    except (OSError, http.client.HTTPException):
        return None


def metrics(address: str) -> str:
    with urllib.request.urlopen(f"{address}metrics", timeout=PATIENCE_S) as answer:
        return str(answer.read(), "utf-8")


def until(happened: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def ended(server: subprocess.Popen[str]) -> None:
    """It has ended as it should, and said nothing but that."""
    said = server.communicate(timeout=PATIENCE_S)
    assert server.returncode == 0, said
    assert said[1].splitlines() == ["Stopping: replies that are being written are kept."]


def kept(folder: Path, client: Client) -> list[str]:
    """The finish of every reply that the client's session has, in no order."""
    owner = Sessions(SECRET.encode()).owner_of_cookie(client.cookies[COOKIE_NAME])
    assert owner is not None
    store = ConversationStore.open(
        f"sqlite:///{folder / 'data' / 'llava_chat.db'}", folder / "data"
    )
    paths = [store.load(owner, one.id).path for one in store.list(owner)]
    store.close()
    return [str(path[-1].finish) if path[-1].role == "assistant" else "none" for path in paths]


def no_words(job: Job) -> bool:
    """It has an end without a word: none, or the sentence where it was about to begin to wait."""
    try:
        return bool(job.result(timeout=PATIENCE_S)[0] == "")
    except AppError as error:
        return "The server is stopping" in str(error)


def test_replies_that_run_and_wait_all_have_an_end(start: Any, model: Path, tmp_path: Path) -> None:
    server, address = start("--model", str(model), "--slots", "1", "--max-new-tokens", str(LONG))
    clients = [Client(address, verbose=False) for _ in range(3)]
    first = clients[0].submit("Talk", [], api_name="/chat")
    until(lambda: first.outputs())
    waiting = [client.submit("And I?", [], api_name="/chat") for client in clients[1:]]
    until(lambda: "llava_chat_replies_waiting 2.0" in metrics(address))
    with socket.create_connection(("127.0.0.1", int(address.split(":")[2][:-1]))) as scrape:
        scrape.sendall(b"GET /metrics HTTP/1.1\r\n")  # and never says the rest
        server.send_signal(signal.SIGTERM)
        until(lambda: status(f"{address}readyz") != 200)
        words, _ = first.result(timeout=PATIENCE_S)
        assert all(no_words(job) for job in waiting)
        ended(server)
    assert words
    assert [kept(tmp_path, client) for client in clients] == [["cancelled"], ["none"], ["none"]]


STUCK = """
import threading, time
from llava_chat.web.ending import ending_within
told = threading.Event()
with ending_within({limit_s}, told):
    told.set()
    time.sleep({work_s})
print("at its end")
"""


@pytest.mark.parametrize(("limit_s", "work_s", "said"), [(0.1, 60, ""), (60, 0, "at its end\n")])
def test_an_end_that_takes_too_long_is_cut_short(limit_s: float, work_s: float, said: str) -> None:
    program = STUCK.format(limit_s=limit_s, work_s=work_s)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stdout) == (0, said), done.stderr


def test_a_short_reply_ends_by_itself(start: Any, tmp_path: Path) -> None:
    server, address = start("--temperature", "0")
    client = Client(address, verbose=False)
    job = client.submit("Hello", [], api_name="/chat")
    until(lambda: job.outputs() or job.done())
    server.send_signal(signal.SIGTERM)
    words, _ = job.result(timeout=PATIENCE_S)
    ended(server)
    assert words.endswith(".")
    assert kept(tmp_path, client) == ["stop"]
