"""What a run ran on: enough to tell, months later, why two numbers differ."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ... import __version__
from ...edges.secrets import masked, masked_arguments
from ...envs.identity import tree_sha256
from ...envs.spec import Task
from ...envs.suite import Suite, protocol_sha256
from ...episode import EpisodeSpec
from ..plan.config import Leg
from ..plan.realtime import Realtime
from .departures import departure_notice, departures

# Where the code is that decides what an episode comes to; the rest of vlagym plans, records and reports.
_DECIDING = ("envs/**/*.py", "envs/**/*.json", "policies/**/*.py", "eval/run/*.py", "episode.py")
_PACKAGES = (
    "gymnasium",
    "hf-libero",
    "hydra-core",
    "imageio-ffmpeg",
    "mujoco",
    "numba",
    "numpy",
    "opencv-python",
    "pandas",
    "pybullet",
    "robosuite",
    "sapien",
    "scipy",
    "torch",
    "transformers",
)


def environment() -> dict[str, Any]:
    """Versions and machine as plain JSON values."""
    return {
        "vlagym": __version__,
        "commit": _git_commit(Path(__file__).parent),
        "code_sha256": _code_sha256(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "packages": {name: found for name in _PACKAGES if (found := _package_version(name))},
        "command": masked_arguments(sys.argv),
    }


def leg_header(suite: Suite, leg: Leg, plan: Sequence[EpisodeSpec], realtime: Realtime | None = None) -> dict[str, Any]:
    """What a leg measures and with what, as plain JSON values; the policy's own part is added when it has been built.

    Tasks are listed with the trials planned of each, and variants with what they change, so that a run can be read without its
    benchmark's package and data.
    """
    protocol, control_hz = suite.protocol(), suite.action_spec.control_hz
    late = []
    if realtime is not None and not realtime.is_plain(control_hz):  # no delay is the suite's own protocol
        protocol["realtime"] = {**realtime.protocol(), "control_hz": control_hz}
        late = [f"This is not the protocol of {suite.name}: {realtime.described(control_hz)}. It is not the suite's score."]
    departs = departures(suite, plan)
    planned: dict[str, dict[int, None]] = defaultdict(dict)  # in the order of the plan
    for spec in plan:
        if spec.suite == suite.name:
            planned[spec.task][spec.trial] = None
    notice = departure_notice(suite.name, departs, len(planned)) if departs else None
    return {
        "suite": suite.name,
        "tasks": [_task_header(task, list(planned[task.name])) for task in suite.tasks() if task.name in planned],
        **_variants_header(suite, planned),
        "protocol": masked(protocol),
        "protocol_sha256": protocol_sha256(protocol),
        "suite_provenance": suite.provenance(),
        "departures": departs,
        "notices": [*suite.notices(), *([notice] if notice else []), *late],
        "policy": masked(leg.policy),
        "policy_provenance": None,
    }


def _task_header(task: Task, planned: Sequence[int]) -> dict[str, Any]:
    return {**asdict(task), "trials": len(planned), "chosen": None if task.chosen is None else planned}


def _variants_header(suite: Suite, planned: Mapping[str, Iterable[int]]) -> dict[str, Any]:
    """What the trials of a perturbation suite change, and the plain suite that they are paired with; nothing of another suite."""
    variants = {task: [[trial, suite.variant(task, trial)] for trial in trials] for task, trials in planned.items()}
    if all(variant is None for listed in variants.values() for _, variant in listed):
        return {}
    said = {"plain_suite": suite.plain_suite, "weighted_total": suite.weighted_total, "coverage": suite.coverage}
    return {**said, "variants": variants}


@cache
def _code_sha256() -> str:
    """Hash of those of vlagym's own files that decide results: a version or a commit does not tell of an edited file."""
    root = Path(__file__).parents[2]
    return tree_sha256(root, (file for pattern in _DECIDING for file in root.glob(pattern)))


def _package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_commit(folder: Path) -> str | None:
    """Commit of the checkout the code runs from, ``+changes`` if it was edited; None outside a checkout or without git."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True)
        status = subprocess.run(
            # Only looking: a `git status` that is stopped half-way must not leave its lock on the checkout.
            ["git", "--no-optional-locks", "status", "--porcelain", "-uno"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+changes" if status.stdout.strip() else "")


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
