"""The scripted experts show success on real physics: most chains are done from the first subtask to the last."""

import pytest

from vlagym.conf import suite_settings
from vlagym.envs.calvin.oracle import TASKS
from vlagym.envs.calvin.sequences import evaluation_chains
from vlagym.envs.registry import make_suite
from vlagym.episode import EpisodeSpec
from vlagym.errors import ConfigError
from vlagym.policies.registry import make_policy
from vlagym.policies.scripted.calvin import ROUTES


def run_chain(env, policy, trial):
    """How many subtasks in a row the policy does."""
    episode_id = EpisodeSpec(env.suite.name, "chain", trial).id
    observation, _ = env.reset(options={"trial": trial})
    policy.reset([episode_id])
    while True:
        (chunk,) = policy.act([{**observation, "episode_id": episode_id, "privileged": env.privileged_state()}])
        result = env.step_chunk(chunk)
        if result.ended_by is not None:
            return sum(subtask.success for subtask in env.subtask_results())
        observation = result.observation
        if result.new_subtask:
            policy.reset([episode_id])


def test_there_is_a_route_for_every_task():
    assert set(ROUTES) == set(TASKS)


def test_most_chains_are_done_to_the_end(make_env):
    trials = range(1, 8)
    env = make_env()
    policy = make_policy({"name": "scripted"}, env.suite)
    done = [run_chain(env, policy, trial) for trial in trials]
    assert sum(done) >= 4 * len(done), done
    verbs = {name.split("_")[0] for trial in trials for name in evaluation_chains()[trial].subtasks}
    assert {"lift", "place", "push", "rotate", "turn", "open", "move"} <= verbs


def test_absolute_actions_are_refused():
    suite = make_suite({**suite_settings("calvin_d"), "action_form": "absolute_euler"})
    with pytest.raises(ConfigError, match="emits relative actions"):
        make_policy({"name": "scripted"}, suite)
