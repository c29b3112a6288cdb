"""metrics.jsonl: every step's figures, a line each, from which all pictures of a run are drawn.

Imports averages (for names), progress and errors.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from llava_chat.errors import LlavaChatError
from llava_chat.training.watching.averages import named_losses
from llava_chat.training.watching.progress import Progress

FILE_NAME = "metrics.jsonl"
Row = dict[str, Any]


class Metrics:
    """A Watcher that appends to metrics.jsonl in the folder `output`.

    When a run goes on from a step, the lines behind it are dropped first: each step stands once.
    """

    def __init__(self, output: Path) -> None:
        self._file = output / FILE_NAME
        self._opened: TextIO | None = None

    def step(self, progress: Progress) -> None:
        """Write the step's line, whole."""
        if self._opened is None:
            keep_before(self._file, progress.step)
            # A line at a time reaches the file, whatever becomes of this process.
            self._opened = self._file.open("a", encoding="utf-8", buffering=1)
        self._opened.write(json.dumps(row(progress), allow_nan=False) + "\n")

    def saving(self, step: int, folder: Path) -> None:
        """Nothing: the file stays in the output, for the whole run."""

    def end(self) -> None:
        """Close the file."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def row(progress: Progress) -> Row:
    """A step as it is written; null stands for what is no number.

    >>> step = Progress(3, 9, {"loss": 0.5}, {"projector": 1e-3}, math.nan, 80, 4, 0, 0.25, 10**9)
    >>> print(json.dumps(row(step)))  # doctest: +NORMALIZE_WHITESPACE
    {"step": 3, "loss": 0.5, "learning_rate/projector": 0.001, "gradient_norm": null, "tokens": 80,
     "samples": 4, "skipped": 0, "step_s": 0.25, "memory_bytes": 1000000000}
    """
    figures = {
        **named_losses(progress.losses),
        **{f"learning_rate/{name}": rate for name, rate in progress.learning_rates.items()},
        "gradient_norm": progress.gradient_norm,
    }
    return {
        "step": progress.step,
        **{name: value if math.isfinite(value) else None for name, value in figures.items()},
        "tokens": progress.tokens,
        "samples": progress.samples,
        "skipped": progress.skipped,
        "step_s": progress.step_s,
        "memory_bytes": progress.memory_bytes,
    }


def read_metrics(output: Path) -> list[Row]:
    """Every step's row, in order; a last line that was cut off is left out.

    [] where there is no file. Raises LlavaChatError naming a line that is none of ours.
    """
    file = output / FILE_NAME
    return [row for row, _ in _rows(file)] if file.exists() else []


def keep_before(file: Path, step: int) -> None:
    """Leave the lines of steps before `step`. Raises LlavaChatError as read_metrics does."""
    if not file.exists():
        return
    aside = file.with_name(f".{file.name}.partial")
    with aside.open("w", encoding="utf-8") as kept:
        kept.writelines(line for row, line in _rows(file) if row["step"] < step)
    os.replace(aside, file)


def _rows(file: Path) -> Iterator[tuple[Row, str]]:
    with file.open(encoding="utf-8") as opened:
        for number, line in enumerate(opened, 1):
            if not line.endswith("\n"):
                return  # a process was killed while it wrote
            try:
                row = json.loads(line)
                row["step"] + 0
            except (ValueError, TypeError, KeyError) as error:
                raise LlavaChatError(
                    f"{file}, line {number}: it is no step of a run; move the file away"
                ) from error
            yield row, line
