"""Where a server has the model, the page and the command line load no torch at all."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.engine.remote.conftest import MakeServer

ROOT = Path(__file__).resolve().parents[3]
CHAT = """
import sys
from llava_chat.__main__ import main
code = main(sys.argv[1:])
print(code, "torch" in sys.modules)
"""
SERVE = """
import os, signal, sys, threading, time, urllib.request
from llava_chat.__main__ import main

def stop_when_it_answers(address):
    while True:
        try:
            urllib.request.urlopen(address).close()
            break
        except OSError:
            time.sleep(0.05)
    from gradio_client import Client
    print(Client(address, verbose=False).predict("Hello", api_name="/chat")[0])
    os.kill(os.getpid(), signal.SIGTERM)

port = sys.argv[sys.argv.index("--port") + 1]
address = f"http://127.0.0.1:{port}/"
threading.Thread(target=stop_when_it_answers, args=(address,), daemon=True).start()
code = main(sys.argv[1:])
print(code, "torch" in sys.modules)
"""


def said(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env={**os.environ, "LLAVA_CHAT_ENGINE_KEY": "sk-key"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "sk-key" not in done.stdout + done.stderr
    return done.stdout


def test_the_command_line_loads_none(make_server: MakeServer) -> None:
    server = make_server()
    options = ["--engine", "remote", "--engine-url", server.url]
    assert said(CHAT, "chat", *options, "--message", "Hi") == "Hello there.\n0 False\n"
    assert server.heard[0].headers["authorization"] == "Bearer sk-key"


def test_the_page_loads_none(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = ["--engine", "remote", "--engine-url", server.url, "--port", port]
    told = said(SERVE, "serve", *options, "--data-dir", str(tmp_path / "data"))
    assert "tiny answers at" in told and "Hello there." in told
    assert told.endswith("0 False\n")
