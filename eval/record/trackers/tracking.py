"""From a run's events to what a tracker is told: the episode's own figures, the rates so far, and the table in the end."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...._registry import Registry
from ....episode import EpisodeResult, EpisodeSpec
from ....errors import RunError
from ...tables.success import AVERAGE, AVERAGE_LENGTH, chain_table, links_done, success_table
from ..console import make_console
from ..events import Subscriber
from .base import TrackedRun, Tracker

if TYPE_CHECKING:
    import pandas as pd

TRACKERS: Registry[type[Tracker]] = Registry(
    "tracker",
    {
        "tensorboard": "vlagym.eval.record.trackers.tensorboard_tracker:TensorBoardTracker",
        "wandb": "vlagym.eval.record.trackers.wandb_tracker:WandbTracker",
    },
    "vlagym.trackers",
)
# Videos of failures that a tracker is given, per task: enough to see what goes wrong, few enough to be uploaded on the way.
FAILURES_PER_TASK = 3


def load_trackers(names: Sequence[str]) -> list[tuple[str, type[Tracker]]]:
    """The trackers of these names, ready to be used.

    Raises:
        ConfigError: An unknown name (near ones are suggested).
        DependencyError: A package is missing.
    """
    found = [(name, TRACKERS.get(name)) for name in names]
    for _, tracker in found:
        tracker.check_ready()
    return found


class Tracking(Subscriber):
    """Tells one tracker of a run, and goes on without it once it fails: no tracker is worth a run.

    Args:
        name: How the tracker is called.
        tracker: The tracker.
        run: What it is told of.
    """

    def __init__(self, name: str, tracker: Tracker, run: TrackedRun) -> None:
        self._name = name
        self._tracker: Tracker | None = tracker
        self._run = run
        self._results: list[EpisodeResult] = []
        self._by_trial: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._failures_shown: Counter[tuple[str, str]] = Counter()

    def run_started(self, plan: Sequence[EpisodeSpec], finished: Sequence[EpisodeResult]) -> None:
        assert self._tracker is not None
        self._plan = plan
        for result in finished:
            self._count(result)
        try:
            self._tracker.start(self._run)
        except Exception as error:
            self._tracker = None  # what has not started is told nothing more
            raise RunError(
                f"the tracker {self._name} cannot be started ({_one_line(error)}); mend that and finish the run with "
                f"resume={self._run.folder}, or without it: resume={self._run.folder} trackers=[]."
            ) from error

    def episode_ended(self, result: EpisodeResult) -> None:
        self._count(result)
        self._tell(lambda tracker: tracker.log(len(self._results), self._figures(result)))
        video, task = result.execution.get("video"), (result.spec.suite, result.spec.task)
        if video and result.success is False and self._failures_shown[task] < FAILURES_PER_TASK:
            self._failures_shown[task] += 1
            file = self._run.folder / video
            self._tell(lambda tracker: tracker.log_failure(len(self._results), f"failures/{'/'.join(task)}", file))

    def run_ended(self, interrupted: bool) -> None:
        table = success_table(self._results, self._plan)
        figures = self._averages(table)
        self._tell(lambda tracker: tracker.finish(len(self._results), table, figures, interrupted))

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            what(self._tracker)
        except Exception as error:
            self._tracker = None
            message = f"The tracker {self._name} failed and is left out from here on: {_one_line(error)}. The run goes on."
            make_console(stderr=True).print(message, style="yellow", highlight=False, markup=False, soft_wrap=True)

    def _count(self, result: EpisodeResult) -> None:
        self._results.append(result)
        if result.error is None:
            self._by_trial[result.spec.suite, result.spec.task][result.spec.trial].append(float(bool(result.success)))

    def _figures(self, result: EpisodeResult) -> dict[str, float]:
        """The episode's own figures, and the rates of its task and suite so far."""
        suite, task = result.spec.suite, result.spec.task
        figures: dict[str, float] = {"errors": sum(r.error is not None for r in self._results)}
        if result.error is not None:
            return figures
        figures |= {"episode/success": float(bool(result.success)), "episode/steps": result.steps}
        if result.subtasks:
            figures["episode/subtasks in a row"] = links_done(result)
        if seconds := result.execution.get("seconds"):
            figures["episode/seconds"] = seconds["total"]
        rates = {t: _mean([_mean(v) for v in trials.values()]) for (s, t), trials in self._by_trial.items() if s == suite}
        return figures | {f"success/{suite}/{task}": rates[task], f"success/{suite}/{AVERAGE}": _mean(list(rates.values()))}

    def _averages(self, table: pd.DataFrame) -> dict[str, float]:
        """Averages over tasks and lengths of chains, each with its interval."""
        lengths = {leg["suite"]: max(task["chain"] for task in leg["tasks"]) for leg in self._run.settings["legs"]}
        chains = chain_table(self._results, lengths)
        rows = [(f"result/{row['suite']}", row["success_rate"], row) for row in table.to_dict("records") if row["task"] == AVERAGE]
        lengths_reached = [row for row in chains.to_dict("records") if row["in_a_row"] == AVERAGE_LENGTH]
        rows += [(f"result/{row['suite']}/{AVERAGE_LENGTH}", row["value"], row) for row in lengths_reached]
        figures: dict[str, float] = {}
        for name, value, row in rows:
            figures |= {f"{name}/value": value, f"{name}/low": row["low"], f"{name}/high": row["high"]}
        return {name: value for name, value in figures.items() if not math.isnan(value)}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
