"""The tiny network on real CALVIN and SimplerEnv episodes, as `vla-eval` runs them. Random weights succeed at nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from needs import need_suite

from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import evaluate
from vlagym.eval.tables.folder import RunFolder
from vlagym.trajectory import load_trajectory

pytestmark = pytest.mark.slow
GRIPPERS = {"calvin_abcd_d": {-1.0, 1.0}, "simpler_widowx": {-1.0, 1.0}, "simpler_google_vm": {-2.0, 0.0, 2.0}}


@pytest.mark.parametrize(
    ("suite", "overrides", "steps"),
    [
        ("calvin_abcd_d", ["num_chains=2", "suite.steps_per_subtask=40"], 40),
        ("simpler_widowx", ["tasks=[0]", "episodes_per_task=1"], 60),
        ("simpler_google_vm", ["tasks=[0]", "episodes_per_task=1"], 80),
    ],
)
def test_episodes_run_to_their_end(
    suite: str, overrides: list[str], steps: int, folder: Path, edited: Callable[..., Path], tmp_path: Path
) -> None:
    need_suite(suite)
    checkpoint = edited(norm_action=suite.startswith("calvin"))
    files = [f"policy.checkpoint={checkpoint}", f"policy.backbone={folder / 'kosmos-tiny'}", "policy.device=cpu"]
    evaluate(load_config([f"suite={suite}", "policy=robovlms", *files, *overrides, "workers=2", f"run_dir={tmp_path / 'run'}"]))
    results = RunFolder(tmp_path / "run").results()
    assert [(result.error, result.success, result.steps) for result in results] == [(None, False, steps)] * len(results)
    assert len(results) == len(list((tmp_path / "run" / "videos").glob("*--robovlms--*.mp4"))) == (2 if "calvin" in suite else 1)
    for file in (tmp_path / "run" / "trajectories").glob("*.npz"):
        actions = load_trajectory(file)["actions"]
        assert actions.shape == (steps, 7)
        assert set(np.unique(actions[:, 6])) <= GRIPPERS[suite]
