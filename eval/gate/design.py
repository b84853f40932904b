"""When a gate may stop: a group-sequential design with error spending.

The data are looked at several times, and every look could mislead, so each is given a share of the error probability: what may have
been used up by then grows with the square of the share of the plan that was seen (Kim and DeMets, Biometrika 74:149, 1987, power
family with exponent 2; Lan and DeMets, Biometrika 70:659, 1983). The critical values follow from the joint normal distribution of
the statistics by the recursion of Armitage, McPherson and Rowe (J. R. Stat. Soc. A 132:235, 1969). Reading the verdict from an
interval of that width at every look (Jennison and Turnbull's repeated confidence intervals, 1989) keeps either error at alpha,
whenever the gate stops.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import scipy

from ...episode import EpisodeSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOKS = 10
_SPENDING_EXPONENT = 2
_GRID_POINTS, _GRID_REACH = 801, 8.0


def spent_alpha(fraction: float, alpha: float) -> float:
    """Error probability used up when this share of the plan has been looked at."""
    return alpha * fraction**_SPENDING_EXPONENT


def critical_values(fractions: Sequence[float], cumulative_alpha: Sequence[float]) -> list[float]:
    """What a standard normal statistic has to exceed at each look, one-sided.

    Args:
        fractions: Shares of the information at the looks, rising to at most 1.
        cumulative_alpha: Probability of having exceeded by then, rising.
    """
    values: list[float] = []
    points, weights = np.zeros(1), np.ones(1)  # where the sum of the data can be if no look has ended it, and how likely
    before = spent = 0.0
    for fraction, cumulative in zip(fractions, cumulative_alpha, strict=True):
        scale, step = math.sqrt(fraction), math.sqrt(fraction - before)
        boundary = _boundary(points, weights, step, cumulative - spent, _GRID_REACH * scale)
        following = np.linspace(-_GRID_REACH * scale, boundary, _GRID_POINTS)
        spacing = np.full(_GRID_POINTS, following[1] - following[0])
        spacing[[0, -1]] /= 2
        weights = (scipy.stats.norm.pdf(following[:, None], points, step) @ weights) * spacing
        points = following
        values.append(boundary / scale)
        before, spent = fraction, cumulative
    return values


def _boundary(points: NDArray[np.float64], weights: NDArray[np.float64], step: float, probability: float, reach: float) -> float:
    """The level that the sum exceeds with this probability after one more step."""

    def exceeded(level: float) -> float:
        return float(weights @ scipy.stats.norm.sf(level, points, step)) - probability

    return float(scipy.optimize.brentq(exceeded, -reach, reach))


@dataclass(frozen=True)
class Design:
    """In what order a plan is run, and how sure one has to be at each look.

    Attributes:
        rounds: Episodes added before each look. Every look has seen about the same share of every task's trials, drawn without
            regard to their numbers, which may mean something; all seeds of a trial come together.
        alphas: One-sided level of the interval that is read at each look.
    """

    rounds: tuple[tuple[EpisodeSpec, ...], ...]
    alphas: tuple[float, ...]

    @classmethod
    def of(cls, plan: Sequence[EpisodeSpec], alpha: float, looks: int = LOOKS) -> Design:
        """The design for a plan: at most so many looks, fewer where tasks have fewer trials than that."""
        trials: dict[tuple[str, str], list[int]] = defaultdict(list)
        for spec in plan:
            if spec.trial not in trials[spec.suite, spec.task]:
                trials[spec.suite, spec.task].append(spec.trial)
        number = min(looks, max(map(len, trials.values())))
        look_of = {}
        for task, known in trials.items():
            for place, trial in enumerate(sorted(known, key=partial(_shuffled, *task)), 1):
                look_of[task, trial] = math.ceil(place * number / len(known)) - 1
        rounds = tuple(
            tuple(spec for spec in plan if look_of[(spec.suite, spec.task), spec.trial] == look) for look in range(number)
        )
        seen = np.cumsum([len(episodes) for episodes in rounds]) / len(plan)
        levels = critical_values(seen.tolist(), [spent_alpha(fraction, alpha) for fraction in seen])
        return cls(rounds, tuple(float(scipy.stats.norm.sf(level)) for level in levels))


def _shuffled(suite: str, task: str, trial: int) -> str:
    """A sort key that is as good as random, the same in every run."""
    return hashlib.sha256(f"{suite}/{task}/{trial}".encode()).hexdigest()
