"""Figures of steps on their way from the device, which never waits for somebody to look at them.

On a GPU a step's are read once the next step is queued: only then would there be nothing to do.
Imports torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Figures:
    """Of one step: scalars by name."""

    step: int
    values: Mapping[str, float]


class Reader:
    """Takes scalars of each step; gives them back as numbers, `behind` steps later.

    behind: None is what suits the device.
    """

    def __init__(self, device: torch.device, behind: int | None = None) -> None:
        self._behind = (1 if device.type == "cuda" else 0) if behind is None else behind
        self._on_gpu = device.type == "cuda"
        self._waiting: deque[tuple[int, tuple[str, ...], Tensor, Callable[[], None] | None]] = (
            deque()
        )

    def put(self, step: int, scalars: Mapping[str, Tensor]) -> None:
        """Send a step's on their way."""
        stacked = torch.stack([value.detach().float() for value in scalars.values()])
        arrived: Callable[[], None] | None = None
        if self._on_gpu:
            host = torch.empty(stacked.shape, pin_memory=True)
            host.copy_(stacked, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            stacked, arrived = host, event.synchronize
        self._waiting.append((step, tuple(scalars), stacked, arrived))

    def arrived(self, *, all_of_them: bool = False) -> Iterator[Figures]:
        """Those that can be looked at without holding up the device, or all."""
        while len(self._waiting) > (0 if all_of_them else self._behind):
            step, names, values, arrived = self._waiting.popleft()
            if arrived is not None:
                arrived()
            yield Figures(step, dict(zip(names, values.tolist(), strict=True)))
