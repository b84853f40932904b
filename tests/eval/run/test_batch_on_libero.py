"""24 episodes of a network come out the same however they are run: passes of a fixed shape keep company out of the answers."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from needs import need_suite

from vlagym.episode import EpisodeSpec
from vlagym.eval.plan.config import load_config
from vlagym.eval.plan.plan import plan_episodes
from vlagym.eval.run import evaluation as run_module
from vlagym.eval.run.evaluation import evaluate
from vlagym.eval.tables.folder import RunFolder

from .test_on_libero import EPISODES, VLA_EVAL, _assert_same_trajectories, _kill_after_five

pytestmark = pytest.mark.slow
Records = Callable[[Path], list[dict[str, Any]]]
NETWORKS = {
    "openvla-float32": ("openvla", "float32", "[{embed_dim:48,depth:4,heads:3},{embed_dim:40,depth:3,heads:2}]"),
    "openvla-bfloat16": ("openvla", "bfloat16", "[{embed_dim:48,depth:4,heads:3},{embed_dim:40,depth:3,heads:2}]"),
    "oft-float32": ("openvla_oft", "float32", "[{embed_dim:32,depth:3,heads:2},{embed_dim:24,depth:4,heads:2}]"),
}


@pytest.fixture(scope="module", params=NETWORKS, ids=str)
def settings(request: pytest.FixtureRequest, golden: Path) -> list[str]:
    need_suite("libero_goal")
    pytest.importorskip("transformers", reason="OpenVLA needs the extra openvla")
    policy, dtype, towers = NETWORKS[request.param]
    checkpoint = golden / f"{policy}_tiny" / "checkpoint"
    network = [f"policy.checkpoint={checkpoint}", f"policy.vision_towers={towers}", "policy.device=cpu", f"policy.dtype={dtype}"]
    episodes = ["suite=libero_goal", "tasks=[0,1,2]", "episodes_per_task=8", "suite.horizon=16", "video=none"]
    return [f"policy={policy}", *network, "policy.batch=5", *episodes]


@pytest.fixture(scope="module")
def alone(settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The episodes one after the other: every pass has one observation and four copies of it."""
    return run(settings, tmp_path_factory.mktemp("alone") / "run", "workers=1")


def run(settings: list[str], folder: Path, *more: str) -> Path:
    outcome = evaluate(load_config([*settings, f"run_dir={folder}", *more]))
    assert outcome.complete
    return outcome.folder


def test_the_verdict_is_recorded(alone: Path) -> None:
    leg = RunFolder(alone).header()["legs"][0]
    assert leg["policy_provenance"]["batch"] == 5
    assert leg["policy_provenance"]["batch_invariant"] is True
    assert not [notice for notice in leg["notices"] if "batch-invariant" in notice]


@pytest.mark.parametrize("workers", [2, 5])
def test_any_number_of_workers(settings: list[str], alone: Path, tmp_path: Path, records: Records, workers: int) -> None:
    together = run(settings, tmp_path / "run", f"workers={workers}")
    assert len(records(alone)) == EPISODES
    assert records(together) == records(alone)
    _assert_same_trajectories(together, alone)


def test_any_order(settings: list[str], alone: Path, tmp_path: Path, records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    def shuffled(*arguments: Any) -> list[EpisodeSpec]:
        plan = plan_episodes(*arguments)
        return random.Random(0).sample(plan, len(plan))

    monkeypatch.setattr(run_module, "plan_episodes", shuffled)
    other = run(settings, tmp_path / "run", "workers=3")
    assert records(other) == records(alone)
    _assert_same_trajectories(other, alone)


def test_killed_and_resumed(settings: list[str], alone: Path, tmp_path: Path, records: Records) -> None:
    folder = tmp_path / "run"
    _kill_after_five([*settings, "workers=4", f"run_dir={folder}"], folder)
    subprocess.run([*VLA_EVAL, f"resume={folder}", "workers=2"], check=True, stdout=subprocess.DEVNULL)
    assert records(folder) == records(alone)
    _assert_same_trajectories(folder, alone)
