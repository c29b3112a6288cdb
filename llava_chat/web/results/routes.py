"""`/results/...`: the pictures behind figures, and exports as a zip, for those who lead.

Imports feedback's formats, errors, thumbnails, web.json_routes and the desk.
"""

from __future__ import annotations

import tempfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from llava_chat.errors import LimitError, LlavaChatError, NotFoundError, StoreError
from llava_chat.store import ConversationStore
from llava_chat.web.json_routes import NOT_STORED, refused
from llava_chat.web.results.desk import ResultsDesk, checked_format, wanted_of
from llava_chat.web.thumbnails import Thumbnails, shown

CHUNK_BYTES = 256 * 1024


def results_routes(
    desk: ResultsDesk, store: ConversationStore, thumbnails: Thumbnails
) -> list[Route]:
    """The routes, for `launch(app_kwargs={"routes": ...})`."""
    exporting = threading.Lock()

    def picture(request: Request) -> Path:
        told = request.path_params
        id = desk.picture_id(request, told["place"], told["id"], told["number"])
        return thumbnails.path(store.picture(id), "large")

    async def show_picture(request: Request) -> Response:
        def find() -> Path:
            try:
                return picture(request)
            except StoreError:
                raise
            except LlavaChatError as error:  # whether it is there is nobody else's to know
                raise NotFoundError(str(error)) from error

        return await shown(find)

    def made(request: Request) -> tuple[IO[bytes], str]:
        desk.may_see(request)
        asked = request.query_params
        form = checked_format(asked.get("format"))
        wanted = wanted_of(*map(asked.get, ("project", "model", "since", "until")))
        if not exporting.acquire(blocking=False):
            raise LimitError("Another export is being made; try again when it is there.")
        try:
            with tempfile.TemporaryDirectory(prefix="llava_chat-") as aside:
                folder = Path(aside) / "feedback"
                desk.export(request, form, wanted, folder)
                return zipped(folder), form
        except OSError as error:
            raise StoreError(f"Nothing was exported: {error.strerror or error}.") from error
        finally:
            exporting.release()

    async def export(request: Request) -> Response:
        try:
            file, form = await run_in_threadpool(made, request)
        except LlavaChatError as error:
            return refused(error)
        size = file.seek(0, 2)
        headers = NOT_STORED | {
            "content-disposition": f'attachment; filename="feedback-{form}.zip"',
            "content-length": str(size),
        }
        return StreamingResponse(_pieces(file), media_type="application/zip", headers=headers)

    return [
        Route("/results/pictures/{place}/{id}/{number:int}", show_picture),
        Route("/results/export", export),
    ]


def zipped(folder: Path) -> IO[bytes]:
    """A folder's files as a zip without a name: it is gone with its last reader."""
    archive = tempfile.TemporaryFile()  # noqa: SIM115
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zip:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            # A PNG is compressed already.
            kind = zipfile.ZIP_STORED if path.suffix == ".png" else zipfile.ZIP_DEFLATED
            zip.write(path, path.relative_to(folder.parent), kind)
    return archive


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while piece := file.read(CHUNK_BYTES):
            yield piece
