"""A Hub of a test's own on this machine: the few routes that huggingface_hub needs of the real one.

Files are given with ETag, size and ranges as the Hub gives them (small ones by their git id, large
ones by their SHA-256), and every request is noted.
"""

import hashlib
import json
import socket
import struct
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

    drops: after how many bytes the connection is cut, for each time that a file is asked for. gate:
    what a cut waits for. resets: files whose connection is not closed then, but reset. rangeless:
    files that are given whole, whatever range is asked for. content: what is sent in place of a
    file's own. cdn: a server that large files are fetched from, by a redirect. tokens: what came as
    Authorization with the requests for files.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    drops: dict[str, list[int]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    gate: threading.Event = field(default_factory=threading.Event)
    resets: set[str] = field(default_factory=set)
    rangeless: set[str] = field(default_factory=set)
    content: dict[str, bytes] = field(default_factory=dict)
    cdn: str = ""
    tokens: set[str | None] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.gate.set()

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
        if len(parts) < 3:  # not about a repository
            return self._refuse(404, "")
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
        own = repository.files[name]
        self.hub.tokens.add(self.headers.get("Authorization"))
        if self.command == "GET" and name in self.hub.broken:
            return self._refuse(500, "")
        if self.hub.cdn and len(own) > LARGE_BYTES:
            return self._redirect(own, repository)
        content = self.hub.content.get(name, own)
        asked = self.headers.get("Range", "")
        if asked:
            self.hub.ranges.append(f"{name} {asked}")
        ranged = bool(asked) and name not in self.hub.rangeless
        start = int(asked.removeprefix("bytes=").split("-")[0]) if ranged else 0
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{digest(own)}"')
        self.send_header("X-Repo-Commit", repository.commit)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "GET":
            self._send_content(name, content, start)
        return None

    def _redirect(self, content: bytes, repository: Repository) -> None:
        self.send_response(302)
        self.send_header("Location", self.hub.cdn + self.path)
        self.send_header("X-Linked-Etag", f'"{digest(content)}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("X-Repo-Commit", repository.commit)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_content(self, name: str, content: bytes, start: int) -> None:
        drops = self.hub.drops.get(name)
        end = start + drops.pop(0) if drops else len(content)
        self.wfile.write(content[start:end])
        self.hub.sent[name] = self.hub.sent.get(name, 0) + len(content[start:end])
        if end < len(content):
            self.hub.gate.wait()
            self.close_connection = True
            if name in self.hub.resets:
                self._reset()

    def _reset(self) -> None:
        on, seconds = 1, 0
        linger = struct.pack("ii", on, seconds)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.rfile.close()  # as long as this is open, so is the connection
        self.connection.close()


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
