"""Lines to stderr every so often: smoothed losses, speed, time left. Imports `progress` alone."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from llava_chat.training.watching.progress import Progress


class Lines:
    """A Watcher that writes a line every log_every steps, and after the last one."""

    def __init__(self, name: str, log_every: int) -> None:
        self._name, self._log_every = name, log_every
        self._started = time.monotonic()
        self._sums: dict[str, float] = {}
        self._steps = self._since = 0

    def step(self, progress: Progress) -> None:
        """A step's losses into the mean of the next line."""
        for key, value in progress.losses.items():
            self._sums[key] = self._sums.get(key, 0.0) + value
        self._steps += 1
        self._since += 1
        if progress.step % self._log_every and progress.step != progress.steps:
            return
        speed = self._steps / max(1e-9, time.monotonic() - self._started)
        left_min = (progress.steps - progress.step) / speed / 60
        shown = "  ".join(f"{key} {value / self._since:.4f}" for key, value in self._sums.items())
        print(
            f"{self._name} {progress.step}/{progress.steps}  {shown}"
            f"  norm {progress.gradient_norm:.2f}  {speed:.2f} steps/s  {left_min:.1f} min left",
            file=sys.stderr,
            flush=True,
        )
        self._sums, self._since = {}, 0

    def saving(self, step: int, folder: Path) -> None:
        """Nothing to keep."""

    def end(self) -> None:
        """Nothing to close."""
