"""A chain runs as the benchmark's: a world of its own, five subtasks for a policy that starts afresh, an end at a failure."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from vlagym.conf import suite_settings
from vlagym.envs.calvin.sequences import evaluation_chains
from vlagym.envs.checker import check_suite
from vlagym.envs.registry import make_suite
from vlagym.errors import ConfigError, DependencyError, EnvError

IDLE = np.array([0, 0, 0, 0, 0, 0, 1.0])


@pytest.mark.slow
def test_the_contract_is_kept(suite, egl):
    check_suite(suite)


def test_the_three_suites_are_one_evaluation_under_three_names():
    protocols = [make_suite(suite_settings(name)).protocol() for name in ("calvin_d", "calvin_abc_d", "calvin_abcd_d")]
    assert len({p.pop("name") for p in protocols}) == 3
    assert protocols[0] == protocols[1] == protocols[2]
    (task,) = make_suite(suite_settings("calvin_d")).tasks()
    assert (task.trials, task.horizon) == (1000, 1800)


def test_gymnasium_makes_it(data_dir):
    env = gymnasium.make("vlagym.envs:vlagym/calvin_abc_d-v0", cameras=())
    observation, _ = env.reset(options={"trial": 1})
    assert observation["state"].shape == (15,)
    assert env.metadata["render_fps"] == 30
    env.close()


def test_describing_the_suite_does_not_import_the_simulator():
    code = "import sys; from vlagym.envs.calvin import CalvinSuite; CalvinSuite('x').tasks(); print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pybullet", "scipy", "omegaconf"} & set(imported)


def chain_of(scripted, *tasks):
    """Reset options and actions of a recorded trajectory in which these tasks follow one another."""
    recorded, _ = scripted[tasks[-1]]
    options = {"robot_obs": recorded["robot_obs0"], "scene_obs": recorded["scene_obs0"], "subtasks": list(tasks)}
    return options, recorded["actions"]


def test_a_chain_goes_from_one_instruction_to_the_next(scripted, make_env):
    env = make_env()
    options, actions = chain_of(scripted, "lift_red_block_table", "stack_block")
    observation, _ = env.reset(options=options)
    assert observation["instruction"] == "grasp and lift the red block"
    lifted = env.step_chunk(actions)
    assert lifted.new_subtask and lifted.ended_by is None and lifted.executed == 44
    assert not lifted.successes.any()
    assert lifted.observation["instruction"] == "stack the grasped block"
    assert [(r.name, r.success, r.steps) for r in env.subtask_results()] == [
        ("lift_red_block_table", True, 44),
        ("stack_block", False, 0),
    ]
    stacked = env.step_chunk(actions[44:])
    assert stacked.ended_by == "success" and stacked.successes.tolist() == [False] * (stacked.executed - 1) + [True]
    assert 44 + stacked.executed == 76
    assert [(r.name, r.success, r.first_success_step, r.steps) for r in env.subtask_results()] == [
        ("lift_red_block_table", True, 44, 44),
        ("stack_block", True, 32, 32),
    ]
    with pytest.raises(EnvError, match="reset"):
        env.step(IDLE)


def test_a_subtask_that_takes_too_long_ends_the_chain(scripted, make_env):
    env = make_env(steps_per_subtask=50)
    options, actions = chain_of(scripted, "lift_red_block_table", "stack_block", "unstack_block")
    env.reset(options=options)
    env.step_chunk(actions)
    result = env.step_chunk(np.tile(IDLE, (60, 1)))
    assert result.executed == 50 and result.ended_by == "failure" and not result.new_subtask
    assert [(r.name, r.success, r.steps) for r in env.subtask_results()] == [
        ("lift_red_block_table", True, 44),
        ("stack_block", False, 50),
    ]


def test_a_success_at_the_last_step_counts(scripted, make_env):
    for steps, ended_by in ((44, "success"), (43, "failure")):
        env = make_env(steps_per_subtask=steps)
        options, actions = chain_of(scripted, "lift_red_block_table")
        env.reset(options=options)
        assert env.step_chunk(actions).ended_by == ended_by


def test_every_trial_starts_with_the_chain_and_the_state_of_its_number(make_env):
    env = make_env()
    for trial in (0, 17, 999):
        observation, _ = env.reset(options={"trial": trial})
        chain = evaluation_chains()[trial]
        assert env.subtask == chain.subtasks[0]
        assert observation["instruction"] == env.instruction
        lights = env.scene_obs()[4:6].tolist()
        assert lights == [chain.condition["lightbulb"], chain.condition["led"]]
        assert set(env.privileged_state()) == {"robot_obs", "scene_obs", "subtask", "red_block", "blue_block", "pink_block"}


def roll(env, trial, steps=40, on_step=None):
    env.reset(options={"trial": trial})
    env.step_chunk(np.random.default_rng(trial).uniform(-1, 1, (steps, 7)).astype(np.float32), on_step=on_step)
    return env.physics_sha256()


def test_a_chain_depends_on_nothing_that_ran_before(make_env):
    env = make_env()
    in_order = [roll(env, trial) for trial in range(4)]
    assert [roll(env, trial) for trial in reversed(range(4))] == in_order[::-1]
    assert [roll(make_env(), trial) for trial in range(4)] == in_order


def test_physics_is_the_same_whether_or_not_anything_is_drawn(make_env, egl):
    env = make_env()
    drawn = roll(env, 1, 20, on_step=lambda: (env.render("wrist"), env.depth("primary", 50, 60)))
    assert roll(env, 1, 20) == drawn


def test_nothing_is_drawn_that_nobody_asked_for(make_env, monkeypatch):
    from vlagym.envs.calvin.env import CalvinEnv

    drawn = []
    monkeypatch.setattr(CalvinEnv, "draw", lambda self, state, camera, h, w: drawn.append(camera) or np.zeros((h, w, 3), np.uint8))
    env = make_env(("wrist",))
    env.reset()
    env.step_chunk(np.tile(IDLE, (10, 1)))
    assert drawn == ["wrist", "wrist"]


def test_going_back_to_a_state_repeats_what_followed(scripted, make_env):
    env = make_env()
    options, actions = chain_of(scripted, "lift_red_block_table", "stack_block")
    env.reset(options=options)
    env.step_chunk(actions[:30])
    env.step_chunk(actions[30:40].astype(np.float32))
    state = env.get_state()
    env.step_chunk(actions[40:])
    env.step_chunk(actions[44:])
    after, results = env.physics_sha256(), env.subtask_results()
    assert results[-1].success
    env.set_state(state)
    env.step_chunk(actions[40:])
    env.step_chunk(actions[44:])
    assert env.physics_sha256() == after and env.subtask_results() == results


@pytest.mark.parametrize("form", ["absolute_euler", "absolute_quat"])
def test_absolute_actions_name_a_pose(make_env, form):
    env = make_env(action_form=form)
    env.reset()
    tcp = env.robot_obs()
    rotation = tcp[3:6] if form == "absolute_euler" else _quat_xyzw(tcp[3:6])
    target = tcp[:3] + np.array([0.05, -0.03, 0.04])
    env.step_chunk(np.tile([*target, *rotation, -1.0], (40, 1)))
    np.testing.assert_allclose(env.robot_obs()[:3], target, atol=0.005)
    assert env.robot_obs()[14] == -1 and env.robot_obs()[6] < 0.01


def _quat_xyzw(euler):
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("xyz", euler).as_quat()


def test_the_gripper_closes_for_any_action_that_is_not_positive(make_env):
    env = make_env()
    env.reset()
    for value, command in ((0.3, 1), (0.0, -1), (-0.2, -1)):
        env.step(np.array([0, 0, 0, 0, 0, 0, value]))
        assert env.robot_obs()[14] == command


def test_other_scenes_start_from_a_given_state(scripted, make_env):
    recorded, _ = scripted["turn_on_led"]
    state = {"robot_obs": recorded["robot_obs0"], "scene_obs": recorded["scene_obs0"]}
    for scene in "ABC":
        env = make_env(scene=scene)
        with pytest.raises(EnvError, match=rf"states of scene D.*scene {scene}.*robot_obs and scene_obs"):
            env.reset()
        observation, _ = env.reset(options=state)
        np.testing.assert_allclose(observation["state"][:3], recorded["robot_obs0"][:3], atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trial": 1000}, r"trials 0\.\.999"),
        ({"robot_obs": np.zeros(15)}, "belong together"),
        ({"robot_obs": np.zeros(7), "scene_obs": np.zeros(24)}, "robot_obs must be 15 finite numbers"),
        ({"subtasks": ["open_drawr"]}, "Did you mean 'open_drawer'"),
        ({"subtask": "open_drawer"}, "unknown reset options"),
    ],
)
def test_bad_reset_options_are_refused(make_env, options, message):
    with pytest.raises(EnvError, match=message):
        make_env().reset(options=options)


@pytest.mark.parametrize(
    ("action", "message"),
    [(np.full(7, np.nan), "not finite"), (np.zeros(8), r"float\[T, 7\]"), (np.zeros((2, 7)), r"float\[T, 7\]")],
)
def test_bad_actions_are_refused(make_env, action, message):
    env = make_env()
    env.reset()
    with pytest.raises(EnvError, match=message):
        env.step(action)


@pytest.mark.parametrize(
    "settings",
    [{"scene": "E"}, {"action_form": "absolute"}, {"calvin_env_revision": "main"}, {"renderer": "egll"}, {"steps_per_subtask": 0}],
)
def test_bad_settings_are_refused(settings):
    (name,) = settings
    with pytest.raises(ConfigError, match=name.replace("_", ".")):
        make_suite({**suite_settings("calvin_d"), **settings})


@pytest.mark.parametrize(("found", "message"), [("3.2.5", r"pybullet 3\.2\.5 is installed"), (None, "no pybullet is installed")])
def test_another_pybullet_is_refused(suite, monkeypatch, found, message):
    monkeypatch.setattr("vlagym.envs.calvin.suite.installed_version", lambda package: found)
    with pytest.raises(DependencyError, match=rf"pybullet 3\.2\.7.*{message}.*vla-eval install calvin"):
        suite.check_ready()
    assert [check.ok for check in suite.doctor()] == [False]


def test_doctor_draws_a_picture_and_looks_at_it(suite, egl):
    checks = list(suite.doctor())
    assert [check.ok for check in checks] == [True, True, True]
    assert egl.renderer in checks[-1].found


def test_a_run_records_what_drew_its_pictures(suite, egl, data_dir):
    assert suite.provenance()["renderer"] == f"EGL {egl.renderer} {egl.version}"
    assert suite.notices() == []
    tiny = make_suite({**suite_settings("calvin_d"), "renderer": "tiny"})
    assert tiny.provenance()["renderer"] == "TinyRenderer"
    assert "not comparable" in tiny.notices()[0]
    assert tiny.protocol() != suite.protocol()
