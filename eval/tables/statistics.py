"""Estimates and tests for success rates: intervals, paired and unpaired differences, multiplicity, sample sizes.

One interval serves every average in vlagym: the score interval of a weighted sum of means (`mean_interval`). With one stratum of
zeros and ones it is Wilson's (1927), with a stratum on each side of a difference Mee's (1984), with one stratum of paired
differences Tango's (1998); with several strata it is what Martin Andres, Alvarez Hernandez and Herranz Tejedor (Stat. Methods Med.
Res. 20:369, 2011) describe for proportions. So a suite's average respects its tasks as strata, and several seeds of one trial count
as one observation of that trial: three identical seeds do not make an interval narrower.

A single task near 0 or 100 % is the exception: there the score interval covers the truth too rarely (91 % at a rate of 0.99 and
50 episodes), and tables show the mid-P interval instead (`mean_mid_p`). docs/statistics.md has the coverage of each, enumerated.
Everything else is scipy's.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
import scipy  # loads its parts when they are used, which takes longer than all else that a worker process imports

from ...errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Float64Array = NDArray[np.float64]

T = TypeVar("T")

IntervalMethod = Literal["mid-p", "wilson", "exact"]

# Multipliers, per observation, among which the one that gives a limit is bracketed; the bracket is then made smaller until it is
# exact, by trying points across it and ever closer to where a straight line through its ends would cross. A limit is where
# something turns positive that rounding may make as large as _ZERO.
_MULTIPLIERS = 10.0 ** np.linspace(-8, 8, 65)
_PRECISION = 1e-12
_ACROSS = np.linspace(0, 1, 9)
_CLOSER = np.r_[-(10.0 ** -np.arange(1, 13)), 0, 10.0 ** -np.arange(1, 13)]
_ZERO = 1e-15
_NEWTON_STEPS = 60


class Rate(NamedTuple):
    """A mean with its interval; all three are NaN when there is nothing to average."""

    value: float
    low: float
    high: float


def success_rate(successes: int, episodes: int, confidence: float = 0.95, method: Literal["wilson", "exact"] = "wilson") -> Rate:
    """Rate of independent episodes with its interval.

    Args:
        successes: 0 .. episodes.
        episodes: Number of episodes that were run; 0 gives NaN.
        confidence: Coverage of the interval.
        method: ``wilson`` (score; recommended by Brown, Cai and DasGupta 2001) or ``exact`` (Clopper and Pearson 1934, whose
            coverage is never below `confidence`).
    """
    if episodes == 0:
        return Rate(math.nan, math.nan, math.nan)
    interval = scipy.stats.binomtest(successes, episodes).proportion_ci(confidence, method=method)
    return Rate(successes / episodes, float(interval.low), float(interval.high))


def mean_interval(
    strata: Sequence[ArrayLike],
    weights: Sequence[float] | None = None,
    support: tuple[float, float] = (0.0, 1.0),
    confidence: float = 0.95,
) -> Rate:
    """Weighted sum of the strata's means with its score interval.

    Args:
        strata: Independent observations of each stratum (a task's trials), each within `support`.
        weights: One per stratum; the same for all, adding up to 1, by default. Negative ones make a difference.
        support: Smallest and largest value an observation can have, whether or not it was seen.
        confidence: Coverage of the interval.

    Returns:
        NaN if a stratum is empty.
    """
    values = [np.asarray(stratum, np.float64) for stratum in strata]
    if not values or any(v.size == 0 for v in values):
        return Rate(math.nan, math.nan, math.nan)
    weight = np.full(len(values), 1 / len(values)) if weights is None else np.asarray(weights, np.float64)
    sample = _Sample.of(values, weight, support)
    estimate = float(sum(w * v.mean() for w, v in zip(weight, values, strict=True)))
    z = float(scipy.special.ndtri((1 + confidence) / 2))
    if len(values) == 1:
        return Rate(estimate, *_limits_of_one(tuple(sample.counts[0].tolist()), tuple(sample.scores[0].tolist()), estimate, z))
    return Rate(estimate, *_limits(sample, estimate, z))


def weighted_mean(values: ArrayLike, weights: ArrayLike, confidence: float = 0.95) -> Rate:
    """Mean of observations within [0, 1] that count differently, with Wilson's interval.

    The interval is that of as many equal observations as have the same variance, (sum of weights)^2 / sum of squares (Kish 1965).

    Returns:
        NaN without observations.
    """
    value, weight = np.asarray(values, np.float64), np.asarray(weights, np.float64)
    if not value.size:
        return Rate(math.nan, math.nan, math.nan)
    estimate = float((value * weight).sum() / weight.sum())
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    z = float(scipy.special.ndtri((1 + confidence) / 2))
    centre = (estimate + z**2 / (2 * effective)) / (1 + z**2 / effective)
    half = z / (1 + z**2 / effective) * math.sqrt(estimate * (1 - estimate) / effective + z**2 / (4 * effective**2))
    return Rate(estimate, max(0.0, centre - half), min(1.0, centre + half))


def mean_exact(strata: Sequence[ArrayLike], weights: Sequence[float] | None = None, confidence: float = 0.95) -> Rate:
    """Weighted mean over strata with an interval after Clopper and Pearson, never narrower than it has to be.

    Values within [0, 1], and proportions that differ between strata, vary less than as many independent episodes of the average
    rate would (Hoeffding 1956), so the interval errs on the wide side.
    """
    values = [np.asarray(stratum, np.float64) for stratum in strata]
    if not values or any(v.size == 0 for v in values):
        return Rate(math.nan, math.nan, math.nan)
    weight = [1 / len(values)] * len(values) if weights is None else weights
    estimate = float(sum(w * v.mean() for w, v in zip(weight, values, strict=True)))
    # As many observations as would give the average the variance that the strata's own numbers give it.
    effective = 1 / sum(w**2 / v.size for w, v in zip(weight, values, strict=True))
    tail = (1 - confidence) / 2
    hits = estimate * effective
    low = float(scipy.stats.beta.ppf(tail, hits, effective - hits + 1)) if hits > _ZERO else 0.0
    high = float(scipy.stats.beta.ppf(1 - tail, hits + 1, effective - hits)) if effective - hits > _ZERO * effective else 1.0
    return Rate(estimate, low, high)


def mean_mid_p(observations: ArrayLike, confidence: float = 0.95) -> Rate:
    """Mean of one stratum with its mid-P interval (Lancaster 1961; Agresti and Gottard, Comput. Stat. Data Anal. 51:6447, 2007).

    The exact interval with half of the probability of what was observed: on average it covers as often as it says, and near
    the ends more often, where the score interval does not. Means of several seeds count as fractions of a success.

    Args:
        observations: Independent, each within [0, 1]: 0 or 1, or one trial's mean over its seeds.
        confidence: Coverage of the interval.

    Returns:
        NaN if there is none.
    """
    values = np.asarray(observations, np.float64)
    if not values.size:
        return Rate(math.nan, math.nan, math.nan)
    hits, tail = float(values.sum()), (1 - confidence) / 2
    return Rate(hits / values.size, _mid_p_limit(hits, values.size, tail), 1 - _mid_p_limit(values.size - hits, values.size, tail))


@lru_cache(maxsize=2**14)  # of thousands of tasks, many have the same numbers
def _mid_p_limit(hits: float, number: int, tail: float) -> float:
    """The rate at which so many hits or more, the observed number counting half, have probability `tail`."""
    if hits < _ZERO:
        return 0.0

    def excess(rate: float) -> float:
        at_least = scipy.special.betainc(hits, number - hits + 1, rate)
        more = scipy.special.betainc(hits + 1, number - hits, rate) if number - hits > _ZERO * number else 0.0
        return float(at_least + more) / 2 - tail

    return float(scipy.optimize.brentq(excess, 0.0, 1.0))


def sign_flip_test(differences: ArrayLike) -> float:
    """Two-sided exact p-value of paired differences under "the two could have been swapped in every pair".

    With differences of -1, 0 and 1 this is the exact McNemar test. With several seeds per trial, or chains, a difference is one
    trial's average and every pattern of signs is as likely as any other (Fisher's randomisation test).

    Args:
        differences: One per trial, multiples of a common fraction with a denominator of at most 1000; others are rounded to
            thousandths, as exactness costs memory in proportion to the denominator.
    """
    values, numbers = np.unique(np.asarray(differences, np.float64), return_counts=True)
    pairs = zip(values.tolist(), numbers.tolist(), strict=True)
    fractions = _counted((Fraction(value).limit_denominator(1000), number) for value, number in pairs if value)
    if not fractions:
        return 1.0
    scale = math.lcm(*{f.denominator for f in fractions})
    if scale > 1000:
        scale = 1000
        fractions = _counted((Fraction(round(scale * f), scale), number) for f, number in fractions.items())
    counts = _counted((abs(int(f * scale)), number) for f, number in fractions.items())
    observed = abs(int(sum(f * n for f, n in fractions.items()) * scale))
    if len(counts) == 1:
        (size, count), *_ = counts.items()
        return _mcnemar((count - observed // size) // 2, count)
    probabilities = np.ones(1)
    for size, count in sorted(counts.items()):
        flips = np.zeros(2 * size * count + 1)
        flips[:: 2 * size] = _coins(count)
        probabilities = np.clip(scipy.signal.convolve(probabilities, flips), 0, None)
    sums = np.arange(len(probabilities)) - len(probabilities) // 2
    return float(min(1.0, probabilities[np.abs(sums) >= observed].sum()))


@lru_cache(maxsize=2**14)
def _mcnemar(losses: int, differing: int) -> float:
    return float(scipy.stats.binomtest(losses, differing).pvalue)


@lru_cache(maxsize=2**10)
def _coins(number: int) -> Float64Array:
    """How likely each number of heads is."""
    probabilities: Float64Array = scipy.stats.binom.pmf(np.arange(number + 1), number, 0.5)
    return probabilities


def _counted(pairs: Iterable[tuple[T, int]]) -> dict[T, int]:
    """How often there is each, of things that come with numbers."""
    counts: dict[T, int] = defaultdict(int)
    for thing, number in pairs:
        counts[thing] += number
    return counts


def score_test(
    strata: Sequence[ArrayLike], weights: Sequence[float], support: tuple[float, float] = (0.0, 1.0), null: float = 0.0
) -> float:
    """Two-sided p-value of "the weighted sum of the strata's means is `null`", the test that `mean_interval` inverts."""
    values = [np.asarray(stratum, np.float64) for stratum in strata]
    weight = np.asarray(weights, np.float64)
    estimate = float(sum(w * v.mean() for w, v in zip(weight, values, strict=True)))
    distance = estimate - null
    if abs(distance) < _ZERO:
        return 1.0
    sample = _Sample.of(values, weight, support)
    sign = 1.0 if distance > 0 else -1.0
    grid = sign * sample.observations * _MULTIPLIERS
    sums, _ = sample.constrained(grid)
    crossed = np.flatnonzero((sums - null) * sign <= 0)
    if not len(crossed):
        return 0.0
    first = int(crossed[0])
    nearer = grid[first - 1] if first else 0.0
    multiplier = scipy.optimize.brentq(lambda m: float(sample.constrained(np.array([m]))[0][0]) - null, nearer, grid[first])
    variance = float(sample.constrained(np.array([multiplier]))[1][0])
    return float(2 * scipy.special.ndtr(-abs(distance) / math.sqrt(variance))) if variance > 0 else 0.0


def holm(pvalues: Sequence[float]) -> list[float]:
    """P-values adjusted after Holm (1979): calling those up to alpha significant errs anywhere with probability alpha at most."""
    order = np.argsort(pvalues, kind="stable")
    steps = np.asarray(pvalues, np.float64)[order] * np.arange(len(pvalues), 0, -1)
    adjusted = np.empty(len(pvalues))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(pvalues) else steps
    return [float(p) for p in adjusted]


def paired_trials_needed(drop: float, discordance: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Pairs needed to see a drop between two runs of the same trials (one-sided; Connor, Biometrics 43:207, 1987).

    Args:
        drop: Size of the drop as a fraction, above 0.
        discordance: Share of the trials in which the two runs come out differently; at least `drop`.
        alpha: Chance of seeing one where there is none.
        power: Chance of seeing it.

    Raises:
        ConfigError: Fractions that cannot be.
    """
    _check_fractions(drop=drop, alpha=alpha, power=power)
    if not drop <= discordance <= 1:
        raise ConfigError(
            f"a drop of {100 * drop:g} points means that at least as many trials differ; got {100 * discordance:g} % differing."
        )
    null, alternative = math.sqrt(discordance), math.sqrt(discordance - drop**2)
    reach = scipy.special.ndtri(1 - alpha) * null + scipy.special.ndtri(power) * alternative
    return math.ceil(float(reach / drop) ** 2)


def unpaired_episodes_needed(drop: float, rate: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Episodes needed in each of two unrelated runs to see a drop from `rate` to ``rate - drop`` (one-sided).

    The pooled-variance formula (Fleiss, Levin and Paik 2003, eq. 4.14 without continuity correction).

    Raises:
        ConfigError: Fractions that cannot be.
    """
    _check_fractions(drop=drop, alpha=alpha, power=power)
    lower = rate - drop
    if not 0 <= lower < rate <= 1:
        raise ConfigError(f"a rate of {100 * rate:g} % cannot drop by {100 * drop:g} points.")
    pooled = (rate + lower) / 2
    null = scipy.special.ndtri(1 - alpha) * math.sqrt(2 * pooled * (1 - pooled))
    alternative = scipy.special.ndtri(power) * math.sqrt(rate * (1 - rate) + lower * (1 - lower))
    return math.ceil(float((null + alternative) / drop) ** 2)


class _Sample(NamedTuple):
    """Observations as counts of distinct values. Strata that are the same (of thousands of tasks, most) are worked out once.

    Attributes:
        counts: int[K, values], of each of K kinds of strata.
        scores: float64[K, values], each value times its stratum's weight.
        kinds: int[strata], of which kind each stratum is.
        observations: Number of observations in all.
    """

    counts: Float64Array
    scores: Float64Array
    kinds: NDArray[np.intp]
    observations: int

    @classmethod
    def of(cls, values: Sequence[Float64Array], weights: Float64Array, support: tuple[float, float]) -> _Sample:
        distinct = np.unique(np.concatenate([*values, np.asarray(support)]))
        if distinct[0] < support[0] or distinct[-1] > support[1]:
            raise ValueError(f"observations from {distinct[0]} to {distinct[-1]} are outside {support}")
        counts = np.array([np.bincount(np.searchsorted(distinct, v), minlength=len(distinct)) for v in values], np.float64)
        both = np.hstack([counts, weights[:, None] * distinct])
        kinds, kind_of = np.unique(both, axis=0, return_inverse=True)
        return cls(kinds[:, : len(distinct)], kinds[:, len(distinct) :], kind_of.ravel(), int(counts.sum()))

    def constrained(self, multipliers: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Weighted sums float64[M] and their variances float64[M] where the likelihood is largest for each sum.

        Maximising the multinomial likelihood under a given weighted sum gives every value the probability count / (mu + multiplier
        x score), mu making a stratum's probabilities add up to 1; a value that was not seen takes what is left when the sum cannot
        be had from the others. A multiplier above 0 makes the sum smaller than observed, one below 0 larger.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            tilt = multipliers[:, None, None] * self.scores
            seen = self.counts > 0
            mu = np.where(seen, self.counts - tilt, -np.inf).max(axis=2, keepdims=True)
            tilt_of_seen = np.where(seen, tilt, np.inf)  # a share of what was not seen, 0 / inf, is 0
            for _ in range(_NEWTON_STEPS):  # from the left on a convex falling function: monotone, and quadratic near the root
                scale = mu + tilt_of_seen
                shares = self.counts / scale
                slope = (shares / scale).sum(axis=2, keepdims=True)
                step = (shares.sum(axis=2, keepdims=True) - 1) / slope
                mu = mu + step
                if (np.abs(step) <= 1e-14 * np.abs(mu)).all():
                    break
            least = tilt.min(axis=2, keepdims=True)
            mu = np.maximum(mu, -least)
            shares = np.where(seen, self.counts / (mu + tilt), 0.0)
            # When mu was raised to its bound, the extreme value, which was not seen, takes what is missing to 1.
            unseen = (tilt == least) & ~seen
            missing = np.clip(1 - shares.sum(axis=2, keepdims=True), 0, None)
            shares = shares + np.where(unseen, missing / np.maximum(1, unseen.sum(axis=2, keepdims=True)), 0.0)
        means = (shares * self.scores).sum(axis=2)
        variances = ((shares * self.scores**2).sum(axis=2) - means**2).clip(min=0) / self.counts.sum(axis=1)
        return means.take(self.kinds, axis=1).sum(axis=1), variances.take(self.kinds, axis=1).sum(axis=1)


@lru_cache(maxsize=2**14)  # of thousands of tasks, many have the same numbers
def _limits_of_one(counts: tuple[float, ...], scores: tuple[float, ...], estimate: float, z: float) -> tuple[float, float]:
    return _limits(_Sample(np.array([counts]), np.array([scores]), np.zeros(1, np.intp), int(sum(counts))), estimate, z)


def _limits(sample: _Sample, estimate: float, z: float) -> tuple[float, float]:
    return _limit(sample, estimate, z, +1.0), _limit(sample, estimate, z, -1.0)


def _limit(sample: _Sample, estimate: float, z: float, sign: float) -> float:
    """The lower (sign 1) or upper (-1) limit: where the distance from the estimate is z standard errors."""
    multipliers = sign * sample.observations * _MULTIPLIERS
    while True:
        sums, variances = sample.constrained(multipliers)
        excess = (sums - estimate) ** 2 - z**2 * variances
        inside = int(np.flatnonzero(excess <= _ZERO)[-1])
        if inside + 1 == len(multipliers):  # nothing lies beyond: the estimate is the end of the support
            return float(sums[inside])
        lower, upper = multipliers[inside], multipliers[inside + 1]
        if abs(upper - lower) <= _PRECISION * abs(upper):
            return float(sums[inside])
        crossing = excess[inside] / (excess[inside] - excess[inside + 1])
        shares = np.clip(np.r_[_ACROSS, crossing + _CLOSER], 0, 1)
        multipliers = lower + (upper - lower) * np.unique(shares)


def _check_fractions(**fractions: Any) -> None:
    for name, value in fractions.items():
        if not 0 < value < 1:
            raise ConfigError(f"{name} must be between 0 and 1 (100 %); got {value!r}.")
