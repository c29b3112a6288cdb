"""How sure a figure is, where few seeds and many pictures say it.

Two things vary: what a seed makes of the training, and which pictures happen to be asked about.
The margin is the root of both squared: Student's of the seeds' scatter, and that of resampled
pictures. The scatter of the seeds holds some of the pictures' already, so that intervals are
rather too wide than too narrow. Imports numpy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# Student's t, the quantile of 97.5 % for 1, 2, ... degrees of freedom (NIST/SEMATECH e-Handbook of
# Statistical Methods, 1.3.6.7.2). More seeds keep the last, which is a little wide for them.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
_NORMAL = 1.960
_RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean, and half the width of its interval of 95 %; None where one seed tells no scatter."""

    mean: float
    margin: float | None

    def clear(self) -> bool:
        """Whether 0 lies outside of the interval."""
        return self.margin is not None and abs(self.mean) > self.margin


def estimate(scores: np.ndarray, asked: np.ndarray) -> Estimate:
    """scores: (seeds, pictures), right answers or differences of them; asked: (pictures) questions.

    >>> estimate(np.array([[1.0, 1, 0, 0], [1, 1, 0, 0]]), np.ones(4)).mean
    0.5
    >>> estimate(np.array([[1.0, 0]]), np.ones(2)).margin is None
    True
    """
    by_seed = scores.sum(1) / asked.sum()
    seeds = len(by_seed)
    if seeds < 2:
        return Estimate(float(by_seed.mean()), None)
    drawn = np.random.default_rng(0).integers(len(asked), size=(_RESAMPLES, len(asked)))
    resampled = scores.mean(0)[drawn].sum(1) / asked[drawn].sum(1)
    t = _T[min(seeds - 2, len(_T) - 1)]
    of_seeds = t * float(by_seed.std(ddof=1)) / math.sqrt(seeds)
    return Estimate(float(by_seed.mean()), math.hypot(of_seeds, _NORMAL * float(resampled.std())))
