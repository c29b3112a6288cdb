"""Small copies of kept pictures for the chat, and a larger view of each behind its owner's session.

Gradio reads and hashes every displayed file again at every piece of a streamed reply: 30 pictures
of 780 KB cost 106 ms a piece, ten thumbnails of 45 KB 9.5 ms (measured on Gradio 6.31). So the
chat shows thumbnails; the original stays in the store. Views are made from checked pixels, and
carry no EXIF. Imports store, image and web.session.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Protocol

from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from llava_chat.errors import NotFoundError
from llava_chat.image import Picture
from llava_chat.web.session import SessionError, Sessions

View = Literal["thumbnail", "large"]

# Longest side in pixels: a thumbnail is sharp at 256 CSS pixels on a dense screen; a large view
# fills a laptop's.
LONGEST_SIDE: dict[View, int] = {"thumbnail": 512, "large": 1600}
WEBP_QUALITY = 80  # about 30 KB for a photograph's thumbnail
CACHE_S = 7 * 24 * 3600


class _PictureStore(Protocol):
    def picture(self, picture_id: str) -> Picture: ...


class Thumbnails:
    """The views below `folder`, made when first asked for, each `VIEW/HASH.webp`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, picture: Picture, view: View = "thumbnail") -> Path:
        """The file of a view, never larger than its picture."""
        path = self._folder / view / f"{picture.id}.webp"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_view(picture, LONGEST_SIDE[view], path)
        return path

    def discard(self, picture_ids: Iterable[str]) -> None:
        """Delete the views of pictures that are no longer kept."""
        for picture_id in picture_ids:
            for view in LONGEST_SIDE:
                (self._folder / view / f"{picture_id}.webp").unlink(missing_ok=True)


def _write_view(picture: Picture, longest_side: int, path: Path) -> None:
    pixels = picture.rgb()
    small = Image.frombytes("RGB", pixels.size, pixels.tobytes())  # the pixels and nothing else
    small.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    descriptor, aside = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            small.save(file, format="WEBP", quality=WEBP_QUALITY)
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def picture_url(sessions: Sessions, owner: str, picture_id: str, view: View = "large") -> str:
    """Where `owner`, and nobody else, may look at a picture: the address is signed for them."""
    return f"pictures/{picture_id}/{view}.webp?for={sessions.sign('view', owner, picture_id)}"


def picture_routes(sessions: Sessions, store: _PictureStore, thumbnails: Thumbnails) -> list[Route]:
    """The routes that `picture_url` leads to, for `launch(app_kwargs={"routes": ...})`.

    Who has no session, another's session or a signature that does not fit gets the same 404 as
    for a picture that does not exist.
    """

    def find(request: Request) -> Path:
        view, picture_id = request.path_params["view"], request.path_params["picture_id"]
        owner = sessions.owner_of(request)
        signature = request.query_params.get("for", "")
        if view not in LONGEST_SIDE or not sessions.signed(signature, "view", owner, picture_id):
            raise NotFoundError("There is no such picture.")
        try:
            return thumbnails.path(store.picture(picture_id), view)
        except NotFoundError:
            thumbnails.discard([picture_id])
            raise

    async def show(request: Request) -> Response:
        try:
            path = await run_in_threadpool(find, request)
        except (NotFoundError, SessionError):
            return PlainTextResponse("There is no such picture.", status_code=404)
        cache = f"private, max-age={CACHE_S}, immutable"
        return FileResponse(path, media_type="image/webp", headers={"cache-control": cache})

    return [Route("/pictures/{picture_id}/{view}.webp", show)]
