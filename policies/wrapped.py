"""A policy around another one: what is not said otherwise is the other's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .base import Chunk, Policy, PolicyObservation


class WrappedPolicy(Policy):
    """Says of itself, and does, what the policy within does.

    Args:
        policy: The one within.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        for name in Policy.__annotations__:
            setattr(self, name, getattr(policy, name))

    def seats(self, at_once: int) -> Sequence[Policy]:
        return self._policy.seats(at_once)

    def reset(self, episode_ids: Sequence[str]) -> None:
        self._policy.reset(episode_ids)

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        return self._policy.act(observations)

    def done(self, episode_ids: Sequence[str]) -> list[bool]:
        return self._policy.done(episode_ids)

    def release(self, episode_ids: Sequence[str]) -> None:
        self._policy.release(episode_ids)

    def keep_output(self, folder: Path) -> None:
        self._policy.keep_output(folder)

    def provenance(self) -> dict[str, Any]:
        return self._policy.provenance()

    def close(self) -> None:
        self._policy.close()
