"""The pictures of an export, each once, under the name that the rows give it."""

from __future__ import annotations

import shutil
from pathlib import Path

from llava_chat.errors import NotFoundError
from llava_chat.store import ConversationStore

FOLDER = "pictures"


class LeftOut(Exception):
    """A row has no place in this format, or cannot be whole; the reason is counted."""


def picture_name(picture_id: str) -> str:
    """The path of a picture in an export.

    >>> picture_name("ab12")
    'pictures/ab12.png'
    """
    return f"{FOLDER}/{picture_id}.png"


class PictureCopies:
    """Copies pictures below a folder as rows ask for them; without a folder it only counts."""

    def __init__(self, store: ConversationStore, folder: Path | None) -> None:
        self._store = store
        self._folder = folder
        self.ids: set[str] = set()

    def need(self, picture_ids: tuple[str, ...]) -> None:
        """Have these beside the rows. Raises LeftOut when one is no longer kept."""
        for picture_id in picture_ids:
            if picture_id not in self.ids:
                self._copy(picture_id)
                self.ids.add(picture_id)

    def _copy(self, picture_id: str) -> None:
        try:
            source = self._store.picture(picture_id).source
        except NotFoundError:
            raise LeftOut("a picture is no longer kept") from None
        if self._folder is None or not isinstance(source, Path):
            return
        target = self._folder / picture_name(picture_id)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(source, target)
