"""Lines about a run: every so many steps one that stays, on a terminal one that moves meanwhile.

Imports averages and progress.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TextIO

from llava_chat.training.watching.averages import Averages, Averaging
from llava_chat.training.watching.progress import Progress

_CLEAR = "\r\x1b[K"


class Lines:
    """A Watcher that writes to a terminal, or to a log, where no line is written over.

    title: begins each line, as `finetune`. stream: stderr if it is None.
    """

    def __init__(self, title: str, log_every: int, stream: TextIO | None = None) -> None:
        self._title, self._stream = title, stream or sys.stderr
        self._averaging = Averaging(log_every)
        self._moves = self._stream.isatty()

    def step(self, progress: Progress) -> None:
        """Write the line that is due, or what is known so far where it can be written over."""
        found = self._averaging.add(progress)
        if found is not None:
            self._write(found)
        elif self._moves and (found := self._averaging.so_far()) is not None:
            columns = shutil.get_terminal_size().columns
            self._stream.write(_CLEAR + line(self._title, found)[: columns - 1])
            self._stream.flush()

    def saving(self, step: int, folder: Path) -> None:
        """Nothing: a checkpoint is not about figures."""

    def end(self) -> None:
        """The line of the steps that have had none."""
        found = self._averaging.so_far()
        if found is not None:
            self._write(found)

    def _write(self, found: Averages) -> None:
        before = _CLEAR if self._moves else ""
        self._stream.write(f"{before}{line(self._title, found)}\n")
        self._stream.flush()


def line(title: str, found: Averages) -> str:
    """All figures in one line.

    >>> found = Averages(50, 5197, {"loss": 1.23456}, {"projector": 2e-5}, 0.8, 24_310.4, 18.31,
    ...                  6.99, 36_000.0, 71_200_000_000, 2)
    >>> line("finetune", found)[:70]
    'finetune 50/5197  loss 1.2346  learning rate 2.00e-05  norm 0.80  24,3'
    >>> line("finetune", found)[66:]
    '24,310 tokens/s  18.3 samples/s  10 h left  71.2 GB  2 skipped'
    """
    parts = [f"{title} {found.step}/{found.steps}"]
    parts += [f"{name} {value:.4f}" for name, value in found.losses.items()]
    rates = {name: f"{rate:.2e}" for name, rate in found.learning_rates.items()}
    if len(set(rates.values())) == 1:
        parts.append(f"learning rate {next(iter(rates.values()))}")
    elif rates:
        told = (f"{name} {rate}" for name, rate in rates.items())
        parts.append(f"learning rates {', '.join(told)}")
    parts.append(f"norm {found.gradient_norm:.2f}")
    parts.append(f"{found.tokens_per_s:,.0f} tokens/s")
    parts.append(f"{found.samples_per_s:.1f} samples/s")
    parts.append(f"{duration(found.left_s)} left")
    if found.memory_bytes:
        parts.append(f"{found.memory_bytes / 1e9:.1f} GB")
    if found.skipped:
        parts.append(f"{found.skipped} skipped")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """As people say it.

    >>> [duration(s) for s in (0.2, 48, 90, 754, 5400, 7199, 36_000, 200_000)]
    ['0 s', '48 s', '2 min', '13 min', '1 h 30 min', '2 h', '10 h', '2 d 7 h']
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    days, hours_of_day = divmod(hours, 24)
    if days:
        return f"{days} d {hours_of_day} h" if hours_of_day else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min"
