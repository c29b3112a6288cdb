"""What the browser is told to refuse, and what this server refuses of a raw request.

A page could show remote pictures, which tells others who reads it, and Gradio fetches any public
address for whoever asks (a FileData whose path is one). So a Content-Security-Policy goes out with
every page, as ASGI middleware for `launch(app_kwargs={"middleware": [...]})`, and a file's path is
checked before it is read; `web.guard` stands before Gradio's routes. Imports gradio and errors.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote

from gradio.utils import get_upload_folder
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_chat.errors import PictureError

SPACE_ANCESTORS = ("'self'", "https://huggingface.co", "https://*.hf.space")
# A file that is opened by itself: shown, but it runs nothing and loads nothing.
FILE_POLICY = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; sandbox"
_INLINE_SCRIPT = re.compile(
    rb"<script(?![^>]*\ssrc\s*=)[^>]*>(.*?)</script\s*>", re.DOTALL | re.IGNORECASE
)


def script_hash(script: bytes) -> str:
    """The CSP source that allows this inline script and no other (CSP Level 3, 2.3.1).

    >>> script_hash(b"alert(1)")
    "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"
    """
    digest = hashlib.sha256(script).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def content_security_policy(
    scripts: Iterable[str] = (), frame_ancestors: Sequence[str] = ("'self'",)
) -> str:
    """The policy of a page whose inline scripts have the hashes `scripts`.

    Nothing is loaded from, or sent to, another host. Gradio needs inline styles (its components
    set them), blob: for a picture that is being chosen, and 'unsafe-eval', because it compiles the
    `js=` of listeners with the function constructor; text in a page can reach none of these.
    """
    directives = {
        "default-src": ["'self'"],
        "script-src": ["'self'", "'unsafe-eval'", *scripts],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:", "blob:"],
        "media-src": ["'self'", "blob:"],
        "font-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "worker-src": ["'self'", "blob:"],
        "object-src": ["'none'"],
        "frame-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": list(frame_ancestors),
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())


class SecurityHeaders:
    """ASGI middleware that adds the policy and its companions to every response.

    A page is held back until it is whole, so that the policy can name the hashes of the inline
    scripts which this server itself wrote into it. on_space: the page is shown in a frame of
    huggingface.co. Everything that is not a page may load nothing at all.
    """

    def __init__(self, app: ASGIApp, *, on_space: bool = False) -> None:
        self._app = app
        self._ancestors = SPACE_ANCESTORS if on_space else ("'self'",)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and complete its response's headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        page = bytearray()

        async def send_protected(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                if MutableHeaders(scope=message).get("content-type", "").startswith("text/html"):
                    start = message
                    return
                self._protect(message, FILE_POLICY)
            elif message["type"] == "http.response.body" and start is not None:
                page.extend(message.get("body", b""))
                if message.get("more_body", False):
                    return
                self._protect(start, self._policy(bytes(page)))
                await send(start)
                start = None
                message = {"type": "http.response.body", "body": bytes(page)}
            await send(message)

        await self._app(scope, receive, send_protected)

    def _policy(self, page: bytes) -> str:
        inline = (script_hash(script) for script in _INLINE_SCRIPT.findall(page))
        return content_security_policy(inline, self._ancestors)

    @staticmethod
    def _protect(start: Message, policy: str) -> None:
        headers = MutableHeaders(scope=start)
        headers["content-security-policy"] = policy
        headers["x-content-type-options"] = "nosniff"
        headers["referrer-policy"] = "same-origin"
        headers["permissions-policy"] = "camera=(), geolocation=(), microphone=()"


def refuse_foreign_paths(path: object, *, folder: Path | None = None) -> Path:
    """The file of one upload, or PictureError for anything that was not uploaded here.

    path: what a client wrote into `FileData.path`. folder: Gradio's upload folder by default. Links
    are followed before the check, so that none leads out of it.

    >>> refuse_foreign_paths("/etc/passwd", folder=Path("/tmp/gradio"))
    Traceback (most recent call last):
    llava_chat.errors.PictureError: This picture was not uploaded here. Upload it and send it again.
    """
    refusal = PictureError("This picture was not uploaded here. Upload it and send it again.")
    if not isinstance(path, str) or not path or "\0" in path or "://" in unquote(path):
        raise refusal
    uploads = (folder or Path(get_upload_folder())).resolve()
    try:
        file = Path(path).resolve()
        uploaded = file.is_relative_to(uploads) and file.is_file()
    except (OSError, ValueError):  # too long, a loop of links, a lone surrogate
        uploaded = False
    if not uploaded:
        raise refusal
    return file
