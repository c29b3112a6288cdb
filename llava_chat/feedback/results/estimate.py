"""A figure with its interval, by the bootstrap, and how much there must be before one is shown.

Imports numpy, where it is used alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

RESAMPLES = 1_000
"""As Efron and Tibshirani (An Introduction to the Bootstrap, 1993, 19.3) want for intervals."""
CONFIDENCE = 0.95
SEED = 20_260_131
"""The same answers give the same interval, today and tomorrow; any number would do."""

MIN_RATERS = 2
"""One who judges alone agrees with nobody."""
MIN_ITEMS = 20
"""Where nothing was seen in n cases, up to 3/n of all may be so (the rule of three: Hanley and
Lippman-Hand, JAMA 249, 1983): below 20 a faultless record still allows for 15 % of mistakes, and
an interval of resampled items is too narrow."""
MIN_VOTES = 20
"""Of one contestant, for the same reason."""
MIN_GOLD = 10
"""Of one person. Wilson's interval is honest for few (Brown, Cai and DasGupta, Statistical Science
16, 2001), but with fewer than 10 it is wider than a half, and says nothing of anybody."""


@dataclass(frozen=True)
class Estimate:
    """A figure, and from where to where it is likely to be, with CONFIDENCE."""

    value: float
    low: float
    high: float

    def told(self) -> dict[str, float]:
        """As JSON has it, to four places.

        >>> Estimate(0.815, 0.61234567, 0.9).told()
        {'value': 0.815, 'low': 0.6123, 'high': 0.9}
        """
        return {
            "value": round(self.value, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
        }


def percentile_interval(value: float, resampled: Sequence[float] | Array) -> Estimate:
    """The middle CONFIDENCE of what resamples gave; those that gave nothing (NaN) do not count."""
    import numpy as np

    given = np.asarray(resampled, dtype=float)
    given = given[np.isfinite(given)]
    if not len(given):
        return Estimate(value, value, value)
    low, high = np.quantile(given, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Estimate(value, float(low), float(high))


def share(count: int, of: int) -> Estimate:
    """A share with Wilson's interval.

    >>> share(9, 10).told()
    {'value': 0.9, 'low': 0.5958, 'high': 0.9821}
    """
    from scipy.stats import binomtest

    interval = binomtest(count, of).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(count / of, float(interval.low), float(interval.high))


def too_few(missing: int, of_what: str) -> str:
    """The sentence that stands where a figure would.

    >>> too_few(7, "items that two people judged")
    'Too few to say: 7 more items that two people judged needed.'
    """
    return f"Too few to say: {missing:,} more {of_what} needed."
