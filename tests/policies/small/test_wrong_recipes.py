"""What only a policy that learned can show: an error anywhere between the simulator's pixels and its controller costs the success.

Each of these recipes is wrong in one way that random weights could not tell from the right one, and that no check of shapes and
meanings can see.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import evaluate
from vlagym.eval.tables.runs import load_run

TRIALS = 20

# Beside conf/recipe/small-robosuite.yaml.
RESIZE = "{pil_resize_with_pad:{height:64,width:64}}"
WRONG = {
    "mirrored image": [f"policy.image_transforms=[{RESIZE},mirror_horizontally]"],
    "swapped cameras": ["policy.cameras=[wrist,primary]"],
    "flipped gripper": [
        "policy.action_transforms=[binary_gripper]",
        "policy.emits.gripper_open=0.0",
        "policy.emits.gripper_closed=1.0",
    ],
    "shuffled state": ["policy.state_transforms=[{take_entries:{entries:[1,2,0,4,5,3,7,6]}},controller_pose]"],
    "rotation vector read as Euler angles": ["policy.state_transforms=[euler_to_six]"],
}


def successes(folder: Path, changes: Sequence[str] = ()) -> int:
    """Of `TRIALS` scenes of task lift."""
    settings = [
        "suite=robosuite",
        f"suite.trials={TRIALS}",
        "policy=small",
        "policy.executes=8",
        "tasks=[lift]",
        "video=none",
        "workers=2",
    ]
    run = load_run(evaluate(load_config([*settings, *changes, f"run_dir={folder}"])).folder)
    assert len(run.results) == TRIALS
    return sum(result.success for result in run.results)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> int:
    return successes(tmp_path_factory.mktemp("right") / "run")


@pytest.mark.slow
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_recipe_costs_the_success(wrong: str, right: int, tmp_path: Path) -> None:
    assert right >= 0.6 * TRIALS
    assert successes(tmp_path / "run", WRONG[wrong]) <= right // 2
