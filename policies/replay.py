"""Plays the actions of recorded episodes again: the first tool to check an environment with, and a way to look at a run twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..edges.settings import Chunks, Text
from ..envs.suite import Suite
from ..episode import EpisodeSpec
from ..errors import ConfigError, PolicyError
from .base import Chunk, Policy, PolicyObservation

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ReplayPolicy(Policy):
    """Plays trajectories that an earlier run recorded for the same episodes; after the last action the last one is held.

    Where the recorded policy declared the task accomplished, this one does: all up to the next declaration, or to the end, is then
    one chunk, because an episode that ends with a declaration ends after the chunk.

    Args:
        suite: The suite the actions are for.
        run: Folder of the earlier run, or any folder of trajectory files.
        chunk: Actions per call.
    """

    instant = True

    def __init__(self, suite: Suite, run: Text, chunk: Chunks = 1) -> None:
        self.action_spec = suite.action_spec
        self._chunk = chunk
        self._files = _trajectory_files(Path(run), suite)
        self._actions: dict[str, NDArray[np.floating[Any]]] = {}
        self._declared_at: dict[str, list[int]] = {}
        self._declares: dict[str, bool] = {}

    def reset(self, episode_ids: Sequence[str]) -> None:
        from ..trajectory import load_trajectory

        for episode_id in episode_ids:
            if episode_id not in self._files:
                raise PolicyError(
                    f"policy 'replay' has no recording of episode {episode_id}; it has {len(self._files)} of this suite."
                )
            trajectory = load_trajectory(self._files[episode_id])
            self._actions[episode_id] = trajectory["actions"]
            self._declared_at[episode_id] = trajectory["meta"].get("done_declared_at", [])

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        return [self._chunk_at(observation["episode_id"], observation["step"]) for observation in observations]

    def done(self, episode_ids: Sequence[str]) -> list[bool]:
        return [self._declares[episode_id] for episode_id in episode_ids]

    def release(self, episode_ids: Sequence[str]) -> None:
        for episode_id in episode_ids:
            self._actions.pop(episode_id, None)
            self._declared_at.pop(episode_id, None)
            self._declares.pop(episode_id, None)

    def provenance(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for episode_id in sorted(self._files):
            digest.update(self._files[episode_id].read_bytes())
        return {"trajectories": len(self._files), "trajectories_sha256": digest.hexdigest()}

    def _chunk_at(self, episode_id: str, step: int) -> Chunk:
        actions, declared = self._actions[episode_id], self._declared_at[episode_id]
        self._declares[episode_id] = step in declared
        first = min(step, len(actions) - 1)
        limit = min((at for at in declared if at > step), default=len(actions))
        return actions[first : limit if step in declared else min(limit, first + self._chunk)]


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
