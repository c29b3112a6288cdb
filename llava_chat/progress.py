"""How far a long piece of work has come: told by whoever does it, shown by whoever asked for it.

Imports nothing of this project, so that a download, a load, a page and a terminal can share it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self, TextIO

REDRAW_S = 0.1  # of a line on a terminal: no eye follows more
LOG_EVERY_S = 10.0  # where lines pile up, in a file or a service's log


@dataclass(frozen=True)
class Progress:
    """How far one step of a long piece of work is.

    step: what is being done, in a few words ("downloading the weights"). done, total: how much of
    it, counted in `unit`; a total of 0 is not known yet. left_s: about how long the rest takes.
    """

    step: str
    done: int
    total: int
    unit: Literal["bytes", "files", "shapes", "questions", "replies", "rows"]
    left_s: float | None = None

    @property
    def share(self) -> float | None:
        """0 to 1, None while the total is not known.

        >>> Progress("reading the weights", 1, 4, "files").share
        0.25
        """
        return min(self.done / self.total, 1.0) if self.total else None

    @property
    def words(self) -> str:
        """The step and how far it is, as part of a sentence.

        >>> Progress("reading the weights", 6_200_000_000, 14_126_854_144, "bytes").words
        'reading the weights: 6.2 of 14.1 GB'
        >>> Progress("downloading", 3, 12, "files").words, Progress("building", 0, 0, "files").words
        ('downloading: 3 of 12 files', 'building')
        >>> Progress("asking", 3, 4241, "questions", left_s=4320).words
        'asking: 3 of 4,241 questions, 72 min left'
        """
        if not self.total:
            return self.step
        left = "" if self.left_s is None else f", {time_in_words(self.left_s)} left"
        if self.unit != "bytes":
            return f"{self.step}: {self.done:,} of {self.total:,} {self.unit}{left}"
        scale, unit = (1e9, "GB") if self.total >= 1e9 else (1e6, "MB")
        return f"{self.step}: {self.done / scale:.1f} of {self.total / scale:.1f} {unit}{left}"


def time_in_words(seconds: float) -> str:
    """A time that is only known roughly.

    >>> time_in_words(0.4), time_in_words(89), time_in_words(100), time_in_words(9000)
    ('1 s', '89 s', '2 min', '2.5 h')
    """
    if seconds < 90:
        return f"{max(1, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


Report = Callable[[Progress], None]
"""Takes each step as it is made. It is called from the thread that does the work, and often."""


class ProgressLine:
    """A line of a terminal that is written over, or now and then a line where no terminal is.

    A Report that ends with the `with` block, which leaves nothing on a terminal. title: whose
    progress it is. What takes less than LOG_EVERY_S leaves no line in a log.
    """

    def __init__(self, title: str, stream: TextIO) -> None:
        self._title = title
        self._stream = stream
        self._redrawn = stream.isatty()
        self._due_s = 0.0 if self._redrawn else time.monotonic() + LOG_EVERY_S

    def __call__(self, progress: Progress) -> None:
        """Show it, unless the line is newer than anybody needs."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        self._due_s = now_s + (REDRAW_S if self._redrawn else LOG_EVERY_S)
        line = f"{self._title}: {progress.words}"
        self._stream.write(f"\r\x1b[K{line}" if self._redrawn else f"{line}\n")
        self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._redrawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
