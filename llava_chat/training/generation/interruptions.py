"""Ctrl-C and SIGTERM as something that can be waited for, between two replies and not within one.

Imports nothing of this project.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def interruptions(tell: Callable[[], None]) -> Iterator[None]:
    """The first signal calls `tell`, the next does as before; in the main thread alone.

    tell: called wherever the program happens to be, so it may do no more than put something into a
    SimpleQueue.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def first(number: int, frame: FrameType | None) -> None:
        restore()
        tell()

    for number in _SIGNALS:
        signal.signal(number, first)
    try:
        yield
    finally:
        restore()
