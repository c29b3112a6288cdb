"""The pictures of a request: data URLs, and addresses of hosts that the settings list.

What kind of file it is, our own decoder finds out; what a URL claims is not believed. Imports
image, errors and the modules beside it.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from llava_chat.errors import PictureError
from llava_chat.image import Picture, PictureLimits, read_picture
from llava_chat.web.openai.errors import CallError
from llava_chat.web.openai.fetching import PictureFetcher
from llava_chat.web.openai.known import KnownPictures
from llava_chat.web.openai.messages import PictureSource

# RFC 2397, as far as pictures need it: a type or none, then base64.
_DATA_URL = re.compile(r"data:[\w.+/-]{0,100};base64,", re.IGNORECASE | re.ASCII)
MAX_FETCHING_S = 30.0
KNOWN_BYTES = 64 * 2**20  # some twenty pictures of a megapixel


class Pictures:
    """Reads what requests name. fetcher: for addresses; max_fetched_bytes: of one request's."""

    def __init__(
        self, limits: PictureLimits, fetcher: PictureFetcher, *, max_fetched_bytes: int
    ) -> None:
        self._limits = limits
        self._fetcher = fetcher
        self._most_fetched_bytes = max_fetched_bytes
        self._known = KnownPictures(KNOWN_BYTES)

    async def fetched(self, sources: Iterable[PictureSource]) -> dict[str, bytes]:
        """The files behind addresses, by address; data URLs are left out. Raises CallError."""
        files: dict[str, bytes] = {}
        start_s = time.monotonic()
        # One after the other, so that what is held and how long it takes stay bounded.
        for source in sources:
            if _is_data(source.url) or source.url in files:
                continue
            if time.monotonic() - start_s > MAX_FETCHING_S:
                raise _refused(source, "These pictures take too long to fetch: send data URLs.")
            files[source.url] = await self._fetch(source)
            if sum(map(len, files.values())) > self._most_fetched_bytes:
                most = f"{self._most_fetched_bytes:,} bytes together"
                raise _refused(source, f"The fetched pictures are over the limit of {most}.", 413)
        return files

    def read(
        self,
        sources: Sequence[PictureSource],
        fetched: Mapping[str, bytes],
        sender: str,
        count: Callable[[int], object],
    ) -> dict[PictureSource, Picture]:
        """Decode them, in a thread that may wait.

        sender: whose they are. count: is told how many of them are new, and may refuse. Raises
        CallError naming the field, and what `count` raises.
        """
        files = {
            source: self._decoded(source) if _is_data(source.url) else fetched[source.url]
            for source in sources
        }
        found = {source: self._known.get(sender, file) for source, file in files.items()}
        count(len({files[source] for source, picture in found.items() if picture is None}))
        return {
            source: picture or self._decode(source, files[source], sender)
            for source, picture in found.items()
        }

    def _decode(self, source: PictureSource, file: bytes, sender: str) -> Picture:
        try:
            picture = read_picture(file, self._limits)
        except PictureError as error:
            raise _refused(source, str(error)) from None
        self._known.put(sender, file, picture)
        return picture

    async def _fetch(self, source: PictureSource) -> bytes:
        try:
            return await self._fetcher.fetch(source.url)
        except CallError as error:
            raise _refused(source, str(error), error.status) from None
        except PictureError as error:
            raise _refused(source, str(error)) from None

    def _decoded(self, source: PictureSource) -> bytes:
        head = _DATA_URL.match(source.url)
        if head is None:
            raise _refused(source, "A data URL of a picture begins with data:image/TYPE;base64,")
        text = source.url[head.end() :]
        if len(text) // 4 * 3 - text[-2:].count("=") > self._limits.max_bytes:
            most = f"{self._limits.max_bytes:,} bytes"
            raise _refused(
                source, f"The picture is over the limit of {most}: make it smaller.", 413
            )
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise _refused(source, "What follows base64, is no base64 (RFC 4648).") from None


def _is_data(url: str) -> bool:
    return url[:5].lower() == "data:"


def _refused(source: PictureSource, sentence: str, status: int = 400) -> CallError:
    return CallError(sentence, status=status, param=source.param, code="invalid_image_url")
