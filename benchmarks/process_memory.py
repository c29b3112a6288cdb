"""What memory this process has, as Linux tells it. Imports the standard library only."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def status_bytes(field: str) -> int:
    """A field of /proc/self/status, such as VmHWM."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


@contextmanager
def peaks(told: dict[str, float]) -> Iterator[None]:
    """Put the peaks of what runs inside into `told`, in bytes above what was there before."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM begins again
    resident, anonymous = status_bytes("VmRSS"), status_bytes("RssAnon")
    highest, over = anonymous, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not over.wait(0.01):
            highest = max(highest, status_bytes("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    told["resident_bytes"] = status_bytes("VmHWM") - resident
    told["anonymous_bytes"] = max(highest, status_bytes("RssAnon")) - anonymous
