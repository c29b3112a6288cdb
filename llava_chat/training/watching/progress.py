"""What a run tells those who watch it. Imports nothing of the loop, which imports this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Progress:
    """One optimiser step, of all processes together.

    losses: by name; `loss` is the one that is followed down. learning_rates: by what learns with
    it, such as `projector`. gradient_norm: before it is clipped. tokens: read, padding left out.
    skipped: samples left out since the run began. step_s: since the step before, without what a
    checkpoint took. memory_bytes: the most that was held so far, by the process that watches.
    """

    step: int
    steps: int
    losses: Mapping[str, float]
    learning_rates: Mapping[str, float]
    gradient_norm: float
    tokens: int
    samples: int
    skipped: int
    step_s: float
    memory_bytes: int


@dataclass(frozen=True)
class RunFacts:
    """What a run is, as its model card tells it.

    settings: every option with its value, in the order they are shown. base, base_revision: the
    model it began with. data: how the data are called; rows: how many. devices: such as
    "NVIDIA H200", one for each process. adapter: what comes out is a LoRA for the base.
    """

    stage: str
    recipe: str
    base: str
    base_revision: str
    template: str
    data: str
    rows: int
    steps: int
    devices: tuple[str, ...]
    settings: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    adapter: bool = False


class Watcher(Protocol):
    """Somebody who is told of a run, in the first process only. What it raises ends the run."""

    def step(self, progress: Progress) -> None:
        """After each optimiser step."""

    def saving(self, step: int, folder: Path) -> None:
        """A checkpoint of this step is complete but for what is written to `folder` now."""

    def end(self) -> None:
        """The run ends: by its last step, a signal or an error."""
