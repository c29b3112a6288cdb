"""What single steps come to over some of them: the figures that people and boards are shown.

Imports progress only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from llava_chat.training.watching.progress import Progress

_SPEED_STEPS = 100  # so many steps back a step's time counts little for what is left


@dataclass(frozen=True)
class Averages:
    """Of the steps since the last ones, up to `step`.

    losses, gradient_norm: means. learning_rates, skipped, memory_bytes: of the last step. left_s:
    the seconds that the steps still take, without what checkpoints take.
    """

    step: int
    steps: int
    losses: Mapping[str, float]
    learning_rates: Mapping[str, float]
    gradient_norm: float
    tokens_per_s: float
    samples_per_s: float
    step_s: float
    left_s: float
    memory_bytes: int
    skipped: int

    def named(self) -> dict[str, float]:
        """By the names that boards show, `/` between a group and what is in it."""
        return {
            **named_losses(self.losses),
            **{f"learning_rate/{name}": rate for name, rate in self.learning_rates.items()},
            "gradient_norm": self.gradient_norm,
            "speed/tokens_per_s": self.tokens_per_s,
            "speed/samples_per_s": self.samples_per_s,
            "speed/step_s": self.step_s,
            "memory_bytes": self.memory_bytes,
            "skipped": self.skipped,
        }


def named_losses(losses: Mapping[str, float]) -> dict[str, float]:
    """The one that is followed as `loss`, the others in its group.

    >>> named_losses({"loss": 1.0, "old": 0.5})
    {'loss': 1.0, 'loss/old': 0.5}
    """
    return {name if name == "loss" else f"loss/{name}": value for name, value in losses.items()}


class Averaging:
    """Gathers steps. log_every: after so many it begins anew, counted from the run's first."""

    def __init__(self, log_every: int) -> None:
        self._log_every = log_every
        self._gathered: list[Progress] = []
        self._decayed_s, self._decayed_steps = 0.0, 0.0

    def add(self, progress: Progress) -> Averages | None:
        """What is to be shown now, after which it begins anew; None in between."""
        decay = 1 - 1 / _SPEED_STEPS
        self._decayed_s = decay * self._decayed_s + progress.step_s
        self._decayed_steps = decay * self._decayed_steps + 1
        self._gathered.append(progress)
        if progress.step % self._log_every and progress.step != progress.steps:
            return None
        found = self.so_far()
        self._gathered = []
        return found

    def so_far(self) -> Averages | None:
        """Of the steps that were not shown yet; None without any."""
        if not self._gathered:
            return None
        steps, last = self._gathered, self._gathered[-1]
        seconds = max(sum(each.step_s for each in steps), 1e-9)
        return Averages(
            step=last.step,
            steps=last.steps,
            losses={
                name: fmean(each.losses[name] for each in steps if name in each.losses)
                for name in last.losses
            },
            learning_rates=last.learning_rates,
            gradient_norm=fmean(each.gradient_norm for each in steps),
            tokens_per_s=sum(each.tokens for each in steps) / seconds,
            samples_per_s=sum(each.samples for each in steps) / seconds,
            step_s=seconds / len(steps),
            left_s=(last.steps - last.step) * self._decayed_s / self._decayed_steps,
            memory_bytes=last.memory_bytes,
            skipped=last.skipped,
        )
