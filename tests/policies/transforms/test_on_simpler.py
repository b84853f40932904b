"""What stands between a policy and SimplerEnv's robots: ensembled chunks, and grippers that stick or are told how far to open."""

import math

import numpy as np
import pytest

from vlagym.envs.simpler.suite import SimplerSuite
from vlagym.errors import ConfigError, PolicyError
from vlagym.policies.transforms import action_transforms

GOOGLE = SimplerSuite("simpler_google_vm", "google_visual_matching").action_spec
WIDOWX = SimplerSuite("simpler_widowx", "widowx").action_spec


def chunk(*values):
    return np.array(values, np.float32)[:, None] * np.ones(7, np.float32)


def test_ensembled_actions_are_means_of_what_was_said_about_now():
    (ensemble,) = action_transforms([{"ensemble_actions": {"horizon": 2}}])
    memory = {}
    said = [chunk(0, 2, 9), chunk(4, 6, 9), chunk(8, 1, 9)]
    found = [ensemble(actions, memory) for actions in said]
    assert [actions.shape for actions in found] == [(1, 7)] * 3
    np.testing.assert_array_equal([actions[0, 0] for actions in found], [0, (2 + 4) / 2, (6 + 8) / 2])


def test_above_temperature_zero_older_chunks_weigh_more():
    (ensemble,) = action_transforms([{"ensemble_actions": {"horizon": 2, "temperature": math.log(2)}}])
    memory = {}
    ensemble(chunk(0, 2), memory)
    np.testing.assert_allclose(ensemble(chunk(4, 6), memory)[0, 0], (2 * 1 + 4 * 0.5) / 1.5)


def test_a_new_instruction_forgets_the_chunks():
    (ensemble,) = action_transforms(["ensemble_actions"])
    ensemble(chunk(1, 1, 1, 1), {})
    np.testing.assert_array_equal(ensemble(chunk(5, 1, 1, 1), {})[0], np.full(7, 5.0))


def test_chunks_that_are_too_short_are_refused():
    (ensemble,) = action_transforms(["ensemble_actions"])
    with pytest.raises(PolicyError, match=r"needs as many actions; got 2"):
        ensemble(chunk(1, 1), {})


def test_a_gripper_that_sticks_repeats_its_change_fifteen_times():
    """Opening from 0.1 to 0.9 and closing again a step later: the hold outlasts the change of mind, then its echo is small."""
    (sticky,) = action_transforms(["sticky_gripper"])
    opening = np.array([0.1, 0.9, *[0.9] * 18])
    actions = np.zeros((len(opening), 7))
    actions[:, 6] = opening
    memory = {}
    found = np.concatenate([sticky(action[None], memory) for action in actions])[:, 6]
    np.testing.assert_allclose(found, [0, *[0.1 - 0.9] * 15, *[0] * 4], atol=1e-12)


def test_openvlas_transforms_lead_to_what_each_robot_expects():
    """OpenVLA emits roll, pitch, yaw, and a gripper in [0, 1], where 1 is open."""
    from dataclasses import replace

    emitted = replace(WIDOWX, rotation="euler_xyz", gripper_open=1.0, gripper_closed=0.0)
    for names, expected in (
        (["euler_to_axis_angle", "binary_gripper"], WIDOWX),
        (["euler_to_axis_angle", "sticky_gripper"], GOOGLE),
    ):
        spec = emitted
        for transform in action_transforms(names):
            spec = transform.spec(spec)
        assert spec.differences(expected) == []
    with pytest.raises(ConfigError, match=r"rotation of 'euler_xyz'"):
        action_transforms(["euler_to_axis_angle"])[0].spec(WIDOWX)
