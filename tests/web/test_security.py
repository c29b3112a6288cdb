"""What the server refuses of a raw request, and what it tells browsers to refuse."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from gradio_client import Client
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from llava_chat.errors import PictureError
from llava_chat.web.guard import MIN_FREE_BYTES, RequestGuard
from llava_chat.web.security import SecurityHeaders, refuse_foreign_paths
from llava_chat.web.session import COOKIE_NAME, Sessions

SESSIONS = Sessions(b"a key that only this test knows..")


def answers(*, on_space: bool = False) -> TestClient:
    """A server with both kinds of middleware, which gives back what it was sent."""

    async def page(request: Request) -> Response:
        return HTMLResponse("<html><script>inline()</script><script src=x></script></html>")

    async def echo(request: Request) -> Response:
        return Response(await request.body(), media_type="application/json")

    app = Starlette(
        routes=[Route("/", page), Route("/{path:path}", echo, methods=["GET", "POST"])],
        middleware=[
            Middleware(SecurityHeaders, on_space=on_space),
            Middleware(
                RequestGuard,
                sessions=SESSIONS,
                max_json_bytes=1000,
                max_upload_bytes=5000,
                uploads=Path("."),
            ),
        ],
    )
    return TestClient(app)


def policy(answer: Any) -> dict[str, list[str]]:
    parts = (part.split() for part in answer.headers["content-security-policy"].split(";"))
    return {name: sources for name, *sources in parts}


def test_a_page_may_load_and_send_nothing_elsewhere() -> None:
    answer = answers().get("/")
    for name, sources in policy(answer).items():
        assert not [s for s in sources if re.match(r"https?:|\*|wss?:", s)], name
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"


def test_only_inline_scripts_that_this_server_wrote_may_run() -> None:
    scripts = policy(answers().get("/"))["script-src"]
    assert "'unsafe-inline'" not in scripts
    assert len([source for source in scripts if source.startswith("'sha256-")]) == 1


def test_only_a_space_is_shown_in_the_hubs_frame() -> None:
    assert policy(answers().get("/"))["frame-ancestors"] == ["'self'"]
    framed = policy(answers(on_space=True).get("/"))["frame-ancestors"]
    assert framed == ["'self'", "https://huggingface.co", "https://*.hf.space"]


def test_a_file_opened_by_itself_runs_nothing() -> None:
    served = policy(answers().get("/gradio_api/file=/tmp/evil.svg"))
    assert served["default-src"] == ["'none'"] and "sandbox" in served


def test_the_pages_text_is_untouched() -> None:
    text = "<html><script>inline()</script><script src=x></script></html>"
    assert answers().get("/").text == text


REMOTE = [
    "http://169.254.169.254/",
    "HTTPS://example.org/x",
    "file:///etc/passwd",
    " http://a/",
    "//169.254.169.254/x",
    "\\\\host\\share",
    "ftp://a/b",
    "data:,x",
    "gopher://a",
]


@pytest.mark.parametrize("path", REMOTE)
@pytest.mark.parametrize("wrap", [lambda f: [f], lambda f: {"a": {"b": [[f]]}}])
def test_nothing_is_fetched_for_a_caller(path: str, wrap: Callable[[Any], Any]) -> None:
    answer = answers().post("/gradio_api/queue/join", json={"data": wrap({"path": path})})
    assert answer.status_code == 403
    assert answer.json()["detail"].endswith("upload the file.")


@pytest.mark.parametrize(
    "route",
    [
        "file=https://example.org/x",
        "file=HTTP://a/",
        "file=%68ttp://a/",
        "file/https://example.org/x",
        "file/tmp/x",
        "proxy=https://a/b",
        "deep_link",
        "process_recording",
        "vibe-edit",
        "component_server",
        "run-history/records",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_neither_page_nor_client_calls_is_refused(route: str, method: str) -> None:
    assert answers().request(method, f"/gradio_api/{route}").status_code == 403


def test_uploads_leave_the_database_room(monkeypatch: pytest.MonkeyPatch) -> None:
    upload = {"content-type": "multipart/form-data; boundary=b"}
    usage = shutil.disk_usage(".")
    for free, status in ((MIN_FREE_BYTES, 200), (MIN_FREE_BYTES - 1, 507)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        answer = answers().post("/gradio_api/upload", headers=upload, content=b"x")
        assert answer.status_code == status


def test_bodies_are_held_to_their_limits() -> None:
    api = answers()
    assert api.post("/gradio_api/call/chat", json={"data": ["x" * 900]}).status_code == 200
    assert api.post("/gradio_api/call/chat", json={"data": ["x" * 1000]}).status_code == 413
    assert api.post("/gradio_api/call/chat", content=iter([b" " * 600] * 3)).status_code == 413
    upload = {"content-type": "multipart/form-data; boundary=b"}
    pieces = [b"x" * 50_000] * 2
    assert api.post("/gradio_api/upload", content=pieces[0], headers=upload).status_code == 200
    assert api.post("/gradio_api/upload", content=iter(pieces), headers=upload).status_code == 413


@pytest.mark.parametrize("body", ["{", "[" * 900, "\x00", "nonsense"])
def test_a_body_that_is_no_json_is_refused(body: str) -> None:
    assert answers().post("/gradio_api/call/chat", content=body).status_code == 422


def test_another_sites_page_cannot_call() -> None:
    api = answers()
    cross = {"sec-fetch-site": "cross-site"}
    assert api.post("/gradio_api/queue/join", json={}, headers=cross).status_code == 403
    same = {"sec-fetch-site": "same-origin"}
    assert api.post("/gradio_api/queue/join", json={}, headers=same).status_code == 200


def test_a_pages_events_go_to_its_own_session_only() -> None:
    api = answers()
    owner, stranger = SESSIONS.new_cookie(), SESSIONS.new_cookie()

    def status(method: str, url: str, cookie: str | None, **body: Any) -> int:
        headers = {"cookie": f"{COOKIE_NAME}={cookie}"} if cookie else {}
        return api.request(method, f"/gradio_api/{url}", headers=headers, **body).status_code

    join = {"json": {"session_hash": "abc"}}
    assert status("POST", "queue/join", owner, **join) == 200
    assert status("GET", "queue/data?session_hash=abc", owner) == 200
    for thief in (stranger, None, "forged.forged"):
        assert status("GET", "queue/data?session_hash=abc", thief) == 403
        assert status("GET", "heartbeat/abc", thief) == 403
        assert status("POST", "queue/join", thief, **join) == 403
        assert status("POST", "cancel", thief, **join) == 403


def test_only_uploaded_files_are_read(tmp_path: Path) -> None:
    uploads = tmp_path / "uploads"
    (uploads / "hash").mkdir(parents=True)
    inside, outside = uploads / "hash" / "cat.png", tmp_path / "secret.png"
    inside.write_bytes(b"cat")
    outside.write_bytes(b"secret")
    (uploads / "link.png").symlink_to(outside)
    assert refuse_foreign_paths(str(inside), folder=uploads) == inside.resolve()
    refused = [
        str(outside),
        f"{uploads}/../secret.png",
        str(uploads / "link.png"),
        str(uploads),
        str(uploads / "missing.png"),
        "/etc/passwd",
        "file:///etc/passwd",
        "x" * 5000,
        "/tmp/\ud800.png",
        f"{inside}\0.png",
        "",
        None,
        5,
        {"path": str(inside)},
    ]
    for path in refused:
        with pytest.raises(PictureError, match="was not uploaded here"):
            refuse_foreign_paths(path, folder=uploads)


def test_the_running_page_carries_the_policy(server: str) -> None:
    answer = httpx2.get(server)
    assert answer.status_code == 200
    assert "'unsafe-inline'" not in policy(answer)["script-src"]
    assert policy(answer)["img-src"] == ["'self'", "data:", "blob:"]


def test_the_running_server_refuses_an_upload_that_is_too_large(server: str) -> None:
    fits, too_large = b"x" * 200_000, b"x" * 200_001
    for content, status in ((fits, 200), (too_large, 413)):
        files = {"files": ("cat.png", content)}
        assert httpx2.post(f"{server}gradio_api/upload", files=files).status_code == status


def test_two_programs_do_not_share_a_session(server: str) -> None:
    cookies = {Client(server, verbose=False).cookies[COOKIE_NAME] for _ in range(2)}
    assert len(cookies) == 2
