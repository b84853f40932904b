"""Plays the actions of recorded episodes again: the first tool to check an environment with, and a way to look at a run twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..envs.base import Suite
from ..episode import EpisodeSpec
from ..errors import ConfigError, PolicyError
from .base import Chunk, Policy, PolicyObservation

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ReplayPolicy(Policy):
    """Plays trajectories that an earlier run recorded for the same episodes; after the last action the last one is held.

    Args:
        suite: The suite the actions are for.
        run: Folder of the earlier run, or any folder of trajectory files.
        chunk: Actions per call.
    """

    def __init__(self, suite: Suite, run: str, chunk: int = 1) -> None:
        if chunk < 1:
            raise ConfigError(f"policy.chunk must be at least 1; got {chunk}.")
        self.action_spec = suite.action_spec
        self._chunk = chunk
        self._files = _trajectory_files(Path(run), suite)
        self._actions: dict[str, NDArray[np.floating[Any]]] = {}

    def reset(self, episode_ids: Sequence[str]) -> None:
        from ..trajectory import load_trajectory

        for episode_id in episode_ids:
            if episode_id not in self._files:
                raise PolicyError(
                    f"policy 'replay' has no recording of episode {episode_id}; it has {len(self._files)} of this suite."
                )
            self._actions[episode_id] = load_trajectory(self._files[episode_id])["actions"]

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        return [self._chunk_at(observation["episode_id"], observation["step"]) for observation in observations]

    def release(self, episode_ids: Sequence[str]) -> None:
        for episode_id in episode_ids:
            self._actions.pop(episode_id, None)

    def provenance(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for episode_id in sorted(self._files):
            digest.update(self._files[episode_id].read_bytes())
        return {"trajectories": len(self._files), "trajectories_sha256": digest.hexdigest()}

    def _chunk_at(self, episode_id: str, step: int) -> Chunk:
        actions = self._actions[episode_id]
        return actions[min(step, len(actions) - 1) :][: self._chunk]


def _trajectory_files(folder: Path, suite: Suite) -> dict[str, Path]:
    """Episode id -> file, for the episodes of one suite."""
    from ..trajectory import load_trajectory

    files = {}
    for path in sorted([*folder.glob("*.npz"), *(folder / "trajectories").glob("*.npz")]):
        meta = load_trajectory(path)["meta"]
        spec = EpisodeSpec(meta["suite"], meta["task"], meta["trial"], meta["seed"])
        if spec.suite == suite.name:
            files[spec.id] = path
    if not files:
        raise ConfigError(f"policy.run={folder}: no recorded trajectory of suite {suite.name!r} there.")
    return files
