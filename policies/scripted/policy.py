"""``policy=scripted``: one expert per episode, chosen by the suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ..._registry import import_target
from ...envs.suite import Suite
from ...errors import ConfigError
from ..base import Chunk, Policy, PolicyObservation

# Name of a suite -> the function that makes the expert of an episode, or of a subtask, from its first observation.
EXPERTS: dict[str, str] = {
    "robosuite": "vlagym.policies.scripted.robosuite:make_expert",
    **dict.fromkeys(("calvin_d", "calvin_abc_d", "calvin_abcd_d"), "vlagym.policies.scripted.calvin:make_expert"),
}


class Expert(Protocol):
    """Acts in one episode, or in one subtask of it."""

    def act(self, observation: PolicyObservation) -> Chunk:
        """The next actions, float[T, A]."""


class ScriptedPolicy(Policy):
    """Gives every episode an expert of its own.

    Args:
        suite: Whose actions the experts emit.
        make_expert: Makes an expert from the first observation of an episode or subtask.
    """

    needs_privileged_state = True

    instant = True

    def __init__(self, suite: Suite, make_expert: Callable[[PolicyObservation], Expert]) -> None:
        self.action_spec = suite.action_spec
        self._make_expert = make_expert
        self._experts: dict[str, Expert] = {}

    def reset(self, episode_ids: Sequence[str]) -> None:
        self.release(episode_ids)

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        return [self._expert(observation).act(observation) for observation in observations]

    def release(self, episode_ids: Sequence[str]) -> None:
        for episode_id in episode_ids:
            self._experts.pop(episode_id, None)

    def _expert(self, observation: PolicyObservation) -> Expert:
        episode_id = observation["episode_id"]
        if episode_id not in self._experts:
            self._experts[episode_id] = self._make_expert(observation)
        return self._experts[episode_id]


def make_scripted_policy(suite: Suite) -> ScriptedPolicy:
    """The scripted policy of a suite.

    Raises:
        ConfigError: Nobody has written experts for it, or it is set to absolute actions.
    """
    if suite.name not in EXPERTS:
        raise ConfigError(
            f"policy 'scripted' has no expert for suite {suite.name!r}; it has experts for: {', '.join(sorted(EXPERTS))}. "
            "Choose one of these suites, or another policy (vla-eval list)."
        )
    if suite.action_spec.mode != "delta":
        raise ConfigError(
            f"policy 'scripted' emits relative actions; suite {suite.name!r} is set to {suite.action_spec.mode} ones."
        )
    return ScriptedPolicy(suite, import_target(EXPERTS[suite.name]))
