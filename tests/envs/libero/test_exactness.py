"""Any trial, in any order, is bit for bit the episode that the reference loop reaches by running all trials before it."""

from __future__ import annotations

import numpy as np
import pytest
from stock_libero import SETTLE_ACTION, SETTLE_STEPS, actions_of, assert_same_physics, assert_same_picture, moment, settle_and_act

from vlagym.envs.assets import locate
from vlagym.envs.libero._upstream import import_libero
from vlagym.envs.libero.init_states import load_init_states
from vlagym.envs.libero.tasks import task_files

CHUNK = 8

# Tasks with growing property initialisers: an object in an open drawer; a stove that is on, so its burner glows.
CI_TASKS = [("libero_spatial", 4), ("libero_10", 8)]
ALL_TASKS = [
    ("libero_spatial", 0),
    ("libero_spatial", 4),  # grows
    ("libero_spatial", 5),
    ("libero_object", 0),
    ("libero_object", 7),
    ("libero_goal", 0),
    ("libero_goal", 7),
    ("libero_10", 3),  # grows
    ("libero_10", 4),
    ("libero_10", 8),  # grows
    ("libero_90", 0),  # grows
    ("libero_90", 8),
    ("libero_90", 39),  # grows
    ("libero_90", 75),
]


def poses_near(env, steps: int) -> np.ndarray:
    """Absolute actions around where the controller's frame is now: position, rotation vector, gripper."""
    from robosuite.utils import transform_utils

    controller = env.robots[0].controller
    at = np.concatenate([controller.ee_pos, transform_utils.quat2axisangle(transform_utils.mat2quat(controller.ee_ori_mat))])
    moves = np.random.default_rng(3).uniform(-1, 1, (steps, 7)) * [0.03, 0.03, 0.03, 0.1, 0.1, 0.1, 1.0]
    return moves + np.append(at, 0.0)


def play_reference_loop(suite: str, task: str, steps_of_trial: dict[int, int]) -> dict[int, list[dict]]:
    """The loop of run_libero_eval.py over all trials up to the last one asked for; what each of those came to, step by step."""
    files = task_files(suite, task)
    env = import_libero(locate("libero").path).OffScreenRenderEnv(
        bddl_file_name=str(files.bddl), camera_heights=256, camera_widths=256
    )
    outside = np.random.get_state()
    env.seed(0)
    init_states = load_init_states(files.init_states)
    played = {}
    for trial in range(max(steps_of_trial) + 1):
        env.env.reset()
        env.set_init_state(init_states[trial])
        if trial in steps_of_trial:
            played[trial] = settle_and_act(env, actions_of(trial, steps_of_trial[trial]))
    np.random.set_state(outside)
    env.close()
    return played


def assert_same_by_single_steps(env, task: int, trial: int, stock: list[dict]) -> None:
    observation, _ = env.reset(options={"task": task, "trial": trial})
    assert_same_picture(observation, stock[0])
    for action, expected in zip(actions_of(trial, len(stock) - 1), stock[1:], strict=True):
        observation, _, terminated, _, _ = env.step(action)
        assert_same_physics(env, expected)
        assert_same_picture(observation, expected)
        assert terminated == expected["done"]


def assert_same_by_chunks(env, task: int, trial: int, stock: list[dict]) -> None:
    env.reset(options={"task": task, "trial": trial})
    actions = actions_of(trial, len(stock) - 1)
    for start in range(0, len(actions), CHUNK):
        expected = iter(stock[1 + start :])

        def check(expected=expected) -> None:
            assert_same_physics(env, next(expected))

        chunk = env.step_chunk(actions[start : start + CHUNK], on_step=check)
        assert_same_picture(chunk.observation, stock[start + chunk.executed])


@pytest.mark.parametrize(("name", "task"), [CI_TASKS[0], *(pytest.param(*task, marks=pytest.mark.slow) for task in CI_TASKS[1:])])
def test_a_late_trial_and_then_the_first_are_those_of_the_reference_loop(libero, name, task):
    suite = libero(name)
    stock = play_reference_loop(name, suite.tasks()[task].name, {0: 16, 3: 8})
    env = suite.make_env(suite.cameras)
    assert_same_by_single_steps(env, task, 3, stock[3])
    assert_same_by_chunks(env, task, 0, stock[0])
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task"), ALL_TASKS)
def test_trials_0_to_3_are_those_of_the_reference_loop_for_60_steps(libero, name, task):
    suite = libero(name)
    stock = play_reference_loop(name, suite.tasks()[task].name, dict.fromkeys(range(4), 60))
    env = suite.make_env(suite.cameras)
    for trial in (2, 0, 3, 1):
        assert_same_by_single_steps(env, task, trial, stock[trial])
        assert_same_by_chunks(env, task, trial, stock[trial])
    env.close()


def absolute_is_the_stock_loop_with_use_delta_off(libero, name: str, task: int, steps: int) -> None:
    suite = libero(name, control="absolute")
    files = task_files(name, suite.tasks()[task].name)
    stock = import_libero(locate("libero").path).OffScreenRenderEnv(
        bddl_file_name=str(files.bddl), camera_heights=256, camera_widths=256
    )
    outside = np.random.get_state()
    stock.seed(0)
    stock.env.reset()
    stock.set_init_state(load_init_states(files.init_states)[0])
    for _ in range(SETTLE_STEPS):
        stock.step(SETTLE_ACTION)
    stock.robots[0].controller.use_delta = False
    actions, moments = poses_near(stock, steps), []
    for action in actions:
        obs, _, done, _ = stock.step(action)
        moments.append({**moment(obs), "done": done, "qpos": stock.sim.data.qpos.copy(), "qvel": stock.sim.data.qvel.copy()})
    np.random.set_state(outside)
    stock.close()  # before ours draws: the stock loop's pictures are of whatever context is current
    env = suite.make_env(suite.cameras)
    env.reset(options={"task": task, "trial": 0})
    for action, expected in zip(actions, moments, strict=True):
        observation, _, terminated, _, _ = env.step(action)
        assert_same_physics(env, expected)
        assert_same_picture(observation, expected)
        assert terminated == expected["done"]
    env.close()


@pytest.mark.slow
def test_absolute_actions_do_what_they_do_in_the_stock_loop(libero):
    absolute_is_the_stock_loop_with_use_delta_off(libero, "libero_spatial", 0, 12)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task"), [("libero_object", 7), ("libero_goal", 7), ("libero_10", 8), ("libero_90", 39)])
def test_absolute_actions_do_what_they_do_in_the_stock_loop_for_60_steps(libero, name, task):
    absolute_is_the_stock_loop_with_use_delta_off(libero, name, task, 60)
