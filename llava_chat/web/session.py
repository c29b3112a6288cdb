"""Who is asking: one unguessable, signed session for each browser.

Gradio's own `session_hash` comes from the page's `Math.random()`, and a second client that sends
the same one is taken for the first. It is never proof of anything here. A browser is known by a
cookie that this server signed; what is stored with conversations is only a hash of it, so that
somebody who reads the database cannot become its owners. Imports errors only, and no gradio: a
request is anything with `cookies`, a `gr.Request` or a Starlette one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_chat.errors import LlavaChatError

COOKIE_NAME = "llava_chat_session"
TOKEN_BYTES = 32  # 256 bits: RFC 6265 section 8.4 asks for what cannot be guessed
MAX_AGE_S = 400 * 24 * 3600  # browsers keep no cookie for longer (RFC 6265bis section 5.5)

# Where a visit begins: the page itself, and what gradio_client reads first. Everything else
# (pictures, health checks, event streams) is answered without a new session.
ENTRANCES = frozenset({"/", "/config", "/config/", "/gradio_api/info", "/gradio_api/info/"})


class SessionError(LlavaChatError):
    """The request carries no session of this server, or a forged one."""


class _Request(Protocol):
    """What gr.Request and starlette.Request have in common, as far as it is needed here."""

    @property
    def cookies(self) -> Any: ...


class Owners(Protocol):
    """Tells to whom belongs what a request makes. Raises SessionError where that cannot be told."""

    def owner_of(self, request: Any) -> str: ...  # noqa: D102


class Sessions:
    """Makes and checks the tokens of one server. key: secret bytes, the same at every start.

    >>> sessions = Sessions(b"a key of 32 bytes or more........")
    >>> cookie = sessions.new_cookie()
    >>> sessions.owner_of_cookie(cookie) == sessions.owner_of_cookie(cookie)
    True
    >>> sessions.owner_of_cookie(cookie) == sessions.owner_of_cookie(sessions.new_cookie())
    False
    >>> sessions.owner_of_cookie(cookie[:-1] + "!") is None
    True
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def new_cookie(self) -> str:
        """A fresh token with its signature, as the cookie's value."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        return f"{token}.{self.sign('session', token)}"

    def owner_of_cookie(self, cookie: str | None) -> str | None:
        """The owner (64 hex digits) that a cookie's value proves, or None if it proves nothing."""
        token, dot, signature = (cookie or "").partition(".")
        if not dot or not self.signed(signature, "session", token):
            return None
        return hashlib.sha256(f"llava_chat owner\0{token}".encode()).hexdigest()

    def owner_of(self, request: _Request | None) -> str:
        """The owner (64 hex digits) behind a gr.Request or starlette Request.

        Raises SessionError when the cookie is absent or was not signed by this server.
        """
        cookie = None if request is None else dict(_mapping(request.cookies)).get(COOKIE_NAME)
        if cookie is None:
            raise SessionError(
                "This browser sends no session cookie. Allow cookies for this site and reload."
            )
        owner = self.owner_of_cookie(cookie)
        if owner is None:
            raise SessionError("This session is not known here. Reload the page to begin another.")
        return owner

    def owner_of_name(self, kind: str, name: str) -> str:
        """The owner (64 hex digits) who is whoever signed in with this name, in that way."""
        return hashlib.sha256(
            f"llava_chat owner\0{self.sign('name', kind, name)}".encode()
        ).hexdigest()

    def sign(self, *parts: str) -> str:
        """The signature of some words, in this order, as URL-safe text."""
        text = "\0".join(("llava_chat", *parts))
        mac = hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return base64.urlsafe_b64encode(mac.digest()).rstrip(b"=").decode()

    def signed(self, signature: str, *parts: str) -> bool:
        """Whether `sign(*parts)` made this signature; compared in constant time."""
        given = signature.encode("utf-8", "surrogatepass")
        return hmac.compare_digest(given, self.sign(*parts).encode())


def _mapping(cookies: Any) -> Mapping[str, str]:
    """gr.Request wraps dictionaries in an object of its own; undo that."""
    return cookies if isinstance(cookies, Mapping) else vars(cookies)


class SessionMiddleware:
    """ASGI middleware that gives every new visitor a session cookie.

    embedded: True on a Hugging Face Space, where the page lives in a frame of another site; the
    cookie must then be SameSite=None; Secure; Partitioned (CHIPS) to be sent at all.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions, *, embedded: bool = False) -> None:
        self._app = app
        self._sessions = sessions
        self._embedded = embedded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; add the cookie where a visit begins."""
        if scope["type"] != "http" or not _is_entrance(scope):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        known = read_cookie(headers.get("cookie", ""))
        if known is not None and self._sessions.owner_of_cookie(known) is not None:
            cookie = known  # set again, so that a visitor who returns does not run out of age
        else:
            cookie = self._sessions.new_cookie()
        attributes = self._attributes(scope, headers)

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.append("set-cookie", f"{COOKIE_NAME}={cookie}; {attributes}")
                answer["cache-control"] = "private, no-cache"  # no proxy hands a session on
            await send(message)

        await self._app(scope, receive, send_with_cookie)

    def _attributes(self, scope: Scope, headers: Headers) -> str:
        common = f"Path=/; Max-Age={MAX_AGE_S}; HttpOnly"
        if self._embedded:
            return f"{common}; SameSite=None; Secure; Partitioned"
        # A client that lies about the protocol loses only its own cookie.
        https = scope["scheme"] == "https" or headers.get("x-forwarded-proto") == "https"
        return f"{common}; SameSite=Lax" + ("; Secure" if https else "")


def read_cookie(header: str) -> str | None:
    """The session's cookie in a Cookie header, or None.

    >>> read_cookie("theme=dark; llava_chat_session=abc.def")
    'abc.def'
    >>> read_cookie("nothing to see") is None
    True
    """
    try:
        found = SimpleCookie(header).get(COOKIE_NAME)
    except CookieError:
        return None
    return found.value if found else None


def _is_entrance(scope: Scope) -> bool:
    return scope["method"] in ("GET", "HEAD") and scope["path"] in ENTRANCES
