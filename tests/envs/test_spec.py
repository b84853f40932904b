"""Actions of joint angles and of two arms: what they mean, what holds them still, and what does not fit them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_suite import ToySuite
from two_arms import NAMES, OPEN, LiftPolicy, TwoArmEnv, TwoArmSuite

from vlagym.envs import VlaEnv, check_suite
from vlagym.errors import ConfigError, EnvError
from vlagym.eval.cli import main
from vlagym.eval.tables.runs import load_run
from vlagym.policies import check_policy
from vlagym.policies.pipeline import Pipeline
from vlagym.policies.registry import check_fit

SUITE = TwoArmSuite()
SPEC = SUITE.action_spec


def test_a_suite_of_two_arms_keeps_the_contract() -> None:
    check_suite(SUITE)
    check_policy(LiftPolicy(SUITE), SUITE)
    assert SPEC.size == 14
    assert [NAMES[at] for at in SPEC.grippers] == ["left_gripper", "right_gripper"]


def test_both_grippers_are_held() -> None:
    last = np.arange(14.0)
    assert SPEC.hold(last).tolist() == last.tolist()
    start = np.arange(12.0)
    assert SPEC.hold(None, start).tolist() == [0, 1, 2, 3, 4, 5, OPEN, 6, 7, 8, 9, 10, 11, OPEN]
    relative = replace(SPEC, mode="delta")
    assert relative.hold(last).tolist() == [0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 13]
    assert replace(relative, gripper_still=0.5).hold(last)[relative.grippers].tolist() == [0.5, 0.5]


def test_an_environment_holds_its_arms_before_the_first_action() -> None:
    env = SUITE.make_env(())
    env.reset(seed=0, options={"task": 0, "trial": 1})
    before = env.render_state()
    env.step_chunk(env.hold_action(None)[None])
    assert np.array_equal(env.render_state(), before)
    env.close()


def test_an_environment_that_lacks_members_is_told_which() -> None:
    class Half(TwoArmEnv):
        _advance = VlaEnv._advance
        instruction = VlaEnv.instruction

    with pytest.raises(EnvError, match=r"Half does not define _advance, instruction, which every environment does"):
        Half(SUITE, ())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rotation": "euler_xyz"}, "frame 'joints', rotation 'euler_xyz' and unit 'rad' has no meaning"),
        ({"frame": "base"}, "a pose has a rotation"),
        ({"unit": "m_rad"}, "joint angles are frame 'joints'"),
        ({"arms": 3}, "14 entries cannot be that of 3 arms"),
        ({"arms": 0}, "0 arms"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(SPEC, **changes)


def test_an_action_of_one_arm_does_not_fit_two() -> None:
    with pytest.raises(ConfigError, match=r"size: 2 != 14; arms: 1 != 2; .*frame: 'base' != 'joints'"):
        check_fit("push", SUITE, ToySuite().action_spec, ())


EMITS = {"mode": "absolute", "frame": "joints", "rotation": "none", "unit": "rad", "gripper_open": 1.0, "gripper_closed": 0.0}


def test_a_recipe_says_joint_angles_and_takes_what_is_for_all_entries() -> None:
    recipe = {"cameras": ["primary"], "image_transforms": [], "emits": EMITS}
    pipeline = Pipeline(SUITE, "mine", {**recipe, "action_transforms": [{"ensemble_actions": {"horizon": 1}}]})
    assert not pipeline.action_spec.differences(SPEC)
    with pytest.raises(ConfigError, match="FlipBinaryGripper is for one arm; an action of two_arms moves 2"):
        Pipeline(SUITE, "mine", {**recipe, "action_transforms": ["flip_binary_gripper"]})
    with pytest.raises(ConfigError, match="rotation 'axis_angle'.*has no meaning"):
        Pipeline(SUITE, "mine", {**recipe, "action_transforms": [], "emits": {**EMITS, "rotation": "axis_angle"}})


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite and its policy, offered by a package."""
    info = tmp_path / "site" / "two_arms-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: two-arms\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[vlagym.suites]\ntwo_arms = two_arms:TwoArmSuite\n[vlagym.policies]\nlift_tray = two_arms:LiftPolicy\n"
    )
    monkeypatch.syspath_prepend(str(info.parent))


@pytest.mark.usefixtures("installed")
def test_two_arms_are_evaluated_and_held_while_the_policy_thinks(tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["suite=two_arms", "policy=lift_tray", "workers=1", "video=first_per_task", f"run_dir={run}"]
    assert main([*arguments, "realtime.delay_steps=2"]) == 0
    results = load_run(run).results
    assert [result.success for result in results] == [True] * 3
    assert next((run / "videos").rglob("*.mp4")).stat().st_size > 0
