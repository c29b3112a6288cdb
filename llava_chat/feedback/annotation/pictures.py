"""Where the pictures of new items come from: a folder, or what was uploaded with the file.

Each is read once, kept at once, and held by its name only, so that a thousand photographs are never
in memory together; those of a file that is refused in the end go with the store's daily round.
Imports image, the store and errors.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from llava_chat.errors import FeedbackError, PictureError
from llava_chat.image import Picture, PictureLimits, file_below, read_picture
from llava_chat.store import ConversationStore

Find = Callable[[str], bytes | Path]
_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64,", re.IGNORECASE)


class ItemPictures:
    """Pictures by the names that rows give them. find: where one is; it raises PictureError."""

    def __init__(self, store: ConversationStore, find: Find, limits: PictureLimits) -> None:
        self._store = store
        self._find = find
        self._limits = limits
        self._kept: dict[str, Picture] = {}

    def kept(self, name: str, where: str) -> Picture:
        """The picture of that name, kept in the store. Raises FeedbackError naming the row."""
        if name not in self._kept:
            try:
                picture = read_picture(self._find(name), self._limits)
            except PictureError as error:
                raise FeedbackError(f"{where}, pictures: {str(error).rstrip('.')}.") from error
            self._store.keep_picture(picture)
            self._kept[name] = self._store.picture(picture.id)  # its pixels are in a file now
        return self._kept[name]


def in_folder(folder: Path | None) -> Find:
    """Pictures below a folder; links that lead out of it are refused."""

    def find(name: str) -> Path:
        if folder is None:
            raise PictureError(f"there is a picture {name[:60]!r}, and no folder is named")
        return file_below(folder, name)

    return find


def uploaded(pictures: Any) -> Find:
    """Pictures that came with the rows: data URLs by name.

    A browser names a file without the folders above it, so that `images/a.png` is also found as
    `a.png`. Raises FeedbackError where they are no such thing.
    """
    if not isinstance(pictures, Mapping) or not all(
        isinstance(url, str) for url in pictures.values()
    ):
        raise FeedbackError("pictures: it must be an object of data URLs by name.")

    def find(name: str) -> bytes:
        url = pictures.get(name) or pictures.get(PurePosixPath(name).name)
        if url is None:
            raise PictureError(f"there is no picture {name[:60]!r} among those that came along")
        head = _DATA_URL.match(url)
        if head is None:
            raise PictureError(f"{name[:60]!r} is no data URL of a picture")
        try:
            return base64.b64decode(url[head.end() :], validate=True)
        except (binascii.Error, ValueError):
            raise PictureError(f"{name[:60]!r} is no data URL of a picture") from None

    return find
