"""The bytes of a download as one Progress, whoever fetches them.

huggingface_hub tells of its bytes only through bars of tqdm's kind, one for each file. Here is such
a bar that draws nothing and adds to a count. Imports progress.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llava_chat.progress import Progress, Report


def byte_counter(step: str, done: int, total: int, report: Report | None) -> Callable[[int], None]:
    """A function that takes how many bytes more are done, and reports all of them.

    It reports once before, with the `done` bytes that were there already. A server that makes a
    file begin again takes bytes away.
    """

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if report is not None:
            report(Progress(step, min(done, total), total, "bytes"))

    tell(0)
    return tell


def silent_bar(tell: Callable[[int], None]) -> type:
    """A class for huggingface_hub to use in tqdm's place: all its bars tell one counter."""
    from huggingface_hub.utils import tqdm

    class SilentBar(tqdm):
        """tqdm switched off, which draws nothing; only those of bytes count."""

        def __init__(self, *arguments: Any, unit: str = "", **options: Any) -> None:
            options["disable"] = True
            super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
            self._counts_bytes = unit == "B"

        def update(self, n: float | None = 1) -> None:
            """Bytes that are written; fewer than none when a server made it begin again."""
            if self._counts_bytes:
                tell(int(n or 0))

        def _ignore(self, *_: object, **__: object) -> None:
            pass

        # With these, Xet makes no second bar of bytes, of those that travelled.
        update_transfer = set_transfer_postfix_str = _ignore

    return SilentBar
