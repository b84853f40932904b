"""The adapter against what upstream's CALVIN and SimplerEnv wrappers gave their environments, and what it keeps of episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from closeness import assert_close

from vlagym.conf import suite_settings
from vlagym.envs.registry import make_suite
from vlagym.errors import ConfigError, PolicyError
from vlagym.eval.plan.config import load_config
from vlagym.policies.base import PolicyObservation
from vlagym.policies.checker import check_policy
from vlagym.policies.pipeline import Pipeline
from vlagym.policies.robovlms.policy import RoboVlmsPolicy

from .conftest import Make

Observe = Callable[..., PolicyObservation]
SIMPLER = {"google_robot": "simpler_google_vm", "widowx_bridge": "simpler_widowx"}


def steps(lengths: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(frame, episode, step in it) of the recorded frames."""
    frame = 0
    for episode, length in enumerate(lengths):
        for step in range(length):
            yield frame, episode, step
            frame += 1


def play(policy: RoboVlmsPolicy, observations: list[PolicyObservation]) -> np.ndarray:
    """The actions on one observation after the other; each at step 0 begins anew."""
    actions = []
    for observation in observations:
        if observation["step"] == 0:
            policy.reset([observation["episode_id"]])
        [chunk] = policy.act([observation])
        assert chunk.shape == (1, 7)  # only the first action is executed
        actions.append(chunk[0])
    return np.stack(actions)


@pytest.fixture(scope="module")
def calvin(folder: Path, runs: dict[str, Any], observe: Observe) -> list[PolicyObservation]:
    """The recorded observations of CALVIN; the second episode is a second subtask of the first."""
    with np.load(folder / "calvin_hand.npz") as stored:
        static, hand, lengths = (stored[name] for name in ("static", "gripper", "episode_len"))
    instructions = [episode["instruction"] for episode in runs["calvin_hand"]["episodes"]]
    return [
        observe({"primary": static[frame], "wrist": hand[frame]}, instructions[episode], step=step)
        for frame, episode, step in steps(lengths)
    ]


@pytest.fixture(params=SIMPLER)
def robot(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_actions_in_calvin_equal_upstream(make: Make, folder: Path, calvin: list[PolicyObservation]) -> None:
    policy = make("calvin_abcd_d")
    assert policy.cameras == ("primary", "wrist")
    actions = play(policy, calvin)
    assert actions.dtype == np.float32
    recorded = np.load(folder / "calvin_hand.npz")["action"]
    assert_close(actions, recorded, 2e-4)
    np.testing.assert_array_equal(actions[:, 6], recorded[:, 6])


def test_a_checkpoint_without_hand_camera_gets_no_picture_of_it(
    make: Make, folder: Path, calvin: list[PolicyObservation], edited: Callable[..., Path]
) -> None:
    policy = make("calvin_abc_d", checkpoint=str(edited(use_hand_rgb=False)))
    assert policy.cameras == ("primary",)
    assert_close(play(policy, calvin), np.load(folder / "calvin_static_only.npz")["action"], 2e-4)


def test_a_checkpoint_without_a_scale_of_its_own(
    make: Make, folder: Path, calvin: list[PolicyObservation], edited: Callable[..., Path]
) -> None:
    policy = make("calvin_abcd_d", checkpoint=str(edited(norm_action=False)))
    assert_close(play(policy, calvin), np.load(folder / "calvin_variants.npz")["action_no_norm_action"], 2e-4)


@pytest.mark.parametrize("norm", [False, True])
def test_actions_in_simpler_equal_upstream(
    robot: str, norm: bool, make: Make, folder: Path, runs: dict[str, Any], observe: Observe, edited: Callable[..., Path]
) -> None:
    """Here the hand's image is not there, and the checkpoint that would see it sees the scene alone."""
    with np.load(folder / "simpler.npz") as stored:
        images, lengths = stored[f"{robot}_image"], stored[f"{robot}_episode_len"]
        recorded = stored[f"{robot}_{'norm_' if norm else ''}env_action"]
    instructions = [episode["instruction"] for episode in runs[f"simpler_{robot}"]["episodes"]]
    observations = [observe({"primary": images[f]}, instructions[episode], step=step) for f, episode, step in steps(lengths)]
    policy = make(SIMPLER[robot], checkpoint=str(edited(norm_action=norm)))
    actions = play(policy, observations)
    assert actions.dtype == np.float64
    assert_close(actions, recorded, 1e-4)
    np.testing.assert_array_equal(actions[:, 6], recorded[:, 6])


def test_what_follows_the_network_in_simpler_equals_upstream(robot: str, folder: Path, observe: Observe) -> None:
    """Un-normalising, rotations and the grippers, over 60 actions with a reset in between."""
    with np.load(folder / "simpler.npz") as stored:
        given, expected, resets = (stored[f"{robot}_post_{name}"] for name in ("policy_action", "env_action", "resets"))
        raw_given, raw_expected, raw_resets = (stored[f"{robot}_transform_{name}"] for name in ("in", "env_action", "resets"))
        raw = stored[f"{robot}_post_raw_action"]
    suite = make_suite(suite_settings(SIMPLER[robot]))
    recipe = load_config([f"suite={SIMPLER[robot]}", "policy=robovlms"]).legs[0].policy
    recipe = {name: recipe[name] for name in ("cameras", "image_transforms", "action_transforms", "emits")}
    stretch, *rest = recipe["action_transforms"]
    stretched = {**recipe["emits"], "unit": "m_rad", "gripper_closed": 0.0}

    def pipeline(**changes: Any) -> Pipeline:
        return Pipeline(suite, "robovlms", {**recipe, **changes})  # type: ignore[typeddict-item]

    assert_close(through(pipeline(), given, resets, observe), expected, 1e-13)
    assert_close(through(pipeline(action_transforms=[stretch]), given, resets, observe), raw, 1e-15)
    alone = pipeline(action_transforms=rest, emits=stretched)
    assert_close(through(alone, raw_given, raw_resets, observe), raw_expected, 1e-13)


def through(pipeline: Pipeline, actions: np.ndarray, resets: np.ndarray, observe: Observe) -> np.ndarray:
    observation = observe({}, "lift it")
    out = []
    for index, action in enumerate(actions):
        if index in resets:
            pipeline.reset([observation["episode_id"]])
        out.append(pipeline.actions(observation, action[None])[0])
    pipeline.close()
    return np.stack(out)


def test_episodes_at_different_steps_share_a_batch(make: Make, calvin: list[PolicyObservation]) -> None:
    policy = make("calvin_abcd_d")
    alone = play(policy, calvin)
    first = [{**o, "episode_id": "one"} for o in calvin[:14]]
    second = [{**o, "episode_id": "two"} for o in calvin[14:]]
    found: dict[str, list[np.ndarray]] = {"one": [], "two": []}
    for step in range(14):
        batch = [first[step]] + ([second[step - 5]] if 5 <= step < 11 else [])
        policy.reset([o["episode_id"] for o in batch if o["step"] == 0])
        for observation, chunk in zip(batch, policy.act(batch), strict=True):  # type: ignore[arg-type]
            found[observation["episode_id"]].append(chunk[0])  # type: ignore[index]
    assert_close(np.stack(found["one"]), alone[:14], 1e-5)
    assert_close(np.stack(found["two"]), alone[14:], 1e-5)


def test_a_new_subtask_begins_a_new_history(make: Make, calvin: list[PolicyObservation]) -> None:
    policy = make("calvin_abcd_d")
    fresh = play(policy, calvin[:3])
    play(policy, calvin)
    again = play(policy, calvin[:3])
    np.testing.assert_array_equal(fresh, again)
    later = [policy.act([{**observation, "step": 3}])[0][0] for observation in calvin[:3]]  # without a reset
    assert np.abs(np.stack(later)[:, :6] - fresh[:, :6]).max() > 1e-3


@pytest.mark.parametrize("suite_name", ["calvin_abcd_d", "simpler_widowx", "simpler_google_va"])
def test_it_keeps_the_contract(suite_name: str, make: Make) -> None:
    check_policy(make(suite_name), make_suite(suite_settings(suite_name)))


def test_what_it_ran_on_is_recorded(make: Make, folder: Path) -> None:
    found = make("calvin_abcd_d").provenance()
    assert (found["window"], found["chunk"], found["executes"], found["hand_camera"]) == (8, 10, 1, True)
    assert found["action_range"] == (-0.65, 0.65)
    assert found["dtype"] == "float32"  # its configuration says "16", which upstream runs in float32
    assert found["recipe"]["image_transforms"] == ["BicubicResize(height=224, width=224)"]
    assert len(found["checkpoint_sha256"]) == 64


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_dtypes_run(dtype: str, make: Make, calvin: list[PolicyObservation]) -> None:
    actions = play(make("calvin_abcd_d", dtype=dtype), calvin[:3])
    assert np.isfinite(actions).all()


def test_settings_that_cannot_be_are_refused(make: Make, observe: Observe) -> None:
    for settings, message in (
        ({"checkpoint": None}, "policy.checkpoint is not set.*'robovlms'.*'calvin_abc_d': give your own"),
        ({"attention": "flash"}, "policy.attention must be one of sdpa, eager"),
        ({"cameras": ["primary", "wrist", "primary"]}, "sees the scene and perhaps the hand"),
        ({"checkpoint": "random:robovlms-70b"}, "unknown size of random weights 'robovlms-70b'.*robovlms-200m"),
        ({"checkpoint": "random:robovlms-200m", "config": "a.json"}, "policy.config belongs to a published .pt"),
        ({"checkpoint": "nowhere/at/all.pt"}, "there is no such file, and one on the hub has the form"),
    ):
        with pytest.raises(ConfigError, match=message):
            make("calvin_abc_d", **settings)
    policy = make("calvin_abc_d")
    observation = observe({"primary": np.zeros((200, 200, 3), np.uint8), "wrist": np.zeros((84, 84, 3), np.uint8)}, " ")
    policy.reset([observation["episode_id"]])
    with pytest.raises(PolicyError, match="the instruction is empty"):
        policy.act([observation])


def test_random_weights_run_without_a_download(make: Make, observe: Observe) -> None:
    policy = make("simpler_widowx", checkpoint="random:robovlms-200m")
    assert policy.provenance()["checkpoint_sha256"] is None
    actions = play(policy, [observe({"primary": np.full((480, 640, 3), 90, np.uint8)}, "put the spoon on the towel")])
    assert np.abs(actions[0, :6]).max() < 0.3
    assert actions[0, 6] == -1  # the first step closes, whatever it says
