"""An end of the process that nothing holds up. Imports nothing of the package."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def ending_within(limit_s: float, told_to_stop: threading.Event) -> Iterator[None]:
    """End the process, with 0, where this takes longer than `limit_s` after it was told to stop.

    What was said by then is in the database: each message and reply is committed by itself.
    """
    over = threading.Event()

    def watch() -> None:
        told_to_stop.wait()
        if not over.wait(limit_s):
            leave()

    threading.Thread(target=watch, name="ending", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def leave() -> NoReturn:
    """End the process at once, with 0; what was printed is seen, if there is still who reads it."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)
