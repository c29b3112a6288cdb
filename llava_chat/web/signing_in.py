"""How people say who they are: not at all, by a name and a password, or by Hugging Face.

Gradio has the forms and the cookies: `auth=` of `launch`, whose names are known until the server
ends, and the routes that a gr.LoginButton brings. This tells the name behind a request, Gradio's or
one of our own routes', and keeps passwords from being found by trying. A request is a `gr.Request`
or a Starlette one; no gradio is imported, only accounts, errors and settings.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from llava_chat.accounts import AccountFile, Role
from llava_chat.errors import LlavaChatError
from llava_chat.settings import Settings

TRIES_PER_MINUTE = 10  # of one address
MAX_FORM_BYTES = 16 * 1024

_log = logging.getLogger(__name__)


class SignIn(Protocol):
    """kind: what makes names of one way other people than those of another. wanted: whether who
    has not signed in may do nothing at all."""

    kind: str
    wanted: bool

    def name_of(self, request: Any) -> str | None:
        """Who has signed in, None for nobody."""

    def role_of(self, name: str) -> Role:
        """What the way of signing in itself says of somebody."""


class NoSignIn:
    """Nobody has a name."""

    kind, wanted = "none", False

    def name_of(self, request: Any) -> str | None:
        """None."""
        return None

    def role_of(self, name: str) -> Role:
        """That of anybody."""
        return "annotator"


class ByPassword:
    """The people of a file, by Gradio's own form before the page."""

    kind, wanted = "people", True

    def __init__(self, accounts: AccountFile) -> None:
        self._accounts = accounts

    async def check(self, name: str, password: str) -> bool:
        """For `launch(auth=...)`: it takes a while, in which the loop has to serve everybody."""
        try:
            return await run_in_threadpool(self._accounts.signs_in, name, password)
        except LlavaChatError as error:
            _log.warning("nobody can sign in: %s", error)
            return False

    def name_of(self, request: Any) -> str | None:
        """Whoever signed in, as long as the file names them."""
        name = _gradio_name(request)
        try:
            return name if name and self._accounts.role_of(name) else None
        except LlavaChatError as error:
            _log.warning("nobody is known any more: %s", error)
            return None

    def role_of(self, name: str) -> Role:
        """As in the file."""
        return self._accounts.role_of(name) or "annotator"


class ByHuggingFace:
    """Accounts of huggingface.co, on a Space with `hf_oauth: true`; others may still chat."""

    kind, wanted = "hugging-face", False

    def name_of(self, request: Any) -> str | None:
        """The account's name, until what Hugging Face said of it is out of date."""
        scope = getattr(getattr(request, "request", None) or request, "scope", {})
        told = scope.get("session", {}).get("oauth_info")
        if not isinstance(told, dict) or (told.get("expires_at") or 0) < time.time():
            return None
        name = told.get("userinfo", {}).get("preferred_username")
        return name if isinstance(name, str) and name else None

    def role_of(self, name: str) -> Role:
        """That of anybody."""
        return "annotator"


def sign_in_of(settings: Settings) -> SignIn:
    """As the settings say. Raises LlavaChatError where nobody could sign in."""
    if settings.sign_in == "hugging-face":
        return ByHuggingFace()
    if settings.sign_in == "none":
        return NoSignIn()
    accounts = AccountFile(settings.accounts)
    if not accounts.accounts():
        raise LlavaChatError(
            f"nobody may sign in yet: {settings.accounts} names nobody. Add people with "
            "`python -m llava_chat people add NAME --role host`"
        )
    return ByPassword(accounts)


def _gradio_name(request: Any) -> str | None:
    """Who signed in by Gradio's form: it tells its own handlers, and nobody else."""
    if hasattr(request, "username"):
        name: str | None = request.username
        return name
    app = request.scope.get("app")
    cookies, id = request.cookies, getattr(app, "cookie_id", None)
    token = cookies.get(f"access-token-{id}") or cookies.get(f"access-token-unsecure-{id}")
    found: str | None = getattr(app, "tokens", {}).get(token)
    return found


class SignInGuard:
    """ASGI middleware before Gradio's form: so many tries a minute from one address, of this page.

    address_of: a hash of where a request comes from.
    """

    def __init__(self, app: ASGIApp, address_of: Callable[[Request], str]) -> None:
        self._app = app
        self._address_of = address_of
        self._tries = MovingWindowRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerMinute(TRIES_PER_MINUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless it is one try too many."""
        signs_in = scope["type"] == "http" and scope["path"].rstrip("/") == "/login"
        refusal = self._refusal(scope) if signs_in and scope["method"] == "POST" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return JSONResponse({"detail": "Only the page itself may say this."}, status_code=403)
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > MAX_FORM_BYTES:
            return JSONResponse({"detail": "This form is too long."}, status_code=413)
        if not self._tries.hit(self._limit, self._address_of(Request(scope))):
            sentence = "Too many tries. Wait a minute and try again."
            headers_out = {"retry-after": "60"}
            return JSONResponse({"detail": sentence}, status_code=429, headers=headers_out)
        return None
