"""Interval estimates of success rates (scipy's implementations)."""

from __future__ import annotations

from typing import NamedTuple

from scipy.stats import binomtest


class Rate(NamedTuple):
    """A success rate with its interval; all three are fractions, NaN when there are no episodes."""

    value: float
    low: float
    high: float


def success_rate(successes: int, episodes: int, confidence: float = 0.95) -> Rate:
    """Rate with its Wilson score interval (Wilson 1927; recommended for small n by Brown, Cai and DasGupta 2001).

    Args:
        successes: 0 .. episodes.
        episodes: Number of episodes that were run; 0 gives NaN.
        confidence: Coverage of the interval.
    """
    if episodes == 0:
        return Rate(float("nan"), float("nan"), float("nan"))
    interval = binomtest(successes, episodes).proportion_ci(confidence, method="wilson")
    return Rate(successes / episodes, float(interval.low), float(interval.high))
