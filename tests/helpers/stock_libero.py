"""What stock hf-libero is asked to do, and how what comes of it is compared."""

from __future__ import annotations

import numpy as np

SETTLE_STEPS = 10
SETTLE_ACTION = [0, 0, 0, 0, 0, 0, -1]


def actions_of(trial: int, steps: int) -> np.ndarray:
    return np.random.default_rng([7, trial]).uniform(-1, 1, (steps, 7))


def moment(obs: dict) -> dict[str, np.ndarray]:
    state = np.concatenate([obs["robot0_eef_pos"], obs["robot0_gripper_qpos"]])
    return {"primary": obs["agentview_image"], "wrist": obs["robot0_eye_in_hand_image"], "state": state}


def assert_same_picture(ours: dict, stock: dict) -> None:
    for camera in ("primary", "wrist"):
        np.testing.assert_array_equal(ours["images"][camera], stock[camera][::-1])
    np.testing.assert_array_equal(ours["state"][[0, 1, 2, 6, 7]], stock["state"].astype(np.float32))


def assert_same_physics(env, stock: dict) -> None:
    expected = np.concatenate([stock["qpos"], stock["qvel"]])
    np.testing.assert_array_equal(env.physics_state()[1 : 1 + len(expected)], expected)
