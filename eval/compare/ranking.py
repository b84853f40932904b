"""Several runs of the same trials at once: do they differ, which pairs do, and which cannot be told from the best.

A ranking of rates claims more than the data say. What is claimed here holds for all pairs together with confidence 1 - alpha:
Cochran's Q (1950) asks whether the runs differ at all, every pair is compared trial by trial with the exact test of
`Pairs.row`, Holm's correction over all pairs, and the set that cannot be told from the best has every run that no other is
significantly better than. The best one is left out of it with probability alpha at most, since that takes a wrong rejection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ...errors import ConfigError
from ..tables.statistics import Rate, holm, mean_interval
from ..tables.success import ALL_SUITES, AVERAGE
from .comparison import Question, protocol_notes, side_notes
from .rows import Difference, Pairs
from .sources import Side, SuiteOutcomes, TaskOutcomes

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class CochranTest:
    """Cochran's Q with its degrees of freedom and p-value; NaN where all runs came out the same in every trial."""

    statistic: float
    degrees: int
    p_value: float


@dataclass(frozen=True)
class Ranking:
    """The outcome of comparing several runs.

    Attributes:
        labels: The runs, the one with the highest rate first.
        question: What was asked; only its alpha and what it allows count.
        trials: Trials that all of them have.
        rates: Average over tasks of each run over these trials, with its interval of confidence 1 - alpha.
        cochran: Whether they differ at all.
        pairs: Every pair, (better label, other label) with their difference, the p-value corrected for all pairs.
        best: Runs that cannot be told from the best.
        notes: What else one has to know, in sentences.
    """

    labels: tuple[str, ...]
    question: Question
    trials: int
    rates: tuple[Rate, ...]
    cochran: CochranTest
    pairs: tuple[tuple[str, str, Difference], ...]
    best: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def conclusion(self) -> str:
        """The answer in a sentence."""
        confidence = f"{100 * (1 - self.question.alpha):.4g} %"
        if len(self.best) == 1:
            return f"{self.best[0]} is better than all others ({confidence} confidence, all pairs considered)."
        rest = [label for label in self.labels if label not in self.best]
        told = f"; {', '.join(rest)} {'is' if len(rest) == 1 else 'are'} worse than at least one of them" if rest else ""
        return f"These cannot be told from the best: {', '.join(self.best)}{told} ({confidence} confidence, all pairs considered)."

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        record = asdict(self)
        record["rates"] = [rate._asdict() for rate in self.rates]
        record["pairs"] = [{"better": one, "other": other, **asdict(row)} for one, other, row in self.pairs]
        return {**record, "conclusion": self.conclusion}


def rank(sides: Sequence[Side], question: Question) -> Ranking:
    """Compare several runs of ours on the trials that all of them have.

    Raises:
        ConfigError: Fewer than three, two of one name, different protocols, gaps, or no trial in common.
    """
    _check(sides, question)
    suites = [suite for suite in sides[0].suites if all(suite in side.suites for side in sides)]
    tables = [_common_trials([side.suites[suite] for side in sides], suite) for suite in suites]
    tables = [table for table in tables if table]
    if not tables:
        raise ConfigError(f"{', '.join(side.label for side in sides)} have no episode (suite, task, trial, seed) in common.")
    weights = [1 / (len(tables) * len(table)) for table in tables for _ in table]
    strata = [values for table in tables for values in table]  # per task, float64[trials, runs]
    rates = [mean_interval([v[:, run] for v in strata], weights, confidence=1 - question.alpha) for run in range(len(sides))]
    order = sorted(range(len(sides)), key=lambda run: -rates[run].value)
    rows = [(i, j, _pair(strata, weights, i, j, question.alpha)) for i, j in combinations(order, 2)]
    adjusted = holm([row.p_value for _, _, row in rows])
    rows = [(i, j, replace(row, p_adjusted=p)) for (i, j, row), p in zip(rows, adjusted, strict=True)]
    beaten = {i if row.difference > 0 else j for i, j, row in rows if row.difference and (row.p_adjusted or 0) <= question.alpha}
    labels = [side.label for side in sides]
    everything = np.concatenate(strata)
    return Ranking(
        labels=tuple(labels[run] for run in order),
        question=question,
        trials=len(everything),
        rates=tuple(rates[run] for run in order),
        cochran=cochran_test(everything),
        pairs=tuple((labels[i], labels[j], row) for i, j, row in rows),
        best=tuple(labels[run] for run in order if run not in beaten),
        notes=tuple(_notes(sides, suites, question, len(everything))),
    )


def cochran_test(outcomes: Float64Array) -> CochranTest:
    """Cochran's Q test (Biometrika 37:256, 1950) that several runs solve the same trials equally often.

    Args:
        outcomes: float64[trials, runs] within [0, 1]. For 0 and 1 it is Cochran's statistic; for means over seeds and shares of
            chains the same permutation argument gives the same formula with the trial's own variance.
    """
    runs = outcomes.shape[1]
    totals = outcomes.sum(axis=0)
    within = float(((outcomes - outcomes.mean(axis=1, keepdims=True)) ** 2).sum())
    if within == 0:
        return CochranTest(float("nan"), runs - 1, float("nan"))
    statistic = float((runs - 1) * ((totals - totals.mean()) ** 2).sum() / within)
    return CochranTest(statistic, runs - 1, float(scipy.stats.chi2.sf(statistic, runs - 1)))


def _check(sides: Sequence[Side], question: Question) -> None:
    labels = [side.label for side in sides]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice:
        raise ConfigError(f"{twice} is named twice; name every run once, from folders with different names.")
    foreign = [side.label for side in sides if side.run is None]
    if foreign:
        raise ConfigError(f"{foreign[0]} is no run of vla-eval; several are compared trial by trial, which only runs can be.")
    gaps = [f"{side.label} is incomplete: {', '.join(side.gaps)}" for side in sides if side.gaps]
    if gaps and not question.allow_incomplete:
        raise ConfigError(f"{'; '.join(gaps)}. Finish it (vla-eval resume=RUN), or pass --allow-incomplete.")


def _common_trials(sides: Sequence[SuiteOutcomes], suite: str) -> list[Float64Array]:
    """Per task of a suite, float64[trials, runs]: the trials that all runs have, averaged over the seeds that all have."""
    tables = []
    for task in sides[0].tasks:
        outcomes: list[TaskOutcomes] = [side.tasks.get(task, {}) for side in sides]
        keys = set.intersection(*(set(found) for found in outcomes))
        trials = sorted({trial for trial, _ in keys})
        rows = [[np.mean([found[k] for k in sorted(keys) if k[0] == trial]) for found in outcomes] for trial in trials]
        if rows:
            tables.append(np.array(rows, np.float64))
    return tables


def _pair(strata: Sequence[Float64Array], weights: Sequence[float], better: int, other: int, alpha: float) -> Difference:
    """Other minus better over all tasks, as `Pairs.row` has it."""
    tasks = [Pairs("", "", values[:, better].tolist(), values[:, other].tolist()) for values in strata]
    return Pairs.row(tasks, ALL_SUITES, AVERAGE, alpha, weights)


def _notes(sides: Sequence[Side], suites: Sequence[str], question: Question, trials: int) -> list[str]:
    notes = [note for side in sides for note in side_notes(side)]
    notes += [note for side in sides[1:] for note in protocol_notes(sides[0], side, suites, question)]
    most = max(len(o) for side in sides for s in suites for o in [[k for t in side.suites[s].tasks.values() for k in t]])
    if most > trials:
        notes.append(f"{trials} trials that all runs have were compared.")
    return list(dict.fromkeys(notes))
