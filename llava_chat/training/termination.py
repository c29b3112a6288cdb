"""To be told to stop, and to write down first what was learned. Imports nothing of llava_chat."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def termination() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM came, which meanwhile ends nothing; in the main thread alone."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGTERM, before)
