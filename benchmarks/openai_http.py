"""Servers that speak OpenAI's HTTP: one reply over server-sent events, and `transformers serve`.

Imports httpx2, transformers and `llava_chat`.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx2
import torch
from transformers.utils.import_utils import is_serve_available

from benchmarks.ways import DEADLINE_S, Timing
from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.local.passing import in_passing
from llava_chat.image import Picture, png_bytes
from llava_chat.model.checkpoint import Checkpoint, save_checkpoint

START_S = 300.0
NOT_SERVED = "`transformers serve` was not measured: pip install 'transformers[serving]'"


@dataclass(frozen=True)
class OpenAIServer:
    """A server at `url`, to be asked for `model`. more: further fields of every request."""

    url: str
    model: str
    more: Mapping[str, Any] = field(default_factory=dict)
    _client: httpx2.Client = field(
        default_factory=lambda: httpx2.Client(timeout=DEADLINE_S, trust_env=False)
    )

    def close(self) -> None:
        """Let go of its connections."""
        self._client.close()

    def reply(self, conversation: Conversation, max_new_tokens: int) -> Timing:
        """A greedy reply, streamed. Ends the program when the server refuses."""
        body = {
            "model": self.model,
            "messages": messages(conversation),
            "stream": True,
            "temperature": 0,
            "max_tokens": max_new_tokens,
            **self.more,
        }
        words: list[str] = []
        times: list[float] = []
        usage: Mapping[str, int] = {}
        began = time.perf_counter()
        with self._client.stream("POST", f"{self.url}/v1/chat/completions", json=body) as answer:
            if answer.is_error:
                raise SystemExit(f"{self.url}: {answer.status_code} {answer.read().decode()}")
            for chunk in _chunks(answer.iter_lines()):
                usage = chunk.get("usage") or usage
                for choice in chunk.get("choices", ()):
                    if content := choice["delta"].get("content"):
                        times.append(time.perf_counter() - began)
                        words.append(content)
        tokens = usage.get("completion_tokens", len(words))
        first_s, last_s = (times[0], times[-1]) if times else [time.perf_counter() - began] * 2
        return Timing(
            first_s, last_s, tokens, "".join(words), prompt_tokens=usage.get("prompt_tokens", 0)
        )


def _chunks(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("data:") and (data := line[5:].strip()) != "[DONE]":
            chunk = json.loads(data, strict=False)  # an error of theirs may hold a line break
            if "error" in chunk:
                raise SystemExit(f"the server failed: {chunk['error']}")
            yield chunk


def messages(conversation: Conversation) -> list[dict[str, Any]]:
    """A conversation as OpenAI's API has it, the pictures within."""
    return [_message(turn) for turn in conversation.turns]


def _message(turn: Turn) -> dict[str, Any]:
    pictures = [
        {"type": "image_url", "image_url": {"url": data_url(picture)}} for picture in turn.images
    ]
    return {"role": turn.role, "content": [*pictures, {"type": "text", "text": turn.text}]}


@lru_cache(maxsize=64)  # encoding is no part of what is measured
def data_url(picture: Picture) -> str:
    """The picture in a URL, without loss."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(picture)).decode()


def free_port() -> int:
    """A port of this machine that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server at `url` answers with 200. Ends the program when it does not."""
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        try:
            if httpx2.get(url, timeout=START_S, trust_env=False).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.2)
    raise SystemExit(f"the server did not start: {log.read_text(encoding='utf-8')[-2000:]}")


@contextmanager
def server_process(
    command: list[str], health_url: str, cwd: Path | None = None, **variables: str
) -> Iterator[None]:
    """Run a server with as many threads as this process has, until the block ends."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "HF_HUB_OFFLINE": "1",
        **variables,
    }
    with tempfile.TemporaryDirectory(prefix="llava-server-") as name:
        log = Path(name) / "server.log"
        with log.open("wb") as said:
            process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=said, stderr=said)
        try:
            wait_for(health_url, process, log)
            yield
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def transformers_serve(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
) -> Iterator[OpenAIServer | None]:
    """`transformers serve` on the same weights, loaded once; None where it is not installed."""
    if not is_serve_available():
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="llava-served-") as folder:
        in_passing(save_checkpoint, checkpoint, folder, dtype=dtype)
        port = free_port()
        command = [
            *(sys.executable, "-m", "transformers.cli.transformers", "serve", folder),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--device", str(device), "--dtype", str(dtype).removeprefix("torch.")),
        ]
        url = f"http://127.0.0.1:{port}"
        with (
            server_process(command, f"{url}/health"),
            closing(OpenAIServer(url, folder)) as server,
        ):
            yield server
