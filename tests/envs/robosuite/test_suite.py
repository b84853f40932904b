"""The default suite: scenes that follow from (task, trial, seed) alone, actions and pictures that mean what the specs say."""

import os
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from vlagym.conf import suite_settings
from vlagym.envs import check_suite, make_suite
from vlagym.envs.robosuite.env import MODELS_KEPT, _generator
from vlagym.envs.robosuite.settings import TASKS
from vlagym.envs.robosuite.suite import RobosuiteSuite
from vlagym.errors import ConfigError, EnvError

TASK_NAMES = [task.name for task in TASKS]
TRIALS = 5
GEOMETRY = {"pos": 3, "quat_wxyz": 4}
ROBOT_FACTS = {"eef_pos": 3, "eef_quat_wxyz": 4, "eef_velocity": 3, "gripper_qpos": 2, "gripper_qvel": 2}


@pytest.fixture(scope="module")
def suite():
    return make_suite({**suite_settings("robosuite"), "trials": TRIALS})


@pytest.fixture(scope="module")
def env(suite):
    env = suite.make_env(())
    yield env
    env.close()


def play(env, task, trial, seed=0, steps=8):
    """Hashes of the physics after the reset and after random actions."""
    env.reset(seed=seed, options={"task": task, "trial": trial})
    before = env.physics_sha256()
    env.step_chunk(np.random.default_rng(0).uniform(-1, 1, (steps, 7)).astype(np.float32))
    return before, env.physics_sha256()


@pytest.mark.parametrize("task", [TASK_NAMES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in TASK_NAMES[1:])])
@pytest.mark.filterwarnings("ignore:.*Box observation space")
def test_contract_is_kept(suite, task):
    check_suite(suite, task, steps=6)


@pytest.mark.filterwarnings("ignore:.*Box observation space")
def test_registered_environment_passes_gymnasiums_own_check():
    env = gymnasium.make("vlagym.envs:vlagym/robosuite-v0")
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_episodes_do_not_depend_on_their_order(env):
    episodes = [(task, trial) for task in TASK_NAMES[: MODELS_KEPT + 1] for trial in (0, 3)]
    forwards = {episode: play(env, *episode) for episode in episodes}
    mixed = episodes[::2] + episodes[1::2]  # every model is thrown away and built again on the way
    assert {episode: play(env, *episode) for episode in mixed} == forwards


def digests_in_a_fresh_process(episodes, before=""):
    """As `play` gives them with seed 7, one after the other."""
    script = f"""
import numpy as np
{before}
from vlagym.conf import suite_settings
from vlagym.envs import make_suite
env = make_suite({{**suite_settings("robosuite"), "trials": {TRIALS}}}).make_env(())
for task, trial in {episodes!r}:
    env.reset(seed=7, options={{"task": task, "trial": trial}})
    print(env.physics_sha256())
    env.step_chunk(np.random.default_rng(0).uniform(-1, 1, (8, 7)).astype(np.float32))
    print(env.physics_sha256())
"""
    elsewhere = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=elsewhere)
    return done.stdout.split()


def test_reused_model_gives_the_bits_of_a_fresh_process(env):
    episodes = [("lift", 2), ("pick_place_can", 1), ("door", 1)]
    play(env, "door", 4, seed=3)
    here = [digest for task, trial in episodes for digest in play(env, task, trial, seed=7)]
    assert digests_in_a_fresh_process(episodes) == here


def test_a_model_does_not_depend_on_those_that_filled_mujocos_cache_of_meshes():
    episodes = [("pick_place_can", 1)]
    full = """
import ctypes
from vlagym.envs.robosuite._memory import _mujoco_library as library
library().mj_setCacheSize(ctypes.c_void_p(library().mj_globalCache()), ctypes.c_size_t(0))
"""
    assert digests_in_a_fresh_process(episodes, full) == digests_in_a_fresh_process(episodes)


@pytest.mark.parametrize("task", ["stack", "door"])
def test_physics_is_robosuites_own(env, task):
    from robosuite.controllers import load_controller_config

    actions = np.random.default_rng(0).uniform(-1, 1, (20, 7)).astype(np.float32)
    env.reset(options={"task": task, "trial": 1})
    env.step_chunk(actions)

    stock = type(env._engine.env)(
        robots="Panda",
        controller_configs=load_controller_config(default_controller="OSC_POSE"),
        has_offscreen_renderer=False,
        use_camera_obs=False,
        hard_reset=False,
    )
    outside = np.random.get_state()
    np.random.set_state(_generator(task, 1, 0).get_state())
    stock.reset()
    np.random.set_state(outside)
    for action in actions:
        stock.step(action)
    assert np.array_equal(stock.sim.data.qpos, env._engine.data.qpos)
    assert np.array_equal(stock.sim.model.body_pos, env._engine.model.body_pos)


def test_numpys_global_generator_is_neither_used_nor_changed(env):
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first = play(env, "stack", 0)
    assert np.array_equal(np.random.get_state()[1], before)
    np.random.seed(2)
    assert play(env, "stack", 0) == first


@pytest.mark.parametrize("task", TASK_NAMES)
def test_every_trial_and_seed_is_another_scene(env, task):
    scenes = [play(env, task, trial, seed, steps=1)[0] for trial in range(TRIALS) for seed in (0, 1)]
    assert len(set(scenes)) == len(scenes)


def test_a_trial_is_the_same_scene_however_many_there_are(env):
    larger = RobosuiteSuite("robosuite", trials=50).make_env(())
    assert play(larger, "lift", 4) == play(env, "lift", 4)
    larger.close()


def test_trials_out_of_range_and_unknown_tasks_are_refused(env):
    with pytest.raises(EnvError, match=rf"trials 0\.\.{TRIALS - 1}"):
        env.reset(options={"task": "lift", "trial": TRIALS})
    with pytest.raises(EnvError, match="Did you mean 'stack'"):
        env.reset(options={"task": "stak"})


@pytest.mark.parametrize("setting", ["trials", "image_size"])
def test_settings_that_cannot_be_are_refused(setting):
    with pytest.raises(ConfigError, match=f"suite.{setting} must be a whole number from 1"):
        RobosuiteSuite("robosuite", **{setting: 0})


@pytest.mark.parametrize("task", TASKS, ids=TASK_NAMES)
def test_privileged_state_is_what_its_documentation_says(env, task):
    env.reset(options={"task": task.name})
    things = {f"{name}_{fact}": size for name in (*task.bodies, *task.sites) for fact, size in GEOMETRY.items()}
    hinges = {f"{name}_{fact}": size for name in task.hinges for fact, size in {"angle": 1, "pos": 3, "axis": 3}.items()}
    facts = env.privileged_state()
    assert {name: value.shape for name, value in facts.items()} == {
        name: (size,) for name, size in {**ROBOT_FACTS, **things, **hinges}.items()
    }
    units = [value for name, value in facts.items() if name.endswith(("_quat_wxyz", "_axis"))]
    assert np.allclose([np.linalg.norm(value) for value in units], 1.0)
    within_reach = [facts[name] for name in facts if name.endswith("_pos")]
    assert all(np.linalg.norm(position[:2]) < 1.0 and 0.7 < position[2] < 1.3 for position in within_reach)


def test_state_vector_is_laid_out_as_declared(env, suite):
    observation, _ = env.reset(options={"task": "lift"})
    facts = env.privileged_state()
    assert [(f.name, f.size) for f in suite.state_spec.fields] == [("eef_pos", 3), ("eef_axis_angle", 3), ("gripper_qpos", 2)]
    assert np.allclose(observation["state"][:3], facts["eef_pos"], atol=1e-6)
    assert np.isclose(np.linalg.norm(observation["state"][3:6]), np.pi, atol=0.3)  # half a turn: the hand points down
    assert np.allclose(observation["state"][6:], facts["gripper_qpos"], atol=1e-6)


@pytest.mark.parametrize("axis", range(3))
def test_translations_are_along_the_worlds_axes(env, axis):
    env.reset(options={"task": "lift"})
    start = env.privileged_state()["eef_pos"]
    env.step_chunk(np.tile(np.eye(7, dtype=np.float32)[axis], (8, 1)))
    way = env.privileged_state()["eef_pos"] - start
    assert way[axis] > 0.05
    assert np.abs(np.delete(way, axis)).max() < 0.02


def test_rotations_are_about_the_worlds_axes(env):
    import mujoco

    env.reset(options={"task": "lift"})
    before = env.privileged_state()["eef_quat_wxyz"]
    env.step_chunk(np.tile(np.eye(7, dtype=np.float32)[5], (8, 1)))
    turn = np.empty(3)
    mujoco.mju_subQuat(turn, env.privileged_state()["eef_quat_wxyz"], before)  # in the hand's frame, whose z points down
    assert turn[2] < -0.3


@pytest.mark.parametrize(("gripper", "expected"), [(-1.0, [0.04, -0.04]), (1.0, [0.0, 0.0])])
def test_gripper_opens_at_minus_one_and_closes_at_one(env, gripper, expected):
    env.reset(options={"task": "lift"})
    action = np.zeros(7, np.float32)
    action[-1] = gripper
    env.step_chunk(np.tile(action, (20, 1)))
    assert np.allclose(env.privileged_state()["gripper_qpos"], expected, atol=0.003)


def test_pictures_are_upright(env):
    """The red cube is drawn where a pinhole camera sees it, rows counted from the top."""
    env.reset(options={"task": "stack", "trial": 1})
    cube = env.privileged_state()["cube_a_pos"]
    data = env._engine.data
    for name, simulator_name in (("primary", "agentview"), ("wrist", "robot0_eye_in_hand")):
        image = env.render(name).astype(int)
        camera, fovy = data.camera(simulator_name), env._engine.model.camera(simulator_name).fovy[0]
        x, y, z = camera.xmat.reshape(3, 3).T @ (cube - camera.xpos)
        focal = len(image) / 2 / np.tan(np.deg2rad(fovy) / 2)
        expected = np.array([len(image) / 2 + focal * y / z, len(image) / 2 - focal * x / z])
        rows, columns = np.nonzero((image[..., 0] > 100) & (image[..., 1:].max(axis=-1) < 0.6 * image[..., 0]))
        assert abs(expected[0] - len(image) / 2) > 20, "the cube is too close to the middle to tell up from down"
        assert np.abs([rows.mean(), columns.mean()] - expected).max() < 10  # its sides in the shade do not count as red


@pytest.mark.parametrize("task", ["lift", "door"])
def test_random_actions_do_not_solve_a_task(env, suite, task):
    horizon = next(t.horizon for t in suite.tasks() if t.name == task)
    env.reset(options={"task": task})
    result = env.step_chunk(np.random.default_rng(0).uniform(-1, 1, (horizon, 7)))
    assert result.ended_by == "horizon"
    assert not result.successes.any()


def test_doctor_sees_the_red_cube(suite):
    findings = list(suite.doctor())
    assert [check.name for check in findings] == ["picture of task lift"]
    assert all(check.ok for check in findings), findings


def test_protocol_names_all_that_is_measured(suite):
    protocol = suite.protocol()
    assert [(task["name"], task["horizon"]) for task in protocol["tasks"]] == [(task.name, task.horizon) for task in TASKS]
    assert {"trials", "image_size", "cameras", "mujoco", "robosuite", "success_rule"} <= set(protocol)
