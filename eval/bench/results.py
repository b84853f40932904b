"""`vla-eval bench results=50000`: time and memory of the commands that read runs, on two made-up runs of so many episodes.

Every command runs in a process of its own, from the start of Python to its exit, and is measured by what the kernel accounted for
that process (wait4). The runs are written by yet another process: a child's peak memory counts that of whoever started it.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ...episode import EpisodeSpec
from ...errors import ConfigError, RunError
from .processes import in_processes

# Success rates of the two runs, and a margin with which their comparison passes: every command is to end with exit code 0.
_RATES = (0.8, 0.72)
_MARGIN = "50"
_FEWEST_EPISODES = 100
_RUNS = ("baseline", "current")
_ARGUMENTS = {
    "compare": (*_RUNS, "--margin", _MARGIN, "--json", "comparison.json"),
    "report": (*_RUNS, "--output", "report"),
    "table": (_RUNS[0],),
}
_NOTICE = "These episodes were made up by vla-eval bench."


@dataclass(frozen=True)
class CommandCost:
    """What one command took.

    Attributes:
        command: Name of the command.
        seconds: Wall-clock time from its start to its exit, of the fastest repeat.
        cpu_seconds: Processor time of its process, of that repeat.
        peak_rss_mb: Most memory it had resident in any repeat.
    """

    command: str
    seconds: float
    cpu_seconds: float
    peak_rss_mb: float


def measure_commands(settings: dict[str, Any]) -> tuple[int, list[CommandCost]]:
    """Write two runs as conf/bench_results.yaml asks for and measure the commands on them; returns their episodes and the costs.

    Raises:
        ConfigError: A setting has no meaning.
    """
    _check(settings)
    with ExitStack() as stack:
        folder = Path(settings["folder"] or stack.enter_context(tempfile.TemporaryDirectory())).resolve()
        (episodes,) = in_processes(1, write_runs, folder, settings)
        return episodes, [measure(command, folder, settings["repeats"]) for command in settings["commands"]]


def write_runs(folder: Path, settings: dict[str, Any]) -> int:
    """Write the two runs below a folder; returns the episodes in each."""
    from .synthetic import write_run

    suites, tasks, seeds = (int(settings[name]) for name in ("suites", "tasks", "seeds"))
    trials = math.ceil(int(settings["results"]) / (suites * tasks * seeds))
    plan = {f"suite_{i}": {f"task_{i}_{j}": trials for j in range(tasks)} for i in range(suites)}
    generator = np.random.default_rng(0)
    for name, rate in zip(_RUNS, _RATES, strict=True):
        write_run(folder / name, plan, partial(_solved, generator, rate), range(seeds), notices=[_NOTICE])
    return trials * suites * tasks * seeds


def _solved(generator: np.random.Generator, rate: float, _: EpisodeSpec) -> bool:
    return bool(generator.random() < rate)


def measure(command: str, folder: Path, repeats: int) -> CommandCost:
    """Run a command on the two runs in `folder`.

    Raises:
        RunError: It ended in an error.
    """
    program = "import sys; from vlagym.eval.cli import main; sys.exit(main())"
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryFile() as output:
            began = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-c", program, command, *_ARGUMENTS[command]], cwd=folder, stdout=output, stderr=output
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                output.seek(0)
                told = output.read().decode(errors="replace").strip()
                raise RunError(f"vla-eval {command} ended with exit code {process.returncode}: {told[-2000:]}")
        peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        found.append(CommandCost(command, seconds, usage.ru_utime + usage.ru_stime, peak))
    fastest = min(found, key=lambda cost: cost.seconds)
    return CommandCost(command, fastest.seconds, fastest.cpu_seconds, max(cost.peak_rss_mb for cost in found))


def cost_table(costs: Sequence[CommandCost], episodes: int) -> Table:
    """One row per command."""
    table = Table(f"on runs of {episodes} episodes", "s", "cpu s", "peak MB")
    for cost in costs:
        table.add_row(cost.command, f"{cost.seconds:.2f}", f"{cost.cpu_seconds:.2f}", f"{cost.peak_rss_mb:.0f}")
    return table


def _check(settings: dict[str, Any]) -> None:
    for name in ("results", "suites", "tasks", "seeds", "repeats"):
        if not isinstance(settings[name], int) or settings[name] < 1:
            raise ConfigError(f"{name} must be a number from 1; got {settings[name]!r}.")
    if settings["results"] < _FEWEST_EPISODES:
        raise ConfigError(f"results must be a number from {_FEWEST_EPISODES}; got {settings['results']}.")
    unknown = [command for command in settings["commands"] if command not in _ARGUMENTS]
    if unknown:
        raise ConfigError(f"commands: {unknown[0]!r} is none of {', '.join(_ARGUMENTS)}.")
    folder = settings["folder"]
    if folder and Path(folder).exists() and any(Path(folder).iterdir()):
        raise ConfigError(f"{folder} is not empty; choose another folder=.")
