"""A policy together with the server that was started for it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..base import Chunk, Policy, PolicyObservation
from .server import LaunchedServer


class LaunchedPolicy(Policy):
    """Asks the policy it was made of; ends the server with it.

    Args:
        policy: Connected to the server.
        server: That runs.
        opened: What is to be closed after the policy, the server among it.
    """

    def __init__(self, policy: Policy, server: LaunchedServer, opened: ExitStack) -> None:
        self._policy, self._server, self._opened = policy, server, opened
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

    def provenance(self) -> dict[str, Any]:
        return self._policy.provenance()

    def keep_output(self, folder: Path) -> None:
        self._policy.keep_output(folder)
        self._server.keep_output(folder)

    def close(self) -> None:
        with self._opened:
            self._policy.close()
