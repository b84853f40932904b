"""The contract of a policy: the built-in ones keep it, and each way of breaking it is found and named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from toy_suite import BrokenPolicy, PushPolicy, ToySuite

from vlagym.errors import ConfigError, PolicyError
from vlagym.policies import PolicyObservation, check_policy, make_policy
from vlagym.policies.random import RandomPolicy

SUITE = ToySuite()


def test_policies_that_keep_the_contract_pass() -> None:
    check_policy(RandomPolicy(SUITE, chunk=3, cameras=("primary",)), SUITE)
    check_policy(PushPolicy(SUITE), SUITE, SUITE.make_env(()))


def test_random_actions_depend_on_the_episode_alone() -> None:
    ids = ["toy/push_right/0/0", "toy/push_right/1/0", "toy/push_right/0/1"]
    chunks = [_first_actions(RandomPolicy(SUITE, chunk=8), [i])[0] for i in ids]
    together = _first_actions(RandomPolicy(SUITE, chunk=8), ids[::-1])[::-1]
    assert all(np.array_equal(a, b) for a, b in zip(chunks, together, strict=True))
    assert len({chunk.tobytes() for chunk in chunks}) == 3


class _SharesAGenerator(RandomPolicy):
    def act(self, observations: Sequence[PolicyObservation]) -> list[np.ndarray]:
        shared = np.random.default_rng(0)
        return [shared.uniform(-1, 1, (1, 2)) for _ in observations]


class _UsesTheGlobalGenerator(RandomPolicy):
    def act(self, observations: Sequence[PolicyObservation]) -> list[np.ndarray]:
        np.random.uniform()
        return [np.zeros((1, 2)) for _ in observations]


class _Scribbles(RandomPolicy):
    def act(self, observations: Sequence[PolicyObservation]) -> list[np.ndarray]:
        for observation in observations:
            observation["state"][:] = 0
        return [np.zeros((1, 2)) for _ in observations]


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        (_SharesAGenerator(SUITE), "in a batch than alone"),
        (_UsesTheGlobalGenerator(SUITE), "global generator"),
        (_Scribbles(SUITE), "changes the observations"),
        (RandomPolicy(SUITE, cameras=("side",)), "needs cameras ['side']"),
        (PushPolicy(SUITE), "pass an environment"),
    ],
)
def test_a_broken_promise_is_named(policy: RandomPolicy, named: str) -> None:
    with pytest.raises(PolicyError) as raised:
        check_policy(policy, SUITE)
    assert named in str(raised.value)


@pytest.mark.parametrize(("how", "named"), [("not_finite", "not finite"), ("shape", "[4, 1]"), ("count", "3 chunks for 4")])
def test_wrong_chunks_are_named(how: str, named: str) -> None:
    with pytest.raises(PolicyError) as raised:
        check_policy(BrokenPolicy(SUITE, how), SUITE, SUITE.make_env(()))
    assert named in str(raised.value)


class _OtherGripper(RandomPolicy):
    def __init__(self, suite: ToySuite) -> None:
        super().__init__(suite)
        self.action_spec = replace(suite.action_spec, gripper_open=1.0, gripper_closed=0.0)


def test_a_pair_whose_actions_mean_different_things_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from vlagym.policies.registry import POLICIES

    monkeypatch.setattr(POLICIES, "get", lambda name: _OtherGripper)
    with pytest.raises(ConfigError, match="gripper_open: 1.0 != -1.0; gripper_closed: 0.0 != 1.0"):
        make_policy({"name": "other"}, SUITE)


def test_an_argument_a_policy_does_not_take_is_named() -> None:
    with pytest.raises(ConfigError, match="unknown setting policy.colour. It takes chunk, cameras"):
        make_policy({"name": "random", "colour": 3}, SUITE)


def _first_actions(policy: RandomPolicy, episode_ids: Sequence[str]) -> list[np.ndarray]:
    policy.reset(episode_ids)
    observations: list[PolicyObservation] = [
        {"images": {}, "state": np.zeros(1, np.float32), "instruction": "push", "episode_id": i, "step": 0} for i in episode_ids
    ]
    return policy.act(observations)
