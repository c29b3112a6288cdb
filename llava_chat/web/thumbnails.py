"""Small copies of kept pictures for the chat, and a larger view of each, for their owner alone.

Gradio reads and hashes every file that it displays again at every piece of a streamed reply: 30
pictures of 780 KB cost 106 ms a piece (measured on Gradio 6.31). So the chat's pictures come from
routes of our own, small, kept by the browser, and never again for a piece of text. Views are made
from checked pixels and carry no EXIF; an original stays in the store. Imports image, store,
errors and web.session.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from llava_chat.errors import NotFoundError, StoreError
from llava_chat.image import Picture, thumbnail
from llava_chat.store import write_whole
from llava_chat.web.session import Owners, SessionError

View = Literal["thumbnail", "large"]

# Longest side in pixels: a thumbnail is sharp at 256 CSS pixels on a dense screen, and has about
# 45 KB; a large view fills a laptop's screen.
LONGEST_SIDE_PX: dict[View, int] = {"thumbnail": 512, "large": 1600}
CACHE_S = 24 * 3600

_log = logging.getLogger(__name__)


class _PictureStore(Protocol):
    def picture(self, picture_id: str) -> Picture: ...
    def has_picture(self, owner: str, picture_id: str) -> bool: ...


class Thumbnails:
    """The views below `folder`, made when first asked for, each `VIEW/HASH.jpg`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # A page asks for all its pictures at once, and one of 12 megapixels takes 90 MiB here.
        self._making = threading.Lock()

    def path(self, picture: Picture, view: View = "thumbnail") -> Path:
        """The file of a view, never larger than its picture."""
        path = self._path(picture.id, view)
        if not path.exists():
            with self._making:
                if not path.exists():  # another request made it meanwhile
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_whole(path, thumbnail(picture, LONGEST_SIDE_PX[view]))
        return path

    def discard(self, picture_id: str) -> None:
        """Delete the views of a picture that is no longer kept."""
        for view in LONGEST_SIDE_PX:
            self._path(picture_id, view).unlink(missing_ok=True)

    def discard_unless(self, is_kept: Callable[[str], bool]) -> None:
        """Delete the views of pictures that are no longer kept, and halves of a killed program."""
        for half in self._folder.glob("*/*.part"):
            half.unlink(missing_ok=True)
        for picture_id in {path.stem for path in self._folder.glob("*/*.jpg")}:
            if not is_kept(picture_id):
                self.discard(picture_id)

    def _path(self, picture_id: str, view: View) -> Path:
        return self._folder / view / f"{picture_id}.jpg"


def _is_kept(store: _PictureStore, picture_id: str) -> bool:
    try:
        store.picture(picture_id)
    except NotFoundError:
        return False
    return True


def discard_lost(thumbnails: Thumbnails, store: _PictureStore) -> None:
    """Delete the views of pictures that the store does not have any more. Raises StoreError."""
    thumbnails.discard_unless(lambda picture_id: _is_kept(store, picture_id))


def picture_routes(people: Owners, store: _PictureStore, thumbnails: Thumbnails) -> list[Route]:
    """`/pictures/HASH` and `/pictures/HASH/thumbnail`, for `launch(app_kwargs={"routes": ...})`.

    Who has no session, or never sent this picture, gets the same 404 as for one that does not
    exist: a hash that somebody worked out from a picture of their own tells them nothing.
    Views whose pictures were deleted since the last start go now.
    """
    discard_lost(thumbnails, store)

    def find(request: Request, view: View) -> Path:
        picture_id = request.path_params["picture_id"]
        if not store.has_picture(people.owner_of(request), picture_id):
            raise NotFoundError("There is no such picture.")
        return thumbnails.path(store.picture(picture_id), view)

    async def show_large(request: Request) -> Response:
        return await shown(lambda: find(request, "large"))

    async def show_thumbnail(request: Request) -> Response:
        return await shown(lambda: find(request, "thumbnail"))

    return [
        Route("/pictures/{picture_id}", show_large),
        Route("/pictures/{picture_id}/thumbnail", show_thumbnail),
    ]


async def shown(find: Callable[[], Path]) -> Response:
    """The answer with a view that `find` finds, in a thread, for the browser alone to keep.

    404 where it raises NotFoundError or SessionError, 503 where the view cannot be made.
    """
    try:
        path = await run_in_threadpool(find)
    except (NotFoundError, SessionError):
        return PlainTextResponse("There is no such picture.", status_code=404)
    except (StoreError, OSError) as error:
        _log.warning("a view of a picture cannot be made: %s", error)
        return PlainTextResponse("This picture cannot be shown now.", status_code=503)
    cache = f"private, max-age={CACHE_S}, immutable"
    return FileResponse(path, media_type="image/jpeg", headers={"cache-control": cache})
