"""What stock hf-libero is asked to do, and how what comes of it is compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlagym.envs.assets import locate
from vlagym.envs.libero._upstream import import_libero

SETTLE_STEPS = 10
SETTLE_ACTION = [0, 0, 0, 0, 0, 0, -1]
# A task that LIBERO has not, of things that it has.
PLATE_TASK = """(define (problem LIBERO_Tabletop_Manipulation)
  (:domain robosuite)
  (:language Put the plate on the stove)
  (:regions
    (plate_start (:target main_table) (:ranges ((0.02 -0.06 0.06 -0.02))))
    (stove_spot (:target main_table) (:ranges ((-0.42 0.20 -0.40 0.22))))
    (cook_region (:target flat_stove_1))
  )
  (:fixtures main_table - table
    flat_stove_1 - flat_stove)
  (:objects plate_1 - plate)
  (:obj_of_interest plate_1 flat_stove_1)
  (:init (On plate_1 main_table_plate_start)
    (On flat_stove_1 main_table_stove_spot))  ; a comment (
  (:goal (And (On plate_1 flat_stove_1_cook_region)))
)
"""


def actions_of(trial: int, steps: int) -> np.ndarray:
    return np.random.default_rng([7, trial]).uniform(-1, 1, (steps, 7))


def moment(obs: dict) -> dict[str, np.ndarray]:
    state = np.concatenate([obs["robot0_eef_pos"], obs["robot0_gripper_qpos"]])
    return {"primary": obs["agentview_image"], "wrist": obs["robot0_eye_in_hand_image"], "state": state}


def settle_and_act(env: Any, actions: Iterable[Any]) -> list[dict[str, Any]]:
    """The reference loop of an episode that has begun: its moments from where the policy takes over."""

    def seen(obs: dict) -> dict[str, Any]:
        return {**moment(obs), "qpos": env.sim.data.qpos.copy(), "qvel": env.sim.data.qvel.copy()}

    for _ in range(SETTLE_STEPS):
        obs, *_ = env.step(SETTLE_ACTION)
    moments = [seen(obs)]
    for action in actions:
        obs, _, done, _ = env.step(action)
        moments.append({**seen(obs), "done": done})
    return moments


def play_from(bddl: Path, init_state: np.ndarray, trial: int, actions: Iterable[Any]) -> list[dict[str, Any]]:
    """The moments of a trial that begins with an initial state; as in the reference loop, all before it have been reset."""
    env = import_libero(locate("libero").path).OffScreenRenderEnv(bddl_file_name=str(bddl), camera_heights=256, camera_widths=256)
    outside = np.random.get_state()
    env.seed(0)
    for _ in range(trial + 1):
        env.env.reset()
    env.set_init_state(init_state)
    moments = settle_and_act(env, actions)
    np.random.set_state(outside)
    env.close()
    return moments


def assert_same_picture(ours: dict, stock: dict) -> None:
    for camera in ("primary", "wrist"):
        np.testing.assert_array_equal(ours["images"][camera], stock[camera][::-1])
    np.testing.assert_array_equal(ours["state"][[0, 1, 2, 6, 7]], stock["state"].astype(np.float32))


def assert_same_physics(env, stock: dict) -> None:
    expected = np.concatenate([stock["qpos"], stock["qvel"]])
    np.testing.assert_array_equal(env.physics_state()[1 : 1 + len(expected)], expected)


def record_demonstrations(file: Path, bddl: Path, actions: Sequence[np.ndarray], seed: int | None = None) -> None:
    """Write what stock hf-libero does with actions in the layout of LIBERO's demonstrations; each is seeded with its number."""
    import h5py

    env = import_libero(locate("libero").path).OffScreenRenderEnv(bddl_file_name=str(bddl), camera_heights=64, camera_widths=64)
    outside = np.random.get_state()
    with h5py.File(file, "w") as made:
        data = made.create_group("data")
        data.attrs["bddl_file_name"] = f"bddl_files/{bddl.name}"
        for number, chunk in enumerate(actions):
            env.seed(number if seed is None else seed)
            env.reset()
            demo, states = data.create_group(f"demo_{number}"), []
            demo.attrs["model_file"] = env.sim.model.get_xml()
            stove = env.sim.model.body_name2id("flat_stove_1_main")
            demo.attrs["stove"] = np.concatenate([env.sim.model.body_pos[stove], env.sim.model.body_quat[stove]])
            for action in chunk:
                states.append(env.sim.get_state().flatten())
                env.step(action)
            demo["states"], demo["actions"] = np.array(states), chunk
            demo.attrs["num_samples"] = len(chunk)
    np.random.set_state(outside)
    env.close()
