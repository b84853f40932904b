"""Folders of runs that never ran: the same files as a real run's, with outcomes that a caller chooses, for tests and benchmarks."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...envs.suite import protocol_sha256
from ...episode import EpisodeResult, EpisodeSpec, SubtaskResult
from ..plan.config import Leg, RunConfig, load_config
from ..plan.plan import plan_sha256
from ..record.provenance import environment
from ..tables.folder import RunFolder

Came = bool | int | str | None
HORIZON = 40


def write_run(
    folder: Path,
    suites: Mapping[str, Mapping[str, int]],
    outcome: Callable[[EpisodeSpec], Came],
    seeds: Sequence[int] = (0,),
    chain: int = 1,
    protocol: Mapping[str, Any] | None = None,
    notices: Sequence[str] = (),
) -> Path:
    """Write a run and return its folder.

    Args:
        folder: Where; it must not hold anything yet.
        suites: Suite -> task -> trials.
        outcome: What came of an episode: solved or not, the links done of a chain, ``"error"``, or None where it was never run.
        seeds: Every trial is run once per seed.
        chain: Links of the chain that every episode is.
        protocol: What was measured.
        notices: Sentences that outputs about the run must carry.

    Raises:
        RunError: The folder is not empty or cannot be written.
    """
    legs = [_leg(suite, tasks, chain, protocol or {"horizon": HORIZON}, notices) for suite, tasks in suites.items()]
    plan = [
        EpisodeSpec(suite, task, trial, seed)
        for suite, tasks in suites.items()
        for task, trials in tasks.items()
        for seed in seeds
        for trial in range(trials)
    ]
    config = replace(_settings(), legs=tuple(Leg({"name": s}, {"name": "random"}) for s in suites), seeds=tuple(seeds))
    header = {**environment(), "created": "2026-01-01T00:00:00+0000", "stamp": "2026_01_01-00_00_00", "episodes": len(plan)}
    run = RunFolder(folder)
    run.create(config, {**header, "plan_sha256": plan_sha256(plan), "legs": legs}).close()
    with run.episodes_file.open("w", encoding="utf-8") as file:
        for spec in plan:
            if (came := outcome(spec)) is not None:
                file.write(json.dumps(_result(spec, came, chain).to_json()) + "\n")
    return folder


@functools.cache
def _settings() -> RunConfig:
    return load_config(["policy=random"])


def _leg(suite: str, tasks: Mapping[str, int], chain: int, protocol: Mapping[str, Any], notices: Sequence[str]) -> dict[str, Any]:
    return {
        "suite": suite,
        "tasks": [
            {"name": task, "instruction": task.replace("_", " "), "trials": trials, "horizon": HORIZON, "chain": chain}
            for task, trials in tasks.items()
        ],
        "protocol": {"name": suite, **protocol},
        "protocol_sha256": protocol_sha256({"name": suite, **protocol}),
        "suite_provenance": {"synthetic": True},
        "notices": list(notices),
        "policy": {"name": "random"},
        "policy_provenance": {"checkpoint_sha256": "0" * 64},
    }


def _result(spec: EpisodeSpec, came: bool | int | str, chain: int) -> EpisodeResult:
    instruction = spec.task.replace("_", " ")
    if came == "error":
        return EpisodeResult(spec, instruction, None, None, None, None, 0, None, None, None, error="the simulation blew up")
    links = int(came) if chain > 1 else 0
    solved = links == chain if chain > 1 else bool(came)
    subtasks = tuple(
        SubtaskResult(f"link_{i}", f"link {i}", i < links, 5 if i < links else None, 10) for i in range(min(links + 1, chain))
    )
    steps = 10 + spec.trial % 25 if solved else HORIZON
    return EpisodeResult(
        spec,
        instruction,
        solved,
        solved,
        solved,
        steps if solved else None,
        steps,
        "success" if solved else "horizon",
        "a" * 64,
        f"{int(solved):064d}",
        subtasks if chain > 1 else (),
        execution={"worker": 0, "attempts": 1, "seconds": {"total": 1.5, "physics": 0.7, "rendering": 0.6, "idle": 0.2}},
    )
