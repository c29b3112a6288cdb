"""How long and how fast a part learns. Imports nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

Run = Mapping[str, str | int | float | None]


@dataclass(frozen=True)
class LoopOptions:
    """How long and how fast to learn.

    steps: optimiser steps in all. lr: AdamW's peak learning rate. part_lr: another one for weights
    whose names begin so, such as `projector`. matrix_lr: Muon's, for the weights of the hidden
    linear layers; None leaves them to AdamW too. warmup_share: of the steps, rising linearly (3 %
    in LLaVA, arXiv 2304.08485). weight_decay: AdamW's and Muon's. betas: AdamW's; CLIP's second
    one (arXiv 2103.00020, table 20) is the default. clip_norm: of the gradient. save_every: steps.
    keep: the newest checkpoints that stay. bf16: autocast, worth it where the processor multiplies
    bf16. run: what else tells this run from others, such as its data and its seed.
    """

    steps: int
    lr: float
    part_lr: Mapping[str, float] = field(default_factory=dict)
    matrix_lr: float | None = None
    warmup_share: float = 0.03
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = 1.0
    save_every: int = 500
    keep: int = 2
    log_every: int = 50
    bf16: bool = True
    run: Run = field(default_factory=dict)

    def described(self, name: str) -> Run:
        """What a run is: with any of it changed, going on would mix two runs."""
        may_change = ("save_every", "keep", "log_every", "bf16", "run", "part_lr", "betas")
        shared = {key: value for key, value in asdict(self).items() if key not in may_change}
        rates = {f"{part}_lr": lr for part, lr in self.part_lr.items()}
        return {"part": name, **shared, **rates, "betas": str(self.betas), **self.run}


def steps_of_a_line(steps: int) -> int:
    """How many steps go into a line where nobody said: a twentieth of the run, 50 at most.

    >>> steps_of_a_line(8), steps_of_a_line(100), steps_of_a_line(5197)
    (1, 5, 50)
    """
    return max(1, min(50, steps // 20))


def learning_rate_share(step: int, steps: int, warmup_share: float) -> float:
    """The share of the peak learning rate at `step`: a linear rise, then a cosine to zero.

    >>> [round(learning_rate_share(s, 100, 0.1), 2) for s in (0, 9, 10, 55, 99)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    warmup = max(1, round(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
