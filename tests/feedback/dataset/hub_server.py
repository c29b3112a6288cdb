"""A Hub of a test's own for one account's datasets: the routes that huggingface_hub writes by.

Repositories are made, looked at, listed, committed to (small files in the commit, pictures by Git
LFS) and squashed as the Hub does it. Downloads are those of the models' own test server.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_a_test"


@dataclass
class Dataset:
    """Its files at each commit, the newest last."""

    private: bool
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1][1]

    @property
    def commit(self) -> str:
        return self.commits[-1][0]

    def lines(self) -> list[dict[str, Any]]:
        """All lines of all journals but their headings."""
        told = [
            json.loads(line)
            for name, content in self.files.items()
            if name.endswith(".jsonl")
            for line in content.decode().splitlines()
        ]
        return [line for line in told if "schema" not in line]

    def everything(self) -> bytes:
        """All that any commit of its history still holds."""
        return b"".join(content for _, files in self.commits for content in files.values())

    def add(self, files: dict[str, bytes]) -> None:
        number = f"{id(self)} {len(self.commits)} {sorted(files)}"
        self.commits.append((hashlib.sha1(number.encode()).hexdigest(), files))


@dataclass
class Hub:
    """What is served. away: every request is answered with a server's error. token: what lets
    write. asked: methods and paths. committed: is set by each commit."""

    url: str = ""
    datasets: dict[str, Dataset] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    away: bool = False
    token: str = TOKEN
    asked: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def make(self, name: str, *, private: bool = True) -> Dataset:
        dataset = self.datasets[name] = Dataset(private)
        dataset.add({".gitattributes": b"*.png filter=lfs\n"})
        return dataset


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.path.split("?")[0]
        body = self._body()
        self.hub.gate.wait()
        self.hub.asked.append(f"{self.command} {path}")
        if self.hub.away:
            return self._refuse(520)  # which huggingface_hub does not wait and try again for
        parts = path.strip("/").split("/")
        if parts[0] == "uploads":
            self.hub.uploads[parts[1]] = body
            return self._send({})
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._refuse(401)
        if parts == ["api", "repos", "create"]:
            return self._create(json.loads(body))
        parts = parts[2:] if parts[0] == "api" else parts[1:]
        name = f"{parts[0]}/{parts[1]}".removesuffix(".git")
        dataset = self.hub.datasets.get(name)
        if dataset is None:
            return self._refuse(404, "RepoNotFound")
        rest = parts[2:]
        if not rest or rest[0] == "revision":
            told = {"id": name, "sha": dataset.commit, "private": dataset.private}
            return self._send(told)
        if rest[0] == "tree":
            return self._send([_listed(*file) for file in dataset.files.items()])
        if rest[0] == "resolve":
            return self._file(dataset, "/".join(rest[2:]))
        if rest[0] == "preupload":
            return self._send({"files": [_mode(file) for file in json.loads(body)["files"]]})
        if rest[0] == "info":
            return self._send({"transfer": "basic", "objects": self._batch(json.loads(body))})
        if rest[0] == "commit":
            return self._commit(name, dataset, [json.loads(line) for line in body.splitlines()])
        assert rest[0] == "super-squash", path
        dataset.commits[:] = dataset.commits[-1:]
        return self._send({})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        url = {"url": f"{self.hub.url}/datasets/{name}"}
        if name in self.hub.datasets:
            return self._send(url, 409)
        self.hub.make(name, private=wanted.get("visibility") == "private")
        return self._send(url)

    def _batch(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {**one, "actions": {"upload": {"href": f"{self.hub.url}/uploads/{one['oid']}"}}}
            for one in wanted["objects"]
        ]

    def _commit(self, name: str, dataset: Dataset, lines: list[dict[str, Any]]) -> None:
        files = dict(dataset.files)
        for line in lines:
            kind, value = line["key"], line["value"]
            if kind == "header" and value.get("parentCommit", dataset.commit) != dataset.commit:
                return self._refuse(412)
            if kind == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
            elif kind == "deletedFile":
                del files[value["path"]]
        dataset.add(files)
        url = f"{self.hub.url}/datasets/{name}/commit/{dataset.commit}"
        return self._send({"commitUrl": url, "commitOid": dataset.commit})

    def _file(self, dataset: Dataset, name: str) -> None:
        content = dataset.files[name]
        self.send_response(200)
        self.send_header("ETag", f'"{blob_id(content)}"')
        self.send_header("X-Repo-Commit", dataset.commit)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _refuse(self, status: int, code: str = "") -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, told: Any, status: int = 200) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _listed(name: str, content: bytes) -> dict[str, Any]:
    told = {"type": "file", "path": name, "size": len(content), "oid": blob_id(content)}
    if name.endswith(".png"):
        sha = hashlib.sha256(content).hexdigest()
        told["lfs"] = {"oid": sha, "size": len(content), "pointerSize": 130}
    return told


def _mode(file: dict[str, Any]) -> dict[str, Any]:
    mode = "lfs" if file["path"].endswith(".png") else "regular"
    return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}


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
        hub.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
