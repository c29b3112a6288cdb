"""Tells watchers of steps whose figures are still on their way on the device.

Asking a GPU for a number makes the program wait for all that was given to it. So the figures of
several steps are fetched by one copy, and only then told, step by step. Imports torch, progress
and errors.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from llava_chat.errors import LlavaChatError
from llava_chat.training.watching.progress import Progress, Watcher

LOOK_S = 5.0
"""Of a slow run's steps something is told as often: waiting for the device is nothing to that."""

Figure = Tensor | float


@dataclass(frozen=True)
class _Step:
    """What is known of a step at once, and its figures, which may not be computed yet."""

    step: int
    losses: Mapping[str, Figure]
    gradient_norm: Figure
    learning_rates: Mapping[str, float]
    tokens: int
    samples: int
    skipped: int


class Reporter:
    """Collects the steps of a loop for its watchers.

    The loop calls `step` after each of its steps, `saving` while a checkpoint is still aside, and
    `end` when it ends, however it does. watchers: () makes it do nothing but look for figures that
    are none. steps: of the whole run. log_every: after so many steps they are told, and after
    LOOK_S seconds. All of them raise LlavaChatError where a watcher cannot write.
    """

    def __init__(
        self, watchers: Sequence[Watcher], steps: int, *, log_every: int, device: torch.device
    ) -> None:
        self._watchers = tuple(watchers)
        self._steps, self._log_every, self._device = steps, log_every, device
        self._pending: list[_Step] = []
        self._since_s = time.perf_counter()

    def step(
        self,
        step: int,
        losses: Mapping[str, Figure],
        gradient_norm: Figure,
        learning_rates: Mapping[str, float],
        *,
        tokens: int,
        samples: int,
        skipped: int = 0,
    ) -> int | None:
        """After step number `step`, from 1 on; the other arguments are those of Progress.

        Tensors are of one element, all on one device. Returns what `tell` does.
        """
        kept = {name: _let_go(value) for name, value in losses.items()}
        self._pending.append(
            _Step(
                step,
                kept,
                _let_go(gradient_norm),
                dict(learning_rates),
                tokens,
                samples,
                skipped,
            )
        )
        due = step % self._log_every == 0 or step == self._steps
        if due or time.perf_counter() - self._since_s > LOOK_S:
            return self.tell()
        return None

    def tell(self) -> int | None:
        """Fetch what is pending and tell it.

        Returns the first step whose loss or gradient is no number, None without one: the steps
        from it on spoiled the weights, and must not be saved.
        """
        if not self._pending:
            return None
        told = _fetched([[*each.losses.values(), each.gradient_norm] for each in self._pending])
        now_s = time.perf_counter()
        step_s = (now_s - self._since_s) / len(self._pending)
        memory = memory_bytes(self._device)
        wrong: int | None = None
        pending, self._pending, self._since_s = self._pending, [], now_s
        for each, figures in zip(pending, told, strict=True):
            if wrong is None and not all(map(math.isfinite, figures)):
                wrong = each.step
            progress = Progress(
                step=each.step,
                steps=self._steps,
                losses=dict(zip(each.losses, figures[:-1], strict=True)),
                learning_rates=each.learning_rates,
                gradient_norm=figures[-1],
                tokens=each.tokens,
                samples=each.samples,
                skipped=each.skipped,
                step_s=step_s,
                memory_bytes=memory,
            )
            with _written():
                for watcher in self._watchers:
                    watcher.step(progress)
        return wrong

    @property
    def pending(self) -> bool:
        """Whether steps are not told yet."""
        return bool(self._pending)

    def saving(self, step: int, folder: Path) -> None:
        """Have the watchers write into a checkpoint's folder; call `tell` before there is one.

        What it takes, and what the loop took for the checkpoint, counts for no step.
        """
        with _written():
            for watcher in self._watchers:
                watcher.saving(step, folder)
        self._since_s = time.perf_counter()

    def end(self) -> None:
        """Tell what is pending, and let every watcher end, though another one fails."""
        with _written(), ExitStack() as ending:
            for watcher in reversed(self._watchers):
                ending.callback(watcher.end)
            self.tell()


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = error.filename or "what is seen of the run"
        raise LlavaChatError(
            f"{what} cannot be written ({error.strerror}); once that is mended the same command "
            "goes on from the newest checkpoint"
        ) from error


def _let_go(value: Figure) -> Figure:
    """Without the graph behind it, which holds a step's activations."""
    return value.detach() if isinstance(value, Tensor) else value


def _fetched(figures: Sequence[Sequence[Figure]]) -> list[list[float]]:
    """All as numbers, by one copy from the device.

    >>> _fetched([[torch.tensor(0.5), 2.0], [torch.tensor([1.5]), 3.0]])
    [[0.5, 2.0], [1.5, 3.0]]
    """
    tensors = [value for row in figures for value in row if isinstance(value, Tensor)]
    copied = iter(
        torch.stack([each.reshape(()).float() for each in tensors]).tolist() if tensors else ()
    )
    return [
        [next(copied) if isinstance(value, Tensor) else value for value in row] for row in figures
    ]


def memory_bytes(device: torch.device) -> int:
    """The most that was held so far: of a GPU by this process, elsewhere the process's own.

    0 where the system does not tell.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # on Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
