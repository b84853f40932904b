"""`vla-eval bench plan=10000`: what a run of so many episodes costs besides running them: planning, queueing, merging of shards.

Each stage runs in a process of its own, which has imported what it needs; its time is that of the stage alone, its peak memory that
of the process.
"""

from __future__ import annotations

import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from ...envs.registry import make_suite
from ...episode import EpisodeSpec
from ...errors import RunError
from ..plan.plan import EpisodeQueue, plan_episodes, plan_sha256
from ..plan.shard import Shard
from ..record.merge import merge
from ..tables.folder import RunFolder
from ..tables.shards import episodes_name, write_sheet
from .processes import in_processes
from .synthetic import write_run


@dataclass(frozen=True)
class StageCost:
    """What one stage took.

    Attributes:
        stage: Its name.
        episodes: How many there were.
        seconds: Wall-clock time.
        cpu_seconds: Processor time.
        peak_rss_mb: Most memory of its process, imports included.
    """

    stage: str
    episodes: int
    seconds: float
    cpu_seconds: float
    peak_rss_mb: float


def measure_plan(settings: dict[str, Any]) -> list[StageCost]:
    """Measure what conf/bench_plan.yaml asks for."""
    stages: list[Callable[[dict[str, Any]], StageCost]] = [_plan, _queue, _merge]
    return [in_processes(1, stage, settings)[0] for stage in stages]


def plan_table(costs: Sequence[StageCost]) -> Table:
    """One row per stage."""
    table = Table("stage", "episodes", "s", "cpu s", "peak MB")
    for cost in costs:
        table.add_row(cost.stage, str(cost.episodes), f"{cost.seconds:.2f}", f"{cost.cpu_seconds:.2f}", f"{cost.peak_rss_mb:.0f}")
    together = sum(cost.seconds for cost in costs), sum(cost.cpu_seconds for cost in costs), max(c.peak_rss_mb for c in costs)
    table.add_row("together", "", f"{together[0]:.2f}", f"{together[1]:.2f}", f"{together[2]:.0f}")
    return table


def _plan(settings: dict[str, Any]) -> StageCost:
    suite = make_suite(settings["suite"])
    of_one_seed = len(plan_episodes([suite]))
    seeds = range(math.ceil(settings["plan"] / of_one_seed))
    return _measured("planning", lambda: _planned(suite, seeds))


def _planned(suite: Any, seeds: Sequence[int]) -> int:
    plan = plan_episodes([suite], seeds=seeds)
    plan_sha256(plan)
    return len(plan)


def _queue(settings: dict[str, Any]) -> StageCost:
    tasks = settings["tasks"]
    plan = [EpisodeSpec("made_up", f"task_{number % tasks}", number // tasks, 0) for number in range(settings["plan"])]
    return _measured("queueing", lambda: _handed_out(plan, settings["workers"]))


def _handed_out(plan: Sequence[EpisodeSpec], workers: int) -> int:
    queue, count = EpisodeQueue(plan), 0
    while len(queue):
        if queue.take(count % workers) is None:
            raise RunError("the queue gave nothing although it has episodes.")
        count += 1
    return count


def _merge(settings: dict[str, Any]) -> StageCost:
    tasks, count = settings["tasks"], settings["shards"]
    trials = math.ceil(settings["plan"] / tasks)
    with tempfile.TemporaryDirectory() as folder:
        run = write_run(Path(folder) / "run", {"made_up": {f"task_{i}": trials for i in range(tasks)}}, lambda _: True)
        _into_shards(run, count)
        return _measured("merging", lambda: merge(run).episodes)


def _into_shards(run: Path, count: int) -> None:
    """Divide a run's results among as many shards, as if each had run its part."""
    folder = RunFolder(run)
    lines, header = folder.episodes_file.read_text(encoding="utf-8").splitlines(keepends=True), folder.header()
    for number in range(1, count + 1):
        shard = Shard(number, count)
        (run / episodes_name(shard)).write_text("".join(shard.of(lines)), encoding="utf-8")
        write_sheet(run, shard, header, {**header, "at": header["created"]})
    folder.episodes_file.write_text("", encoding="utf-8")


def _measured(stage: str, run: Callable[[], int]) -> StageCost:
    began, began_cpu = time.perf_counter(), time.process_time()
    episodes = run()
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return StageCost(stage, episodes, seconds, cpu, peak)
