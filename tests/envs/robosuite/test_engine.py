"""The engine samples, draws and saves as robosuite's own loop does, and hides its randomness from everybody else."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from vlagym.envs.env import StageClock
from vlagym.envs.robosuite._upstream import choose_gl_platform, import_robosuite, numpy_random
from vlagym.envs.robosuite.engine import Engine, Proprioception, _SamplingTimer
from vlagym.errors import DependencyError, EnvError

CAMERAS = ("agentview", "robot0_eye_in_hand")
ACTIONS = np.random.default_rng(3).uniform(-1, 1, (6, 7))


def door_arguments() -> dict:
    import_robosuite()
    from robosuite.controllers import load_controller_config

    return {"robots": "Panda", "controller_configs": load_controller_config(default_controller="OSC_POSE"), "control_freq": 20}


@pytest.fixture(scope="module")
def engine():
    arguments = door_arguments()
    from robosuite.environments.manipulation.door import Door

    engine = Engine(Door, arguments, StageClock(), np.random.RandomState(0))
    yield engine
    engine.close()


@pytest.mark.parametrize("forced", [1, 2, 3])
def test_timer_samples_when_robosuites_observables_do(forced):
    import_robosuite()
    from robosuite.utils.observables import Observable, sensor

    calls = []

    @sensor(modality="test")
    def read(cache):
        calls.append(None)
        return np.zeros(2)

    observable = Observable("read", read, sampling_rate=20)
    timer = _SamplingTimer(1 / 20, 0.002)
    observable.reset()
    sampled = []
    for update in range(5000):
        before = len(calls)
        observable.update(0.002, {}, force=update < forced)
        sampled.append(timer.tick(force=update < forced) == (len(calls) > before))
    assert all(sampled)
    assert len(calls) > 5000 // 25


def test_resets_images_and_proprioception_are_those_of_a_hard_reset_and_a_drawing_loop(engine):
    """Door's model has nothing random in it, so that robosuite's rebuilt one is the engine's."""
    from robosuite.environments.manipulation.door import Door

    stock = Door(
        **door_arguments(), use_camera_obs=True, camera_names=list(CAMERAS), camera_heights=128, camera_widths=128, hard_reset=True
    )
    seen = []
    for seed in (5, 6):
        with numpy_random(np.random.RandomState(seed)):
            seen.append(stock.reset())
        seen += [{**stock.step(action)[0], "qpos": stock.sim.data.qpos.copy()} for action in ACTIONS]
    stock.close()
    expected = iter(seen)
    for seed in (5, 6):
        engine.reset(np.random.RandomState(seed))
        assert_same(engine, next(expected))
        for action in ACTIONS:
            engine.step(action)
            assert_same(engine, next(expected))


def assert_same(engine: Engine, stock: dict) -> None:
    if "qpos" in stock:
        np.testing.assert_array_equal(engine.data.qpos, stock["qpos"])
    for name in ("eef_pos", "gripper_qpos"):
        np.testing.assert_array_equal(getattr(engine.proprioception, name), stock[f"robot0_{name}"])
    np.testing.assert_array_equal(engine.proprioception.eef_quat_xyzw, stock["robot0_eef_quat"])
    for camera in CAMERAS:
        np.testing.assert_array_equal(engine.draw(engine.render_state, camera, 128, 128), stock[f"{camera}_image"][::-1])


def test_a_state_saved_before_the_first_step_keeps_the_controllers_stale_reading(engine):
    engine.reset(np.random.RandomState(1))
    saved = engine.save()
    engine.step(ACTIONS[0])
    once = engine.physics_state()
    engine.step(ACTIONS[1])
    engine.load(saved)
    engine.step(ACTIONS[0])
    np.testing.assert_array_equal(engine.physics_state(), once)


def test_loading_restores_the_poses_and_contacts_that_success_checks_look_at(engine):
    engine.reset(np.random.RandomState(1))
    for action in ACTIONS:
        engine.step(action)
    saved, poses, contacts = engine.save(), engine.data.xpos.copy(), engine.data.ncon
    engine.step(ACTIONS[0])
    engine.load(saved)
    np.testing.assert_array_equal(engine.data.xpos, poses)
    assert engine.data.ncon == contacts


def test_state_vector_has_the_orientation_as_axis_times_angle():
    half = np.sqrt(0.5)
    reading = Proprioception(np.array([1.0, 2.0, 3.0]), np.array([half, 0.0, 0.0, half]), np.array([0.04, -0.04]), np.zeros(7))
    np.testing.assert_allclose(reading.vector(), [1, 2, 3, np.pi / 2, 0, 0, 0.04, -0.04], rtol=1e-6)
    opposite = reading._replace(eef_quat_xyzw=-reading.eef_quat_xyzw)
    np.testing.assert_allclose(opposite.vector()[3:6], [-3 * np.pi / 2, 0, 0], rtol=1e-6)


def test_upstreams_draws_come_from_the_generator_it_is_given():
    np.random.seed(11)
    expected = np.random.RandomState(11).randn(4)
    generator = np.random.RandomState(2)
    with pytest.raises(KeyError), numpy_random(generator):
        drawn = np.random.randn(3)  # an odd number: the generator keeps half a pair for the next
        raise KeyError
    np.testing.assert_array_equal(np.random.randn(4), expected)
    np.testing.assert_array_equal([*drawn, *generator.randn(2)], np.random.RandomState(2).randn(5))


def test_a_camera_that_is_not_there_is_refused_with_those_that_are(engine):
    engine.reset(np.random.RandomState(0))
    with pytest.raises(EnvError, match="agentview"):
        engine.draw(engine.render_state, "agentveiw", 32, 32)


def test_arms_with_another_controller_are_refused():
    import_robosuite()
    from robosuite.controllers import load_controller_config
    from robosuite.environments.manipulation.door import Door

    arguments = {**door_arguments(), "controller_configs": load_controller_config(default_controller="JOINT_VELOCITY")}
    with pytest.raises(EnvError, match="JOINT_VELOCITY"):
        Engine(Door, arguments, StageClock(), np.random.RandomState(0))


def test_platforms_that_need_a_display_are_refused(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    with pytest.raises(DependencyError, match=r"egl.*osmesa"):
        choose_gl_platform()


def test_a_machine_without_egl_ends_in_one_error_with_the_remedy():
    """Hiding the library from the loader is as good as not having it."""
    script = """
import ctypes, ctypes.util
find = ctypes.util.find_library
ctypes.util.find_library = lambda name: None if "EGL" in name else find(name)
load = ctypes.CDLL.__init__
def refuse(self, name, *args, **kwargs):
    if name and "EGL" in str(name):
        raise OSError(f"{name}: cannot open shared object file: No such file or directory")
    load(self, name, *args, **kwargs)
ctypes.CDLL.__init__ = refuse
from vlagym.errors import DependencyError
from vlagym.conf import suite_settings
from vlagym.envs import make_suite
try:
    make_suite(suite_settings("robosuite")).make_env(("primary",)).reset()
except DependencyError as error:
    print(error)
"""
    variables = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=False)
    assert "cannot draw offscreen with EGL" in done.stdout and "apt-get install libegl1" in done.stdout, done.stderr
