"""What a browser does when somebody sends a message on the page: an upload, a call, its events.

Imports httpx2, gradio_client (for the differences that a server sends instead of whole values) and
`llava_chat`.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
from gradio_client.utils import apply_diff

from benchmarks.ways import DEADLINE_S
from llava_chat.web.session import COOKIE_NAME

WORDS = 'class="text md"'  # of a reply in the making, on the page


@dataclass(frozen=True)
class Seen:
    """Seconds from sending until the page showed first words, and until it showed the end."""

    first_s: float
    total_s: float


class PageClient:
    """One open page."""

    def __init__(self, url: str) -> None:
        self._http = httpx2.Client(base_url=url, timeout=DEADLINE_S, trust_env=False)
        self._http.get("/").raise_for_status()  # brings the session's cookie
        config = self._http.get("/config").raise_for_status().json()
        self._page = secrets.token_hex(8)
        parts = {part["id"]: part for part in config["components"]}
        ids = {part["props"].get("elem_id"): id for id, part in parts.items()}
        self._composer = ids["composer"]
        self._sends = next(
            event
            for event in config["dependencies"]
            if [self._composer, "submit"] in map(list, event["targets"])
        )
        self._live = self._sends["outputs"].index(ids["live"])
        self._values = {id: part["props"].get("value") for id, part in parts.items()}

    def close(self) -> None:
        """Leave."""
        self._http.close()

    @property
    def cookie(self) -> str:
        """What this browser's session is known by."""
        return str(self._http.cookies[COOKIE_NAME])

    def upload(self, picture: bytes) -> dict[str, Any]:
        """Attach a PNG, as the composer then holds it."""
        answer = self._http.post("/gradio_api/upload", files={"files": ("picture.png", picture)})
        (path,) = answer.raise_for_status().json()
        return {
            "path": path,
            "orig_name": "picture.png",
            "mime_type": "image/png",
            "meta": {"_type": "gradio.FileData"},
        }

    def say(self, text: str, *files: dict[str, Any]) -> Seen:
        """Send a message and read until its reply is there."""
        composed = {"text": text, "files": list(files)}
        values = {**self._values, self._composer: composed}
        began = time.perf_counter()
        joined = self._http.post(
            "/gradio_api/queue/join",
            json={
                "data": [values[id] for id in self._sends["inputs"]],
                "fn_index": self._sends["id"],
                "trigger_id": self._composer,
                "session_hash": self._page,
                "event_data": None,
            },
        )
        event = joined.raise_for_status().json()["event_id"]
        first_s = None
        for live in self._shown(event):
            if first_s is None and WORDS in live:
                first_s = time.perf_counter() - began
        total_s = time.perf_counter() - began
        return Seen(first_s or total_s, total_s)

    def _shown(self, event: str) -> Iterator[str]:
        """What the part of the page that shows a reply in the making holds, after each change."""
        live, begun = None, False
        query = {"session_hash": self._page}
        with self._http.stream("GET", "/gradio_api/queue/data", params=query) as answer:
            for line in answer.iter_lines():
                if not line.startswith("data:"):
                    continue
                told = json.loads(line[5:])
                if told.get("event_id") != event or "output" not in told:
                    continue
                if not told.get("success"):
                    raise SystemExit(f"the page failed: {told['output']}")
                if told["msg"] == "process_generating":
                    change = told["output"]["data"][self._live]
                    live, begun = apply_diff(live, change) if begun else change, True
                    yield str(live)
                elif told["msg"] == "process_completed":
                    return
