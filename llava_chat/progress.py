"""How far a long piece of work has come: told by whoever does it, shown by whoever asked for it.

Imports nothing, so that a download, a load and a page can share it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Progress:
    """One step of opening a model.

    step: what is being done, in a few words ("downloading the weights"). done, total: how much of
    it, counted in `unit`; a total of 0 is not known yet.
    """

    step: str
    done: int
    total: int
    unit: Literal["bytes", "files"]

    @property
    def share(self) -> float | None:
        """0 to 1, None while the total is not known.

        >>> Progress("reading the weights", 1, 4, "files").share
        0.25
        """
        return min(self.done / self.total, 1.0) if self.total else None


Report = Callable[[Progress], None]
"""Takes each step as it is made. It is called from the thread that does the work, and often."""
