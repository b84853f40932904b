"""A run comes out the same in one process, with two seats of the policy, in seven shards of which two are killed, and on Ray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from many_processes import run_in_shards
from needs import need_suite
from ray_cluster import LosesAMachine, actors, ray_cluster

from vlagym.eval.plan.config import load_config
from vlagym.eval.record.merge import merge
from vlagym.eval.run.evaluation import evaluate
from vlagym.eval.tables.runs import load_run
from vlagym.trajectory import load_trajectory

Records = Callable[[Path], list[dict[str, Any]]]

CHEAP = ("policy=random", "policy.chunk=8", "video=none")
ROBOSUITE = ("suite=robosuite", "tasks=[0,1]", "suite.trials=6", "seeds=[0,1]", *CHEAP)  # 24 episodes
LIBERO = ("suite=libero_goal", "tasks=[0,4]", "episodes_per_task=4", "suite.horizon=40", *CHEAP)  # 8 episodes
EPISODES = {ROBOSUITE: 24, LIBERO: 8}


@pytest.fixture(scope="module", params=[ROBOSUITE, LIBERO], ids=["robosuite", "libero"])
def settings(request: pytest.FixtureRequest) -> tuple[str, ...]:
    chosen: tuple[str, ...] = request.param
    need_suite(chosen[0].removeprefix("suite="))
    return chosen


@pytest.fixture(scope="module")
def alone(settings: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process for the policy, one worker."""
    return evaluate(load_config([*settings, "workers=1", f"run_dir={tmp_path_factory.mktemp('alone') / 'run'}"])).folder


@pytest.mark.slow
def test_two_seats(settings: tuple[str, ...], alone: Path, tmp_path: Path, records: Records) -> None:
    seats = ["policy.devices=[cpu,cpu]", "workers=2"]
    folder = evaluate(load_config([*settings, *seats, f"run_dir={tmp_path / 'run'}"])).folder
    _assert_same(settings, folder, alone, records)


@pytest.mark.slow
def test_seven_shards(settings: tuple[str, ...], alone: Path, tmp_path: Path, records: Records) -> None:
    run_in_shards([*settings, "workers=1"], tmp_path / "run", 7, killed=(3, 7) if settings is ROBOSUITE else (4, 7))
    assert merge(tmp_path / "run").run.complete
    _assert_same(settings, tmp_path / "run", alone, records)


@pytest.mark.slow
def test_ray_with_a_machine_that_is_lost(settings: tuple[str, ...], alone: Path, tmp_path: Path, records: Records) -> None:
    with ray_cluster(2, 2) as cluster:
        (other,) = cluster.worker_nodes
        loses = LosesAMachine(cluster, other)
        ray = ["launcher=ray", f"launcher.address={cluster.address}", "launcher.workers=2", "launcher.seats=2"]
        outcome = evaluate(load_config([*settings, *ray, f"run_dir={tmp_path / 'run'}"]), [loses])
        assert loses.retried, "episodes were under way on it"
        assert outcome.complete
        assert not actors()
    _assert_same(settings, tmp_path / "run", alone, records)


def _assert_same(settings: tuple[str, ...], folder: Path, alone: Path, records: Records) -> None:
    assert len(records(alone)) == EPISODES[settings]
    assert records(folder) == records(alone), "final states among them"
    assert load_run(folder).table().equals(load_run(alone).table())
    for file in (alone / "trajectories").glob("*.npz"):
        first, second = load_trajectory(file), load_trajectory(folder / "trajectories" / file.name)
        for key in ("actions", "physics_states"):
            np.testing.assert_array_equal(first[key], second[key])  # type: ignore[literal-required]
