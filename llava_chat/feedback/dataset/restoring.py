"""The files of the dataset back into the database. Imports lines, hub, the store and image."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llava_chat.errors import LlavaChatError
from llava_chat.feedback.dataset.hub import HubDataset, Listing
from llava_chat.feedback.dataset.journal import FOLDER
from llava_chat.feedback.dataset.lines import State
from llava_chat.feedback.export.pictures import picture_name
from llava_chat.feedback.export.reading import LIMITS
from llava_chat.image import read_picture
from llava_chat.store import (
    PICTURES,
    ConversationStore,
    checked_row,
    in_order,
    take_picture,
    take_rows,
)

_log = logging.getLogger(__name__)

PICTURES_AT_ONCE = 500  # downloaded before they are looked at


def read_state(dataset: HubDataset, listing: Listing, folder: Path) -> State:
    """What all files of the dataset say; lines that cannot be used are named in the log.

    Raises StoreError when the Hub fails.
    """
    names = sorted(name for name in listing.below(FOLDER) if name.endswith(".jsonl"))
    dataset.download(listing, names, folder)
    state = State()
    for name in names:
        with (folder / name).open("rb") as file:
            state.take(name, file, lambda sentence: _log.warning("skipped: %s", sentence))
    return state


def restore(
    store: ConversationStore, state: State, dataset: HubDataset, listing: Listing, folder: Path
) -> int:
    """Take in what is not here; returns how many rows do not fit and were left out.

    Raises StoreError when the Hub or the database fails; repeated, it goes on after that.
    """
    rows = [
        (table, checked_row(table, said.values))
        for (table, _), said in state.rows.items()
        if said.values is not None
    ]
    ids = sorted(values["id"] for table, values in rows if table == PICTURES)
    lost = set[str]()
    for start in range(0, len(ids), PICTURES_AT_ONCE):
        some = set(ids[start : start + PICTURES_AT_ONCE])
        lost |= _fetch_pictures(store, some, dataset, listing, folder)
    wanted = [row for row in rows if _picture_of(*row) not in lost]
    refused: list[str] = []

    def refuse(table: str, values: Mapping[str, Any]) -> None:
        refused.append(table)
        _log.warning("left out: a row of %s does not fit what is here", table)

    new = take_rows(store, in_order(wanted), refuse)
    _log.info("%d rows of the dataset %s were taken in", new, dataset.id)
    return len(refused)


def _fetch_pictures(
    store: ConversationStore, ids: set[str], dataset: HubDataset, listing: Listing, folder: Path
) -> set[str]:
    """Have the files of these pictures in the store; returns those that are nowhere."""
    missing = ids - store.pictures(ids).keys()
    there = {id for id in missing if picture_name(id) in listing.files}
    dataset.download(listing, map(picture_name, sorted(there)), folder)
    lost = missing - there
    for id in there:
        path = folder / picture_name(id)
        try:
            picture = read_picture(path, LIMITS)
            if picture.id != id:
                raise LlavaChatError("it shows other pixels than its name says")
            take_picture(store, picture)
        except LlavaChatError as error:
            _log.warning("left out: %s of the dataset: %s", path.name, error)
            lost.add(id)
        path.unlink()
    return lost


def _picture_of(table: str, values: Mapping[str, Any]) -> str | None:
    """The picture that a row is or names."""
    return values.get("id" if table == PICTURES else "picture_id")
