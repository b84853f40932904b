"""The rows of a comparison: one task, or several taken together, as pairs, as two samples, or against published numbers.

A trial is the unit: what it gave is averaged over its seeds first. Tasks taken together are strata that count the same.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ...errors import ConfigError
from ..tables.statistics import holm, mean_interval, score_test, sign_flip_test
from ..tables.success import AVERAGE
from .published import PublishedScore
from .sources import Side, TaskOutcomes


@dataclass(frozen=True)
class Difference:
    """One row of a comparison; rates are fractions.

    Attributes:
        suite: Name of the suite, or "all suites".
        task: Name of the task, or "average".
        trials: Trials compared; for samples, the smaller side's.
        baseline, current: Averages of the two sides over what was compared.
        difference: Current minus baseline.
        low, high: Its interval of confidence 1 - 2 alpha.
        p_value: Two-sided p-value of "no difference": exact for pairs (McNemar's test or its generalisation), else a score test.
        p_adjusted: The p-value after Holm's correction over all tasks; None for averages.
        lost, gained: Trials in which current did worse, and better; None for samples.
    """

    suite: str
    task: str
    trials: int
    baseline: float
    current: float
    difference: float
    low: float
    high: float
    p_value: float
    p_adjusted: float | None = None
    lost: int | None = None
    gained: int | None = None

    def is_worse(self, alpha: float) -> bool:
        """Whether the task by itself is significantly worse, all tasks having been looked at."""
        return self.p_adjusted is not None and self.p_adjusted <= alpha and self.difference < 0

    def is_better(self, alpha: float) -> bool:
        """Whether the task by itself is significantly better, all tasks having been looked at."""
        return self.p_adjusted is not None and self.p_adjusted <= alpha and self.difference > 0


@dataclass(frozen=True)
class Pairs:
    """One task's trials that both sides have, with what each side made of them."""

    suite: str
    task: str
    baseline: list[float]
    current: list[float]

    @cached_property
    def differences(self) -> list[float]:
        """Current minus baseline, trial by trial."""
        return [c - b for b, c in zip(self.baseline, self.current, strict=True)]

    @classmethod
    def of(cls, suite: str, task: str, baseline: TaskOutcomes, current: TaskOutcomes) -> Pairs:
        """The trials in common, averaged over the seeds in common."""
        before: dict[int, list[float]] = defaultdict(list)
        after: dict[int, list[float]] = defaultdict(list)
        for trial, seed in current.keys() & baseline.keys():
            before[trial].append(baseline[trial, seed])
            after[trial].append(current[trial, seed])
        trials = sorted(before)
        return cls(suite, task, [mean(before[t]) for t in trials], [mean(after[t]) for t in trials])

    @staticmethod
    def row(tasks: Sequence[Pairs], suite: str, task: str, alpha: float, weights: Sequence[float] | None = None) -> Difference:
        """The row for tasks taken together."""
        weight = weights or [1 / len(tasks)] * len(tasks)
        strata = [pairs.differences for pairs in tasks]
        difference, low, high = mean_interval(strata, weight, (-1.0, 1.0), 1 - 2 * alpha)
        every = [d for stratum in strata for d in stratum]
        return Difference(
            suite,
            task,
            trials=len(every),
            baseline=sum(w * mean(pairs.baseline) for w, pairs in zip(weight, tasks, strict=True)),
            current=sum(w * mean(pairs.current) for w, pairs in zip(weight, tasks, strict=True)),
            difference=difference,
            low=low,
            high=high,
            p_value=sign_flip_test(every),
            lost=sum(d < 0 for d in every),
            gained=sum(d > 0 for d in every),
        )


def sample_row(
    baseline: Sequence[Sequence[float]],
    current: Sequence[Sequence[float]],
    suite: str,
    task: str,
    alpha: float,
    weights: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Difference:
    """The row for two samples, each in strata of its own, weighted the same unless told otherwise."""
    before, after = weights or ([1 / len(baseline)] * len(baseline), [1 / len(current)] * len(current))
    strata, signed = [*current, *baseline], [*after, *(-w for w in before)]
    difference, low, high = mean_interval(strata, signed, confidence=1 - 2 * alpha)
    return Difference(
        suite,
        task,
        trials=min(sum(map(len, baseline)), sum(map(len, current))),
        baseline=sum(w * mean(s) for w, s in zip(before, baseline, strict=True)),
        current=sum(w * mean(s) for w, s in zip(after, current, strict=True)),
        difference=difference,
        low=low,
        high=high,
        p_value=score_test(strata, signed),
    )


def published_row(
    pieces: Sequence[tuple[PublishedScore, Sequence[Sequence[float]]]], suite: str, task: str, alpha: float
) -> Difference:
    """The row for published numbers taken together, each counting the same; those of unknown size are taken as exact."""
    strata: list[Sequence[float]] = []
    weights: list[float] = []
    exact = 0.0
    for score, current in pieces:
        strata += current
        weights += [1 / (len(pieces) * len(current))] * len(current)
        if score.episodes is None:
            exact += score.rate / len(pieces)
        else:
            strata.append(_sample_of(score))
            weights.append(-1 / len(pieces))
    interval = mean_interval(strata, weights, confidence=1 - 2 * alpha)
    return Difference(
        suite,
        task,
        trials=sum(len(stratum) for _, current in pieces for stratum in current),
        baseline=mean([score.rate for score, _ in pieces]),
        current=mean([mean([mean(stratum) for stratum in current]) for _, current in pieces]),
        difference=interval.value - exact,
        low=interval.low - exact,
        high=interval.high - exact,
        p_value=score_test(strata, weights, null=exact),
    )


def _sample_of(score: PublishedScore) -> list[float]:
    """The episodes behind a published rate, as far as they can be told from it."""
    assert score.episodes is not None
    if not score.in_a_row:
        solved = round(score.rate * score.episodes)
        return [1.0] * solved + [0.0] * (score.episodes - solved)
    length = len(score.in_a_row)
    reached = [score.episodes, *(round(rate * score.episodes) for rate in score.in_a_row), 0]
    return [done / length for done in range(length + 1) for _ in range(reached[done] - reached[done + 1])]


def discordance(pairs: Sequence[Pairs]) -> float:
    """How much two sides differ trial by trial: the mean squared difference, the share of differing trials for 0 and 1.

    What the number of trials that it takes to see a drop depends on (`vlagym.eval.tables.statistics.paired_trials_needed`).
    """
    return mean([d * d for task in pairs for d in task.differences])


def common_pairs(baseline: Side, current: Side) -> list[Pairs]:
    """The trials that two runs have in common, task by task.

    Raises:
        ConfigError: There are none.
    """
    found = [
        Pairs.of(suite, task, before.tasks[task], after.tasks[task])
        for suite, after in current.suites.items()
        if (before := baseline.suites.get(suite))
        for task in after.tasks
        if task in before.tasks
    ]
    pairs = [pair for pair in found if pair.differences]
    if not pairs:
        raise ConfigError(f"{baseline.label} and {current.label} have no episode (suite, task, trial, seed) in common.")
    return pairs


def trial_means(outcomes: TaskOutcomes) -> list[float]:
    """One number per trial: the mean over its seeds."""
    by_trial: dict[int, list[float]] = defaultdict(list)
    for (trial, _), value in outcomes.items():
        by_trial[trial].append(value)
    return [mean(values) for values in by_trial.values()]


def with_adjusted_p_values(rows: Sequence[Difference]) -> tuple[Difference, ...]:
    """The rows with the tasks' p-values corrected for there being many of them."""
    adjusted = iter(holm([row.p_value for row in rows if row.task != AVERAGE]))
    return tuple(row if row.task == AVERAGE else replace(row, p_adjusted=next(adjusted)) for row in rows)


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean, rounded once."""
    return math.fsum(values) / len(values)
