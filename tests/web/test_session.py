"""A browser is known by its own signed cookie, and by nothing that somebody else could send."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import pytest
from hypothesis import given, strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from llava_chat.web.session import (
    COOKIE_NAME,
    SessionError,
    SessionMiddleware,
    Sessions,
    read_cookie,
)

SESSIONS = Sessions(b"a key that only this test knows..")


def client(*, embedded: bool = False, url: str = "http://testserver") -> TestClient:
    def owner(request: Request) -> Response:
        return PlainTextResponse(SESSIONS.owner_of(request))

    async def hello(request: Request) -> Response:
        return PlainTextResponse("hello")

    app = Starlette(
        routes=[Route("/", hello), Route("/owner", owner), Route("/healthz", hello)],
        middleware=[Middleware(SessionMiddleware, sessions=SESSIONS, embedded=embedded)],
    )
    return TestClient(app, base_url=url)


def test_a_visit_gets_a_cookie_that_scripts_cannot_read() -> None:
    answer = client().get("/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE_NAME}=")
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Secure" not in cookie
    assert answer.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("url", "headers"),
    [("https://testserver", {}), ("http://testserver", {"x-forwarded-proto": "https"})],
)
def test_over_https_the_cookie_is_secure(url: str, headers: dict[str, str]) -> None:
    cookie = client(url=url).get("/", headers=headers).headers["set-cookie"]
    assert "; Secure" in cookie


def test_in_the_frame_of_a_space_the_cookie_belongs_to_that_frame() -> None:
    cookie = client(embedded=True).get("/").headers["set-cookie"]
    assert cookie.endswith("SameSite=None; Secure; Partitioned")


def test_the_same_browser_keeps_its_owner_and_another_has_another() -> None:
    first, second = client(), client()
    owners = []
    for browser in (first, first, second):
        browser.get("/")
        owners.append(browser.get("/owner").text)
    assert owners[0] == owners[1] != owners[2]
    assert len(owners[0]) == 64


def test_only_where_a_visit_begins_is_a_session_made() -> None:
    assert "set-cookie" not in client().get("/healthz").headers


def test_a_forged_cookie_is_replaced_at_the_next_visit() -> None:
    browser = client()
    browser.cookies.set(COOKIE_NAME, "forged.forged")
    assert browser.get("/").headers["set-cookie"].partition("=")[2][:6] != "forged"


def test_without_a_cookie_nobody_is_anybody() -> None:
    with pytest.raises(SessionError, match="Allow cookies"):
        SESSIONS.owner_of(Request({"type": "http", "headers": []}))
    with pytest.raises(SessionError, match="Allow cookies"):
        SESSIONS.owner_of(None)


@given(st.text())
def test_no_text_is_taken_for_a_session(forged: str) -> None:
    with pytest.raises(SessionError):
        SESSIONS.owner_of(SimpleNamespace(cookies={COOKIE_NAME: forged}))


def test_a_changed_cookie_or_another_servers_is_refused() -> None:
    cookie = SESSIONS.new_cookie()
    token, _, signature = cookie.partition(".")
    other = Sessions(b"another server's key............")
    forged = [
        other.new_cookie(),
        token,
        f"{token}.",
        f".{signature}",
        f"{token}x.{signature}",
        f"{signature}.{token}",
        cookie.swapcase(),
        SESSIONS.owner_of_cookie(cookie),
    ]
    assert [SESSIONS.owner_of_cookie(one) for one in forged] == [None] * len(forged)


def test_a_request_that_was_sent_to_another_process_still_proves_its_owner() -> None:
    """ZeroGPU pickles gr.Request: its cookies are then a dictionary in an object of Gradio's."""
    cookie = SESSIONS.new_cookie()
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "server": ("testserver", 80),
        "client": ("127.0.0.1", 1),
        "headers": [(b"cookie", f"{COOKIE_NAME}={cookie}".encode())],
    }
    there = gr.Request(request=Request(scope))
    here = gr.Request()
    here.__setstate__(there.__getstate__())
    assert SESSIONS.owner_of(here) == SESSIONS.owner_of_cookie(cookie)


@pytest.mark.parametrize("header", ["", ";;;", "a=b", "\x00", "x" * 10_000, '="'])
def test_a_broken_cookie_header_is_no_session(header: str) -> None:
    assert read_cookie(header) is None
