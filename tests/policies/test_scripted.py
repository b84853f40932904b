"""The scripted experts: they solve their tasks, recover from mishaps, and keep the contract of any policy."""

import numpy as np
import pytest

from vlagym.conf import suite_settings
from vlagym.envs import make_suite
from vlagym.envs.robosuite.suite import RobosuiteSuite
from vlagym.episode import EpisodeSpec
from vlagym.errors import ConfigError
from vlagym.policies.checker import check_policy
from vlagym.policies.registry import make_policy
from vlagym.policies.scripted import make_scripted_policy
from vlagym.policies.scripted.robosuite import SCRIPTS, nearest
from vlagym.policies.scripted.script import OPEN, ScriptPlayer

TASKS = list(SCRIPTS)
MANY_TRIALS = 30


@pytest.fixture(scope="module")
def suite():
    return RobosuiteSuite("robosuite", trials=MANY_TRIALS)


@pytest.fixture(scope="module")
def env(suite):
    env = suite.make_env(())
    yield env
    env.close()


@pytest.fixture
def policy(suite):
    return make_policy({"name": "scripted"}, suite)


def observe(env, observation, task, trial, seed=0):
    episode_id = EpisodeSpec("robosuite", task, trial, seed).id
    return {**observation, "episode_id": episode_id, "step": 0, "privileged": env.privileged_state()}


def solves(env, policy, task, trial):
    """Play an episode to its end; returns whether the task was solved, and the actions."""
    seen, _ = env.reset(options={"task": task, "trial": trial})
    observation = observe(env, seen, task, trial)
    policy.reset([observation["episode_id"]])
    actions, over = [], False
    while not over:
        (chunk,) = policy.act([observation])
        actions.append(chunk)
        seen, _, solved, truncated, _ = env.step(chunk[0])
        observation, over = observe(env, seen, task, trial), solved or truncated
    policy.release([observation["episode_id"]])
    return solved, np.concatenate(actions)


def test_every_task_of_the_suite_has_a_script(suite):
    assert set(SCRIPTS) == {task.name for task in suite.tasks()}


@pytest.mark.parametrize("task", TASKS)
def test_expert_solves_its_task(env, policy, task):
    for trial in (0, 1):
        solved, actions = solves(env, policy, task, trial)
        assert solved
        assert actions.dtype == np.float32
        assert np.abs(actions).max() <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_expert_solves_nine_in_ten(env, policy, task):
    assert np.mean([solves(env, policy, task, trial)[0] for trial in range(MANY_TRIALS)]) >= 0.9


def test_an_episode_played_again_gets_the_same_actions(env, policy):
    first = solves(env, policy, "lift", 2)[1]
    solves(env, policy, "lift", 3)
    assert np.array_equal(solves(env, policy, "lift", 2)[1], first)


def test_expert_starts_over_when_the_object_slips_out_of_the_hand(env):
    env.reset(options={"task": "lift", "trial": 0})
    player, phases, solved = ScriptPlayer(SCRIPTS["lift"]), [], False
    while not solved and len(phases) < 90:
        action = player.act(env.privileged_state())
        phases.append(player.phase.name)
        if "lift" in phases and len(phases) - phases.index("lift") <= 8:
            action = np.array([0, 0, 0, 0, 0, 0, OPEN], np.float32)
        _, _, solved, _, _ = env.step(action)
    assert solved
    first_lift = phases.index("lift")
    assert "approach" in phases[first_lift:]


def test_contract_of_a_policy_is_kept(env, policy, suite):
    check_policy(policy, suite, env)


def test_suite_without_experts_is_refused_with_those_that_have_some():
    libero = make_suite(suite_settings("libero_goal"))
    with pytest.raises(ConfigError, match=r"no expert for suite 'libero_goal'; it has experts for: .*robosuite"):
        make_scripted_policy(libero)


@pytest.mark.parametrize(
    ("angle", "to", "period", "expected"),
    [(0.1, 3.0, np.pi, 0.1 + np.pi), (0.1, -1.5, np.pi / 2, 0.1 - np.pi / 2), (2.0, 2.1, 1.0, 2.0)],
)
def test_the_nearest_of_equal_directions_is_taken(angle, to, period, expected):
    assert nearest(angle, to, period) == pytest.approx(expected)
