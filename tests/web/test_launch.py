"""Starting and stopping in a process of its own: the page is there before its model is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llava_chat.model.checkpoint import Checkpoint, save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
SERVE = "import sys\nfrom llava_chat.__main__ import main\nsys.exit(main(['serve', *sys.argv[1:]]))"
# A model that is never there: `serve` as it is, but for what opens the model.
HELD = """
import threading
from llava_chat.settings import load_settings, prepare_libraries
settings = load_settings()
prepare_libraries(settings.uploads)
from llava_chat.imported import kept_for_good
with kept_for_good():
    from llava_chat.web.serving import serve
serve(settings, lambda name, report: threading.Event().wait())
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path, port: int) -> Start:
    """Run a script as the server, with its data in a folder of the test."""

    def start(script: str, *arguments: str) -> subprocess.Popen[str]:
        variables = {
            **os.environ,
            "LLAVA_CHAT_PORT": str(port),
            "LLAVA_CHAT_DATA_DIR": str(tmp_path / "data"),
            "PYTHONUNBUFFERED": "1",
        }
        return subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            cwd=ROOT,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def folder(tmp_path: Path, random_checkpoint: Callable[..., Checkpoint]) -> Path:
    """A checkpoint on disk."""
    save_checkpoint(random_checkpoint(), tmp_path / "tiny")
    return tmp_path / "tiny"


def test_the_page_is_there_while_the_model_loads_and_stops_when_told(
    start: Start, port: int
) -> None:
    server = start(HELD)
    assert server.stdout is not None
    address = f"http://127.0.0.1:{port}"
    assert server.stdout.readline() == f"The page is at {address}; scenes is loading\n"
    with urllib.request.urlopen(address, timeout=60) as page:
        assert page.status == 200
    server.send_signal(signal.SIGTERM)
    said, told = server.communicate(timeout=60)
    assert (server.returncode, said) == (0, "")
    assert "Traceback" not in told


def test_a_model_that_answers_is_announced_once(start: Start, port: int, folder: Path) -> None:
    server = start(SERVE, "--model", str(folder))
    assert server.stdout is not None
    said = server.stdout.readline()
    if "is loading" in said:
        said = server.stdout.readline()
    assert said == f"tiny answers at http://127.0.0.1:{port} (Ctrl-C stops it)\n"
    room = server.stdout.readline()
    assert room.endswith(
        "16 conversations of 1,024 tokens, as many of which are answered at once\n"
    )
    server.send_signal(signal.SIGTERM)
    said, told = server.communicate(timeout=60)
    assert (server.returncode, said) == (0, "")
    assert told == "Stopping: replies that are being written are kept.\n"


def test_what_only_the_weights_say_ends_the_server(start: Start, folder: Path) -> None:
    (file,) = folder.glob("*.safetensors")
    weights = load_file(file)
    name = next(name for name in weights if name.endswith("lm_head.weight"))
    weights[name] = torch.full_like(weights[name], torch.nan)
    save_file(weights, file, {"format": "pt"})
    server = start(SERVE, "--model", str(folder))
    said, told = server.communicate(timeout=60)
    assert server.returncode == 1
    assert "answers at" not in said
    assert told.startswith("llava_chat: error: ")
    assert "lm_head.weight" in told
    assert told.count("\n") == 1
