"""Folders of runs that never ran: the same files as a real run's, with outcomes that a test chooses."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlagym.envs.base import protocol_sha256
from vlagym.episode import EpisodeResult, EpisodeSpec, SubtaskResult
from vlagym.eval.config import Leg, RunConfig, load_config
from vlagym.eval.plan import plan_sha256
from vlagym.eval.provenance import environment
from vlagym.eval.store import RunFolder

# What came of an episode: solved or not, links of a chain done, "error", or None where it was never run.
Outcome = bool | int | str | None


@functools.cache
def _settings() -> RunConfig:
    return load_config(["suite=toy", "policy=push"])


def write_run(
    folder: Path,
    suites: Mapping[str, Mapping[str, int]],
    outcome: Callable[[EpisodeSpec], Outcome],
    seeds: Sequence[int] = (0,),
    chain: int = 1,
    protocol: Mapping[str, Any] | None = None,
    notices: Sequence[str] = (),
) -> Path:
    """Write a run of `suites` (suite -> task -> trials) and return its folder."""
    legs = [_leg(suite, tasks, chain, protocol or {"horizon": 40}, notices) for suite, tasks in suites.items()]
    plan = [
        EpisodeSpec(suite, task, trial, seed)
        for suite, tasks in suites.items()
        for task, trials in tasks.items()
        for seed in seeds
        for trial in range(trials)
    ]
    config = replace(_settings(), legs=tuple(Leg({"name": s}, {"name": "push"}) for s in suites), seeds=tuple(seeds))
    header = {**environment(), "created": "2026-01-01T00:00:00+0000", "stamp": "2026_01_01-00_00_00", "episodes": len(plan)}
    run = RunFolder(folder)
    run.create(config, {**header, "plan_sha256": plan_sha256(plan), "legs": legs})
    results = [_result(spec, came, chain) for spec in plan if (came := outcome(spec)) is not None]
    run.episodes_file.write_text("".join(json.dumps(result.to_json()) + "\n" for result in results))
    return folder


def _leg(suite: str, tasks: Mapping[str, int], chain: int, protocol: Mapping[str, Any], notices: Sequence[str]) -> dict[str, Any]:
    return {
        "suite": suite,
        "tasks": [
            {"name": task, "instruction": task.replace("_", " "), "trials": trials, "horizon": 40, "chain": chain}
            for task, trials in tasks.items()
        ],
        "protocol": {"name": suite, **protocol},
        "protocol_sha256": protocol_sha256({"name": suite, **protocol}),
        "suite_provenance": {"toy": 1},
        "notices": list(notices),
        "policy": {"name": "push"},
        "policy_provenance": {"checkpoint_sha256": "0" * 64},
    }


def _result(spec: EpisodeSpec, came: bool | int | str, chain: int) -> EpisodeResult:
    if came == "error":
        return EpisodeResult(spec, "push", None, None, None, None, 0, None, None, None, error="the simulation blew up")
    links = int(came) if chain > 1 else 0
    solved = links == chain if chain > 1 else bool(came)
    subtasks = tuple(
        SubtaskResult(f"link_{i}", f"link {i}", i < links, 5 if i < links else None, 10) for i in range(min(links + 1, chain))
    )
    steps = 10 + spec.trial % 25 if solved else 40
    return EpisodeResult(
        spec,
        spec.task.replace("_", " "),
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
