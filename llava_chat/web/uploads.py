"""What browsers upload, for as long as it is needed: originals can hold where they were taken.

Gradio keeps every upload in one folder, which `settings.prepare_libraries` puts into the data
folder, under the hash of its content: the same photograph under the same name is one file for all
who upload it. So what was sent is not deleted at once, but made so old that a sweep takes it after
a grace; whoever uploads it in the meantime makes it young again. Imports nothing of this project.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

UNSENT_AGE_S = 24 * 3600  # a page that was left open overnight still sends its picture
SENT_GRACE_S = 10 * 60  # between somebody else's upload of the same file and their message
SWEEP_EVERY_S = 60

_log = logging.getLogger(__name__)


def forget(files: Iterable[Path], grace_s: float = SENT_GRACE_S) -> None:
    """Let uploads whose pixels are kept now go with the first sweep after `grace_s` seconds."""
    aged = time.time() - UNSENT_AGE_S + grace_s
    for file in files:
        # The reply is on its way; a file that cannot be aged now goes by its own age.
        with contextlib.suppress(OSError):
            os.utime(file, (aged, min(aged, file.stat().st_mtime)))


def sweep(folder: Path, age_s: float = UNSENT_AGE_S) -> None:
    """Delete what has waited for longer than `age_s` seconds, also what an earlier run left.

    Younger files stay: somebody is about to send them, here or by another server on this folder.
    """
    before = time.time() - age_s
    for path in sorted(folder.rglob("*"), reverse=True):  # files before the folders around them
        with contextlib.suppress(OSError):  # in use, or just gone
            if path.lstat().st_mtime < before:
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def sweeping(
    folder: Path, every_s: float = SWEEP_EVERY_S
) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """A lifespan for the app, which sweeps `folder` from the server's start to its end."""

    async def sweep_on() -> None:
        while True:
            try:
                await asyncio.to_thread(sweep, folder)
            except OSError as error:  # another server on this folder took one away meanwhile
                _log.warning("the uploads in %s could not be swept: %s", folder, error)
            await asyncio.sleep(every_s)

    @contextlib.asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        task = asyncio.create_task(sweep_on())
        try:
            yield
        finally:
            task.cancel()

    return lifespan
