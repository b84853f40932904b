"""A run read back from its folder: what was planned, what came of it, and on what it ran. Nothing is ever written.

A run can be read anywhere: neither the benchmark's package nor its assets are needed, because the header lists the planned tasks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...edges.settings import shown
from ...episode import EpisodeResult, EpisodeSpec
from ...errors import RunError
from ..plan.config import RunConfig
from ..plan.plan import plan_sha256
from .folder import RunFolder, joined
from .realtime import realtime_table
from .schema import MOST_EPISODES
from .statistics import IntervalMethod
from .subtasks import steps_table, subtask_table
from .success import AVERAGE, chain_table, group_table, links_done, success_table, to_markdown
from .variants import Variants, category_table, coverages_of, variants_of, weighted_totals_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Run:
    """A run's records, complete or not.

    Attributes:
        path: Its folder.
        config: The settings it was started with.
        header: What it ran on, as run.json has it.
        plan: All planned episodes, in the order of the plan.
        results: What is known of them: at most one result per planned episode, in the order of the plan.
    """

    path: Path
    config: RunConfig
    header: dict[str, Any]
    plan: tuple[EpisodeSpec, ...]
    results: tuple[EpisodeResult, ...]

    def __repr__(self) -> str:
        rows = [row for row in self.table().to_dict("records") if row["task"] == AVERAGE]
        rates = [_rate_in_words(row) for row in rows]
        state = "" if self.complete else f", {len(self.missing)} not run, {len(self.errors)} errors"
        return f"<Run {self.path}: {'; '.join(rates)}{state}>"

    def _repr_markdown_(self) -> str:
        """The success table, where a notebook shows the run."""
        return to_markdown(self.table(), self.notices)

    @property
    def success_rate(self) -> float:
        """The average over tasks (over suites), as a fraction; NaN where nothing ran."""
        return float(self.table()["success_rate"].iloc[-1])

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.path.resolve().name

    @property
    def notices(self) -> list[str]:
        """Sentences that every output about the run must carry."""
        return [*merged_notices(self.header), *_gate_notices(self.name, self.header)]

    @property
    def imported(self) -> dict[str, Any] | None:
        """Of results that others' code measured: where they are from; None for a run of ours."""
        found: dict[str, Any] | None = self.header.get("imported")
        return found

    @cached_property
    def by_spec(self) -> dict[EpisodeSpec, EpisodeResult]:
        """The results by episode."""
        return {result.spec: result for result in self.results}

    def file_of(self, result: EpisodeResult, kind: Literal["video", "trajectory"]) -> Path | None:
        """The file that the run says it has of an episode, there or not; never one outside its folder."""
        name: str | None = result.execution.get(kind)
        if not name:
            return None
        folder, last = os.path.split(name)
        if last not in ("", ".", "..") and (parent := self._inside(folder)) is not None:
            file: Path = parent / last
            if not file.is_symlink():  # then it is where its folder is, which all of them share
                return file
        return self._inside(name)

    def _inside(self, name: str) -> Path | None:
        """What a name in the run's folder really is; None outside that folder."""
        if name not in self._real:
            root = self.path.resolve()
            real = (root / name).resolve()
            self._real[name] = real if real.is_relative_to(root) else None
        return self._real[name]

    @cached_property
    def _real(self) -> dict[str, Path | None]:
        return {}

    @property
    def errors(self) -> list[EpisodeResult]:
        """Episodes that could not be run."""
        return [result for result in self.results if result.error is not None]

    @property
    def missing(self) -> list[EpisodeSpec]:
        """Planned episodes without a result."""
        return [spec for spec in self.plan if spec not in self.by_spec] if len(self.results) < len(self.plan) else []

    @property
    def complete(self) -> bool:
        """Whether every planned episode has a result that is not an error."""
        return not self.missing and not self.errors

    @property
    def chain_lengths(self) -> dict[str, int]:
        """Suite -> subtasks an episode asks for in a row; 1 where it asks for one thing."""
        return {leg["suite"]: max(task["chain"] for task in leg["tasks"]) for leg in self.header["legs"]}

    def table(self, confidence: float = 0.95, interval: IntervalMethod = "mid-p") -> pd.DataFrame:
        """The success table (see `vlagym.eval.tables.success.success_table`)."""
        return success_table(self.results, self.plan, confidence, interval)

    @property
    def group_of_task(self) -> dict[tuple[str, str], str]:
        """(suite, task) -> the group of tasks with which papers report it; empty where they report it by itself."""
        return {(leg["suite"], task["name"]): task.get("group", "") for leg in self.header["legs"] for task in leg["tasks"]}

    def groups(self, confidence: float = 0.95, interval: IntervalMethod = "mid-p") -> pd.DataFrame:
        """Means over groups of tasks (see `vlagym.eval.tables.success.group_table`); empty where no suite has groups."""
        return group_table(self.results, self.plan, self.group_of_task, confidence, interval)

    @cached_property
    def variants(self) -> Variants:
        """What the trials of perturbation suites change; empty where a run has no such suite."""
        return variants_of(self.header)

    def categories(self, confidence: float = 0.95) -> pd.DataFrame:
        """Means over the variants of every category (see `vlagym.eval.tables.variants.category_table`); empty without variants."""
        totals, coverages = weighted_totals_of(self.header), coverages_of(self.header)
        return category_table(self.results, self.plan, self.variants, totals, confidence, coverages)

    def chains(self, confidence: float = 0.95, interval: IntervalMethod = "mid-p") -> pd.DataFrame:
        """How far chains got (see `vlagym.eval.tables.success.chain_table`); empty where no episode is one."""
        return chain_table(self.results, self.chain_lengths, confidence, interval)

    def timings(self) -> pd.DataFrame:
        """What came of the simulated clock (see `vlagym.eval.tables.realtime.realtime_table`); empty where the world waited."""
        return realtime_table(self.results, self.plan)

    def subtasks(self, confidence: float = 0.95, interval: IntervalMethod = "mid-p") -> pd.DataFrame:
        """How often each subtask was done (see `vlagym.eval.tables.subtasks.subtask_table`); empty where no episode has any."""
        return subtask_table(self.results, confidence, interval)

    def steps(self) -> pd.DataFrame:
        """How many steps successes take (see `vlagym.eval.tables.subtasks.steps_table`)."""
        return steps_table(() if self.imported else self.results)

    def episodes(self) -> pd.DataFrame:
        """One row per episode with a result: the fields of `EpisodeResult`, its subtasks as ``links_done``, times and files."""
        import pandas as pd

        rows = []
        for result in self.results:
            record = result.to_json()
            execution, timing = record.pop("execution"), record.pop("timing", {})
            seconds = execution.get("seconds", {}).get("total")
            files = {"video": execution.get("video"), "trajectory": execution.get("trajectory")}
            rows.append(
                {
                    **record,
                    "subtasks": len(result.subtasks),
                    "links_done": links_done(result),
                    "seconds": seconds,
                    **files,
                    **_on_the_clock(timing),
                }
            )
        return pd.DataFrame(rows)


def _on_the_clock(timing: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of an episode's timing, of which ``seconds`` are others than those that the run took."""
    return {f"clock_{name}" if name == "seconds" else name: value for name, value in timing.items()}


def _rate_in_words(row: dict[str, Any]) -> str:
    if not row["episodes"]:
        return f"{row['suite']} -"
    interval = f"{100 * row['low']:.1f} - {100 * row['high']:.1f} %"
    return f"{row['suite']} {100 * row['success_rate']:.1f} % ({row['successes']}/{row['episodes']}, {interval})"


def merged_notices(header: dict[str, Any]) -> list[str]:
    """The sentences every output of the run must carry, each once."""
    legs: Sequence[dict[str, Any]] = header["legs"]
    return list(dict.fromkeys(notice for leg in legs for notice in leg["notices"]))


def _gate_notices(name: str, header: dict[str, Any]) -> list[str]:
    """What has to be known of a run that a gate ended early."""
    gate = header.get("gate")
    if gate is None or gate["verdict"] == "cannot tell" or gate["look"] == gate["looks"]:
        return []
    return [
        f"{name} was run by a gate against {Path(gate['baseline']).name}, which ended at look {gate['look']} of {gate['looks']}: "
        f"{gate['verdict']}. It did not need what it did not run, and an ordinary interval of what it ran is too narrow."
    ]


def load_run(path: str | Path) -> Run:
    """Read a run's folder.

    An unfinished run is read as far as it got, a last line that a crash cut short left out.

    Raises:
        RunError: The folder holds no run, or one of its files is damaged.
    """
    folder = RunFolder(Path(path))
    config, header, plan = load_plan(folder)
    found = joined(folder.results_by_file())
    return Run(folder.path, config, header, plan, tuple(result for spec in plan if (result := found.get(spec)) is not None))


def load_plan(folder: RunFolder) -> tuple[RunConfig, dict[str, Any], tuple[EpisodeSpec, ...]]:
    """The settings of a run, its header, and its plan, which must be of one run.

    Raises:
        RunError: The folder holds no run, or one of these files is damaged or of another run.
    """
    config, header = folder.config(), folder.header()
    check_belong_together(folder, config, header)
    plan = _plan(header, config)
    if plan_sha256(plan) != header["plan_sha256"]:
        raise _strangers(folder, "they give another plan than the recorded one")
    return config, header, plan


def _trials_of(task: dict[str, Any], config: RunConfig) -> Sequence[int]:
    chosen: Sequence[int] | None = task.get("chosen")
    return config.trials or (range(task["trials"]) if chosen is None else chosen)


def check_belong_together(folder: RunFolder, config: RunConfig, header: dict[str, Any]) -> None:
    """Make sure that a run's settings and its header are of one run, and of a size that a run can have.

    Raises:
        RunError: They are not.
    """
    asked = [(leg.suite["name"], leg.policy["name"]) for leg in config.legs]
    recorded = [(leg["suite"], leg["policy"]["name"]) for leg in header["legs"]]
    if asked != recorded:
        raise _strangers(folder, f"one has {shown(asked)}, the other {shown(recorded)}")
    trials = sum(len(_trials_of(task, config)) for leg in header["legs"] for task in leg["tasks"])
    episodes = len(config.seeds) * trials
    if episodes != header["episodes"] or episodes > MOST_EPISODES:
        raise _strangers(folder, f"{episodes} episodes are planned instead of {header['episodes']} (of at most {MOST_EPISODES})")


def _strangers(folder: RunFolder, why: str) -> RunError:
    return RunError(f"{folder.path}: run.json and config.yaml do not belong together ({why}); take both from the same run.")


def _plan(header: dict[str, Any], config: RunConfig) -> tuple[EpisodeSpec, ...]:
    """The planned episodes in the order of `vlagym.eval.plan.plan.plan_episodes`."""
    return tuple(
        EpisodeSpec(leg["suite"], task["name"], trial, seed)
        for leg in header["legs"]
        for task in leg["tasks"]
        for seed in config.seeds
        for trial in _trials_of(task, config)
    )
