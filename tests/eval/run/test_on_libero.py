"""24 real LIBERO episodes come out the same however they are run: the promise a user's number rests on."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needs import need_suite
from waiting import wait_until

from vlagym.episode import EpisodeSpec
from vlagym.eval.plan.config import load_config
from vlagym.eval.plan.plan import plan_episodes
from vlagym.eval.record.events import Subscriber
from vlagym.eval.run import evaluation as run_module
from vlagym.eval.run.evaluation import evaluate
from vlagym.eval.tables.folder import RunFolder
from vlagym.trajectory import load_trajectory

VLA_EVAL = [sys.executable, "-m", "vlagym.eval.cli"]
Records = Callable[[Path], list[dict[str, Any]]]

# Two tasks whose fixtures move from reset to reset, one of them with growing property initialisers, and one whose fixtures stay.
SETTINGS = (
    "suite=[libero_goal,libero_spatial,libero_object]",
    "policy=random",
    "policy.chunk=8",
    "tasks=[0]",
    "episodes_per_task=8",
)
CHEAP = ("video=none", "suite.horizon=40")
EPISODES = 24
pytestmark = pytest.mark.slow  # by day tests/envs/libero compares with the stock loop, and the toy suite kills and reorders


@pytest.fixture(scope="module", autouse=True)
def _libero() -> None:
    need_suite("libero_goal")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The episodes one after the other in one worker."""
    return _evaluate(tmp_path_factory.mktemp("alone") / "run", "workers=1")


def test_two_workers(alone: Path, tmp_path: Path, records: Records) -> None:
    together = _evaluate(tmp_path / "run", "workers=2")
    assert len(records(alone)) == EPISODES
    assert records(together) == records(alone)
    _assert_same_trajectories(together, alone)


def test_another_order(alone: Path, tmp_path: Path, records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    def shuffled(*arguments: Any) -> list[EpisodeSpec]:
        plan = plan_episodes(*arguments)
        return random.Random(0).sample(plan, len(plan))

    monkeypatch.setattr(run_module, "plan_episodes", shuffled)
    assert records(_evaluate(tmp_path / "run", "workers=2")) == records(alone)


class _KillsAWorker(Subscriber):
    """Kills a worker in the middle of the third and of the ninth episode."""

    def __init__(self) -> None:
        self.started = self.killed = 0

    def episode_started(self, spec: EpisodeSpec, worker: int) -> None:
        self.started += 1

    def chunk_done(self, spec: EpisodeSpec, steps: int) -> None:
        if self.started >= 3 and self.killed < (1 if self.started < 9 else 2) and steps >= 16:
            victim = random.Random(self.killed).choice(multiprocessing.active_children())
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGKILL)
            self.killed += 1


def test_two_killed_workers(alone: Path, tmp_path: Path, records: Records) -> None:
    killer = _KillsAWorker()
    disturbed = _evaluate(tmp_path / "run", "workers=2", subscriber=killer)
    assert killer.killed == 2
    assert sum(result.execution["attempts"] for result in RunFolder(disturbed).results()) == EPISODES + 2
    assert records(disturbed) == records(alone)


def test_the_main_process_killed_and_the_run_resumed(alone: Path, tmp_path: Path, records: Records) -> None:
    folder = tmp_path / "run"
    _kill_after_five([*SETTINGS, *CHEAP, f"run_dir={folder}"], folder)
    subprocess.run([*VLA_EVAL, f"resume={folder}"], check=True, stdout=subprocess.DEVNULL)
    assert records(folder) == records(alone)
    _assert_same_trajectories(folder, alone)


def _evaluate(folder: Path, *overrides: str, subscriber: Subscriber | None = None) -> Path:
    outcome = evaluate(load_config([*SETTINGS, *CHEAP, f"run_dir={folder}", *overrides]), [subscriber] if subscriber else [])
    assert outcome.complete
    return outcome.folder


def _assert_same_trajectories(one: Path, other: Path) -> None:
    trajectories = _trajectories(one), _trajectories(other)
    assert trajectories[0].keys() == trajectories[1].keys()
    assert len(trajectories[0]) == EPISODES
    for name in trajectories[0]:
        first, second = (load_trajectory(files[name]) for files in trajectories)
        for key in ("actions", "render_states", "physics_states"):
            np.testing.assert_array_equal(first[key], second[key])  # type: ignore[literal-required]


def _trajectories(run: Path) -> dict[str, Path]:
    """The files by their names without the episode's place in the plan."""
    return {file.name.partition("--")[2]: file for file in (run / "trajectories").glob("*.npz")}


def _kill_after_five(arguments: list[str], folder: Path) -> None:
    """Run `vla-eval` until five episodes are over, and kill it."""
    with subprocess.Popen([*VLA_EVAL, *arguments], stdout=subprocess.DEVNULL) as process:
        try:
            file = folder / "episodes.jsonl"
            wait_until(lambda: file.exists() and file.read_text().count("\n") >= 5, 900)
        finally:
            process.kill()
    assert len(RunFolder(folder).results()) < EPISODES
