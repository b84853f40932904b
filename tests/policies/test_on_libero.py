"""Tiny networks on real LIBERO episodes, as `vla-eval` runs them. Random weights succeed at nothing; that is the honest result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from needs import need_suite

from vlagym.episode import EpisodeResult
from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import evaluate
from vlagym.eval.tables.folder import RunFolder
from vlagym.trajectory import load_trajectory

pytestmark = pytest.mark.slow
Run = Callable[..., list[EpisodeResult]]
TINY = {
    "openvla": ("openvla_tiny", "[{embed_dim:48,depth:4,heads:3},{embed_dim:40,depth:3,heads:2}]"),
    "openvla_oft": ("openvla_oft_tiny", "[{embed_dim:32,depth:3,heads:2},{embed_dim:24,depth:4,heads:2}]"),
}


@pytest.fixture
def run(golden: Path, tmp_path: Path) -> Run:
    pytest.importorskip("transformers", reason="OpenVLA needs the extra openvla")
    pytest.importorskip("simplejpeg", reason="OpenVLA needs the extra openvla")
    need_suite("libero_goal")

    def run(policy: str, name: str, *overrides: str) -> list[EpisodeResult]:
        folder, towers = TINY[policy]
        recipe = [f"policy={policy}", f"policy.checkpoint={golden / folder / 'checkpoint'}", f"policy.vision_towers={towers}"]
        evaluate(load_config(["suite=libero_goal", *recipe, f"run_dir={tmp_path / name}", "policy.device=cpu", *overrides]))
        return sorted(RunFolder(tmp_path / name).results(), key=lambda result: result.spec)

    return run


def test_openvla_plays_the_same_episodes_alone_and_in_batches(run: Run, tmp_path: Path) -> None:
    overrides = ("tasks=[0,1]", "episodes_per_task=2", "suite.horizon=10")
    alone = run("openvla", "alone", "workers=1", "video=none", *overrides)
    together = run("openvla", "together", "workers=2", *overrides)
    assert [result.error for result in together] == [None] * 4
    assert [result.final_state_sha256 for result in together] == [result.final_state_sha256 for result in alone]
    assert [(result.steps, result.success) for result in together] == [(10, False)] * 4
    assert len(list((tmp_path / "together" / "videos").glob("*--openvla--*.mp4"))) == 4
    assert (tmp_path / "together" / "summary.md").read_text().count("0.0 %") >= 2


def test_openvla_oft_looks_once_per_chunk_of_eight(run: Run, tmp_path: Path) -> None:
    results = run("openvla_oft", "oft", "tasks=[0]", "episodes_per_task=1", "suite.horizon=24", "workers=1", "video=none")
    assert [(result.steps, result.ended_by) for result in results] == [(24, "horizon")]
    trajectory = load_trajectory(next((tmp_path / "oft" / "trajectories").glob("*.npz")))
    assert trajectory["actions"].shape == (24, 7)
    assert trajectory["actions"].dtype == np.float64
    assert set(np.unique(trajectory["actions"][:, -1])) <= {-1.0, 1.0}
