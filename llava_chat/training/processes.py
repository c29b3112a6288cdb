"""The processes that train one model: which part of a step is whose, and how they agree.

One process needs nothing of this. Several are started by `accelerate launch` or torchrun, which
also say whether the weights are copied (DDP) or shared out (FSDP, DeepSpeed); what accelerate makes
of them is used as it is. Imports torch and `compiling`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from llava_chat.training.compiling import autocast

Optimisers = list[torch.optim.Optimizer]
Made = TypeVar("Made")


class Processes:
    """One process, which has nobody to agree with.

    index: of this one of `count`. device: None leaves the model where it is. sharded: no process
    holds all of the weights.
    """

    index = 0
    count = 1
    device: torch.device | None = None
    sharded = False

    @property
    def first(self) -> bool:
        """Whether this one writes what there is one of, and tells how far they are."""
        return self.index == 0

    def wrap(
        self, learner: nn.Module, optimisers: Optimisers, *, clip_norm: float, micro_batch_size: int
    ) -> tuple[nn.Module, Optimisers]:
        """The same as they are trained, each called as before."""
        return learner, optimisers

    def autocast(
        self, device: torch.device, enabled: bool
    ) -> contextlib.AbstractContextManager[Any]:
        """bfloat16 where it is asked for."""
        return autocast(device, enabled)

    def backward(self, learner: nn.Module, loss: Tensor, *, last: bool) -> None:
        """Gradients of a part of a step; after its last one they are of all processes together."""
        loss.backward()

    def holding(self, learner: nn.Module, *, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Around a part's forward and backward: gradients are exchanged for the last one alone."""
        return contextlib.nullcontext()

    def clip(self, learner: nn.Module, learned: Sequence[nn.Parameter], max_norm: float) -> Tensor:
        """Clip the gradient; return its norm before, on the device."""
        return nn.utils.clip_grad_norm_(learned, max_norm)

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """Each number, of all processes together. All of them call it, or each waits for ever."""
        return [*numbers]

    def add_up(self, figures: Tensor) -> None:
        """The same on the device, in place, without waiting for it."""

    def texts(self, mine: Sequence[str]) -> list[str]:
        """Those of all processes, in their order."""
        return [*mine]

    def together(self, work: Callable[[], object]) -> None:
        """Do a part each; raise LlavaChatError in every process when it fails in one."""
        work()

    def from_first(self, make: Callable[[], Made]) -> Made:
        """What the first process makes, in all of them."""
        return make()

    def save_shards(self, folder: Path) -> None:
        """What each process holds of a sharded run."""
        raise NotImplementedError("one process holds all of it")

    def load_shards(self, folder: Path) -> None:
        """The same, read again."""
        raise NotImplementedError("one process holds all of it")

    def whole_state(self, learner: nn.Module) -> dict[str, Tensor]:
        """Every weight by its name in `learner`; in the first process only."""
        return learner.state_dict()

    def end(self) -> None:
        """Part from the others."""


def parts(batch_size: int, micro_batch_size: int | None, processes: Processes) -> list[range]:
    """Which samples of a step's batch this process takes at a time.

    Its share is contiguous; every process has as many parts, so that none waits for another, and
    so some may be empty. micro_batch_size: None is the whole share.

    >>> parts(8, 3, Processes())
    [range(0, 3), range(3, 6), range(6, 8)]
    """
    count, index = processes.count, processes.index
    begin, end = batch_size * index // count, batch_size * (index + 1) // count
    largest = -(-batch_size // count)
    size = min(micro_batch_size or largest, largest)
    return [
        range(min(first, end), min(first + size, end))
        for first in range(begin, begin + largest, size)
    ]
