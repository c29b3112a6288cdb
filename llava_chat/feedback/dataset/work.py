"""What a push is made of: the file brought up to date, pictures beside it, and tidying up after it.

Imports hub, journal, lines, the export's names of pictures, the store and errors.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path

from llava_chat.errors import StoreError
from llava_chat.feedback.dataset.hub import HubDataset, Listing
from llava_chat.feedback.dataset.journal import FOLDER as JOURNALS, Journal
from llava_chat.feedback.dataset.lines import State
from llava_chat.feedback.export.pictures import FOLDER as PICTURES, picture_name
from llava_chat.store import ConversationStore

_log = logging.getLogger(__name__)


class Work:
    """What is done before and after each push, in the scheduler's one thread.

    listing, state: what was taken in at the start. tidy: all of it fits, so that the files that it
    came from may go once it is in ours.
    """

    def __init__(
        self,
        store: ConversationStore,
        dataset: HubDataset,
        folder: Path,
        listing: Listing,
        state: State,
        *,
        tidy: bool,
    ) -> None:
        self._store = store
        self._dataset = dataset
        self._folder = folder
        self._taken_in = listing.below(JOURNALS) if tidy else {}
        self._broken = {name: b"".join(lines) for name, lines in state.broken.items()}
        self._usable = self._broken.keys() & state.usable
        self._journal = Journal(store, folder, state)
        self._there = set(listing.below(PICTURES))
        self._waiting = set[str]()
        self._untidy = bool(self._taken_in)

    def prepare(self) -> None:
        """Bring the file up to date, and have the new pictures beside it."""
        self._untidy |= self._journal.bring_up_to_date()
        wanted = {picture_name(id): id for id in self._journal.picture_ids}
        for name in self._waiting - wanted.keys():
            (self._folder / name).unlink(missing_ok=True)
        self._waiting &= wanted.keys()
        found = self._store.pictures(
            wanted[name] for name in wanted.keys() - self._there - self._waiting
        )
        for id, picture in found.items():
            target = self._folder / picture_name(id)
            target.parent.mkdir(exist_ok=True)
            _link(Path(str(picture.source)), target)
            self._waiting.add(picture_name(id))

    def pushed(self) -> None:
        """Forget the pictures that are there now, and tidy up where something was removed."""
        for name in self._waiting:
            (self._folder / name).unlink(missing_ok=True)
        self._there |= self._waiting
        self._waiting.clear()
        if not self._untidy:
            return
        try:
            self._untidy = not self._tidy()
        except StoreError as error:  # nothing is lost: after the next push again
            _log.warning("the dataset was not tidied up: %s", error)

    def _tidy(self) -> bool:
        """Remove what is nobody's any more; whether nothing of it is left."""
        now = self._dataset.look()
        others = {
            name: hash
            for name, hash in now.below(JOURNALS).items()
            if name not in self._journal.names
        }
        # All that can be used of those stands in our own file too.
        ours = {
            name
            for name, hash in others.items()
            if self._journal.wrote(name) or self._taken_in.get(name) == hash
        }
        removed = ours - self._broken.keys()
        replaced = {name: self._broken[name] for name in ours & self._usable}
        # Pictures that only another process knows of are in none of our files.
        alone = others.keys() <= removed
        if alone:
            wanted = {picture_name(id) for id in self._journal.picture_ids}
            removed |= now.below(PICTURES).keys() - wanted
        self._dataset.tidy(now, sorted(removed), replaced)
        self._there -= removed
        self._taken_in = {}
        return alone


def _link(source: Path, target: Path) -> None:
    with contextlib.suppress(FileExistsError):
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copyfile(source, target)
