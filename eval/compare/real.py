"""Does a simulator rank policies as the real robot does: MMRV and Pearson's r over at least three policies, with intervals.

The mean maximum rank violation and Pearson's r are SimplerEnv's measures (arXiv 2405.05941, section IV;
simpler-env/SimplerEnv@6f5a5f7, simpler_env/utils/metrics.py, whose strict inequality is kept where rates tie). Four to six policies
give wide intervals, so none is shown without: simulated trials are drawn again task by task, real ones as binomial counts.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._registry import unknown_name
from ...errors import ConfigError
from ..tables.statistics import Rate
from ..tables.success import AVERAGE
from .published import TASKS_OF_GROUP
from .rows import trial_means
from .sources import Side

BUILT_IN = "simplerenv"
TABLE_FILE = Path(__file__).parents[2] / "results" / "published" / "real_robot.json"
FEWEST_POLICIES = 3
RESAMPLES = 2000
CONFIDENCE = 0.95
_COLUMNS = ("policy", "task", "rate", "episodes")

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class RealRate:
    """What the real robot did with one policy on one task: a fraction, and the episodes behind it (None if unknown)."""

    policy: str
    task: str
    rate: float
    episodes: int | None


@dataclass(frozen=True)
class Agreement:
    """How far simulator and robot agree on one task, or on the average over tasks.

    Attributes:
        task: Name of the task or of a group of tasks.
        policies: The policies that both sides have, in the table's order.
        sim, real: Their rates.
        mmrv: Mean maximum rank violation, a difference of real rates: 0 if the order is the same.
        pearson: Correlation coefficient; NaN where one side gives every policy the same rate.
    """

    task: str
    policies: tuple[str, ...]
    sim: tuple[float, ...]
    real: tuple[float, ...]
    mmrv: Rate
    pearson: Rate

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "mmrv": self.mmrv._asdict(), "pearson": self.pearson._asdict()}


def mean_maximum_rank_violation(sim: Sequence[float] | Float64Array, real: Sequence[float] | Float64Array) -> float:
    """Mean over policies of the largest real difference to another policy that the simulator puts on the other side.

    Args:
        sim: One rate per policy.
        real: Likewise.
    """
    s, r = np.asarray(sim, np.float64), np.asarray(real, np.float64)
    violated = (s[:, None] > s) != (r[:, None] > r)
    return float((np.abs(r[:, None] - r) * violated).max(axis=1).mean())


def pearson_correlation(sim: Sequence[float] | Float64Array, real: Sequence[float] | Float64Array) -> float:
    """Pearson's r; NaN where one side does not vary."""
    s, r = np.asarray(sim, np.float64) - np.mean(sim), np.asarray(real, np.float64) - np.mean(real)
    if np.ptp(sim) == 0 or np.ptp(real) == 0:
        return math.nan
    return float((s * r).sum()) / math.sqrt(float((s * s).sum() * (r * r).sum()))


def load_real_table(source: str) -> list[RealRate]:
    """Real rates: ``simplerenv`` for SimplerEnv's published ones, else a CSV file with policy, task, rate in percent, episodes.

    Raises:
        ConfigError: No such table, or a line that is not one.
    """
    if source == BUILT_IN:
        return [
            RealRate(policy, row["task"], rate / 100, row["real_episodes"])
            for row in published_pairs()
            for policy, rate in row["real"].items()
        ]
    path = Path(source)
    if not path.is_file():
        raise ConfigError(f"{source} is neither {BUILT_IN!r} (SimplerEnv's published real rates) nor a CSV file.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in _COLUMNS[:3] if column not in (reader.fieldnames or ())]
            if missing:
                raise ConfigError(f"{path} has no column {missing[0]!r}; it needs {', '.join(_COLUMNS)} (episodes may be empty).")
            return [_real_rate(path, number, row) for number, row in enumerate(reader, 2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read as CSV: {error}.") from error


def published_pairs() -> list[dict[str, Any]]:
    """SimplerEnv's rates of real robot and simulator per task, in percent (simpler_env/utils/metrics.py at 6f5a5f7).

    Numbers of episodes are those of tools/calc_metrics_evaluation_videos.py there; the real eggplant rates are multiples of 1/20.
    """
    rows: list[dict[str, Any]] = json.loads(TABLE_FILE.read_text(encoding="utf-8"))
    return rows


def agreements(table: Sequence[RealRate], sides: Mapping[str, Side]) -> list[Agreement]:
    """Compare runs with a table of real rates, task by task and, for several tasks, on their average.

    Args:
        table: The real rates.
        sides: Policy as the table calls it -> its run.

    Raises:
        ConfigError: A policy that the table does not have, or no task with three policies on both sides.
    """
    known = dict.fromkeys(row.policy for row in table)
    for policy in sides:
        if policy not in known:
            raise ConfigError(f"{unknown_name('policy of the table', policy, known)} Call a run by its name there: NAME=RUN.")
    found = []
    for task in dict.fromkeys(row.task for row in table):
        real = {row.policy: row for row in table if row.task == task and row.policy in sides}
        sim = {policy: strata for policy in real if (strata := _strata(sides[policy], task))}
        if len(sim) >= FEWEST_POLICIES:
            found.append(_Samples.of_runs(task, [real[policy] for policy in sim], list(sim.values())))
    return _conclude(found)


def published_agreements() -> list[Agreement]:
    """SimplerEnv's own numbers against each other, as its paper does."""
    found = []
    for row in published_pairs():
        real = [RealRate(policy, row["task"], rate / 100, row["real_episodes"]) for policy, rate in row["real"].items()]
        sim = [RealRate(policy, row["task"], row["sim"][policy] / 100, row["sim_episodes"]) for policy in row["real"]]
        found.append(_Samples.of_rates(row["task"], real, sim))
    return _conclude(found)


@dataclass(frozen=True)
class _Samples:
    """Rates of the policies on one task, and what they would have been in other samples: float64[RESAMPLES, policies]."""

    task: str
    policies: tuple[str, ...]
    sim: Float64Array
    real: Float64Array
    resampled_sim: Float64Array
    resampled_real: Float64Array

    @classmethod
    def of_runs(cls, task: str, real: Sequence[RealRate], strata: Sequence[Sequence[Sequence[float]]]) -> _Samples:
        generator = _generator(task)
        sim = np.array([np.mean([np.mean(trials) for trials in tasks]) for tasks in strata])
        again = [np.mean([_resampled_means(trials, generator) for trials in tasks], axis=0) for tasks in strata]
        return cls(
            task, tuple(r.policy for r in real), sim, _rates(real), np.stack(again, axis=1), _resampled_rates(real, generator)
        )

    @classmethod
    def of_rates(cls, task: str, real: Sequence[RealRate], sim: Sequence[RealRate]) -> _Samples:
        generator = _generator(task)
        resampled = [_resampled_rates(rates, generator) for rates in (sim, real)]
        return cls(task, tuple(r.policy for r in real), _rates(sim), _rates(real), *resampled)

    def agreement(self) -> Agreement:
        again = list(zip(self.resampled_sim, self.resampled_real, strict=True))
        violations = np.array([mean_maximum_rank_violation(s, r) for s, r in again])
        correlations = np.array([pearson_correlation(s, r) for s, r in again])
        return Agreement(
            self.task,
            self.policies,
            tuple(self.sim.tolist()),
            tuple(self.real.tolist()),
            Rate(mean_maximum_rank_violation(self.sim, self.real), *_percentiles(violations)),
            Rate(pearson_correlation(self.sim, self.real), *_percentiles(correlations)),
        )


def _conclude(found: Sequence[_Samples]) -> list[Agreement]:
    """Task by task, and the average over the tasks that have the same policies as the first."""
    if not found:
        raise ConfigError(
            f"agreement with the real robot takes at least {FEWEST_POLICIES} policies with a rate of the same task on both sides; "
            "there is no such task."
        )
    rows = [samples.agreement() for samples in found]
    for policies in dict.fromkeys(samples.policies for samples in found):
        same = [samples for samples in found if samples.policies == policies]
        if len(same) > 1:
            name = f"{AVERAGE} of {len(same)} tasks"
            means = [np.mean([getattr(s, a) for s in same], axis=0) for a in ("sim", "real", "resampled_sim", "resampled_real")]
            rows.append(_Samples(name, policies, *means).agreement())
    return rows


def _real_rate(path: Path, number: int, row: Mapping[str, str | None]) -> RealRate:
    try:
        rate = float(row["rate"] or "nan")
        episodes = int(row["episodes"]) if row.get("episodes") else None  # type: ignore[arg-type]
        if not (row["policy"] and row["task"] and 0 <= rate <= 100 and (episodes is None or episodes > 0)):
            raise ValueError("not in range")
    except ValueError as error:
        expected = "policy, task, rate (0 to 100) and episodes (a count, or nothing) are expected"
        raise ConfigError(f"{path}, line {number}: {expected}; got {dict(row)}.") from error
    return RealRate(str(row["policy"]), str(row["task"]), rate / 100, episodes)


def _strata(side: Side, task: str) -> list[list[float]]:
    """The trials of each task that the table's name covers: a task, a group of tasks, or ``average`` for all."""
    patterns = ("*",) if task == AVERAGE else TASKS_OF_GROUP.get(task, (task,))
    return [
        trial_means(outcomes)
        for suite in side.suites.values()
        for name, outcomes in suite.tasks.items()
        if outcomes and any(fnmatchcase(name, pattern) for pattern in patterns)
    ]


def _generator(task: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(list(task.encode())))


def _rates(rates: Sequence[RealRate]) -> Float64Array:
    return np.array([r.rate for r in rates])


def _resampled_means(trials: Sequence[float], generator: np.random.Generator) -> Float64Array:
    values = np.asarray(trials, np.float64)
    means: Float64Array = values[generator.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    return means


def _resampled_rates(rates: Sequence[RealRate], generator: np.random.Generator) -> Float64Array:
    """Rates of unknown size stay as they are."""
    columns = [
        np.full(RESAMPLES, r.rate) if r.episodes is None else generator.binomial(r.episodes, r.rate, RESAMPLES) / r.episodes
        for r in rates
    ]
    return np.stack(columns, axis=1)


def _percentiles(values: Float64Array) -> tuple[float, float]:
    found = values[~np.isnan(values)]
    if not found.size:
        return math.nan, math.nan
    low, high = np.percentile(found, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return float(low), float(high)
