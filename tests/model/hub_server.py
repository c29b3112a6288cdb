"""A Hub of a test's own on this machine: the few routes that huggingface_hub needs of the real one.

Files are given with ETag, size and ranges as the Hub gives them (small ones by their git id, large
ones by their SHA-256), and every request is noted.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LARGE_BYTES = 10_000  # above it a file is kept in Git LFS, as the Hub does with binary ones


@dataclass
class Repository:
    """Files by name. sizes: claimed for a file, whatever it holds. gated: to everybody here."""

    files: dict[str, bytes]
    gated: bool = False
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def commit(self) -> str:
        names = sorted((name, digest(content)) for name, content in self.files.items())
        return hashlib.sha1(repr(names).encode()).hexdigest()

    @classmethod
    def of(cls, folder: Path) -> "Repository":
        return cls({path.name: path.read_bytes() for path in sorted(folder.iterdir())})


@dataclass
class Hub:
    """What is served and what was asked. broken: files that are answered with a server's error.

    drops: after how many bytes the connection is cut, for each time that a file is asked for.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    drops: dict[str, list[int]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)

    def forget(self) -> None:
        """Forget what was asked so far."""
        self.requests.clear()
        self.ranges.clear()
        self.sent.clear()


def digest(content: bytes) -> str:
    """The id of a file: SHA-256 for those in Git LFS, else git's own."""
    if len(content) > LARGE_BYTES:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """One request to the Hub."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.path.split("?")[0]
        self.hub.requests.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        owner, name, kind, *rest = parts[2:] if api else parts
        repository = self.hub.repositories.get(f"{owner}/{name}")
        if repository is None:
            return self._refuse(401, "RepoNotFound")
        if kind == "auth-check" or not api:
            if repository.gated:
                return self._refuse(403, "GatedRepo")
            if kind == "auth-check":
                return self._send(b"{}")
        if rest[0] not in ("main", repository.commit):
            return self._refuse(404, "RevisionNotFound")
        if api:
            listing = self._info if kind == "revision" else self._tree
            return self._send(json.dumps(listing(f"{owner}/{name}", repository)).encode())
        return self._send_file("/".join(rest[1:]), repository)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _info(self, name: str, repository: Repository) -> dict[str, Any]:
        siblings = []
        for file, content in repository.files.items():
            size = repository.sizes.get(file, len(content))
            sibling = {"rfilename": file, "size": size, "blobId": digest(content)}
            if len(content) > LARGE_BYTES:
                sibling["lfs"] = {"sha256": digest(content), "size": size, "pointerSize": 130}
            siblings.append(sibling)
        gated = "manual" if repository.gated else False
        return {"id": name, "sha": repository.commit, "gated": gated, "siblings": siblings}

    def _tree(self, _: str, repository: Repository) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": file, "size": len(content), "oid": digest(content)}
            for file, content in repository.files.items()
        ]

    def _send_file(self, name: str, repository: Repository) -> None:
        content = repository.files[name]
        if self.command == "GET" and name in self.hub.broken:
            return self._refuse(500, "")
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        if asked:
            self.hub.ranges.append(f"{name} {asked}")
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{digest(content)}"')
        self.send_header("X-Repo-Commit", repository.commit)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "GET":
            drops = self.hub.drops.get(name)
            end = start + drops.pop(0) if drops else len(content)
            self.wfile.write(content[start:end])
            self.hub.sent[name] = self.hub.sent.get(name, 0) + len(content[start:end])
            self.close_connection = end < len(content)
        return None


@contextmanager
def served() -> Iterator[Hub]:
    """A Hub that is served until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
