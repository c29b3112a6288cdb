"""Removing what is kept no longer, when the server starts and once a day while it runs.

Imports the store, thumbnails and errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from llava_chat.errors import StoreError
from llava_chat.store import ConversationStore, remove_old, remove_unkept
from llava_chat.web.thumbnails import Thumbnails, discard_lost

ROUND_EVERY_S = 24 * 3600
UNKEPT_FOR = timedelta(days=1)  # at most, where a page's leaving was missed

Lifespan = Callable[[object], AbstractAsyncContextManager[None]]

_log = logging.getLogger(__name__)


def remove_left_behind(store: ConversationStore) -> None:
    """Remove all unkept chats, before any page is open: those of an earlier run of the server.

    A database that refuses is told of in the log, and is asked again the day after.
    """
    try:
        remove_unkept(store)
    except StoreError as error:
        _log.warning("chats that are not to be kept could not be removed: %s", error)


def remove_due(store: ConversationStore, thumbnails: Thumbnails, keep_days: int | None) -> None:
    """Remove what is too old, and unkept chats whose page nobody saw leave. Raises StoreError."""
    removed = remove_old(store, keep_days) + remove_unkept(store, unchanged_for=UNKEPT_FOR)
    if removed:
        discard_lost(thumbnails, store)


def retaining(
    store: ConversationStore,
    thumbnails: Thumbnails,
    keep_days: int | None,
    every_s: float = ROUND_EVERY_S,
) -> Lifespan:
    """A lifespan for the app: a round at the server's start, and one every `every_s` seconds."""

    async def go_round() -> None:
        while True:
            try:
                await asyncio.to_thread(remove_due, store, thumbnails, keep_days)
            except (StoreError, OSError) as error:
                _log.warning("what is kept no longer could not be removed: %s", error)
            await asyncio.sleep(every_s)

    @contextlib.asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        task = asyncio.create_task(go_round())
        try:
            yield
        finally:
            task.cancel()

    return lifespan


def together(*lifespans: Lifespan) -> Lifespan:
    """Several lifespans as the one that an app takes, ended in the opposite order."""

    @contextlib.asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for one in lifespans:
                await stack.enter_async_context(one(app))
            yield

    return lifespan
