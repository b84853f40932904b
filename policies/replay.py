"""Plays the actions of recorded episodes again: the first tool to check an environment with, and a way to look at a run twice."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..edges.settings import Chunks, Text
from ..envs.demonstrations import Demonstrated, demonstration_files
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

    Of demonstrations (HDF5) an episode plays the one that its trial begins as, and is over with its last action; the suite is then
    one whose trials are these demonstrations, which `vlagym.eval.plan.config` makes of the one that was asked for.

    Args:
        suite: The suite the actions are for.
        run: Folder of the earlier run, or any folder of trajectory files; or a file of demonstrations, or a folder of such files.
        chunk: Actions per call.
    """

    instant = True

    def __init__(self, suite: Suite, run: Text, chunk: Chunks = 1) -> None:
        self.action_spec = suite.action_spec
        self._chunk = chunk
        self._demonstrated = suite if isinstance(suite, Demonstrated) else None
        self._files = {} if self._demonstrated else _trajectory_files(Path(run).expanduser(), suite)
        self._actions: dict[str, NDArray[np.floating[Any]]] = {}
        self._declared_at: dict[str, list[int]] = {}
        self._declares: dict[str, bool] = {}

    def reset(self, episode_ids: Sequence[str]) -> None:
        from ..trajectory import load_trajectory

        for episode_id in episode_ids:
            if self._demonstrated is not None:
                spec = EpisodeSpec.from_id(episode_id)
                self._actions[episode_id] = actions = self._demonstrated.demonstration(spec.task, spec.trial).actions
                self._declared_at[episode_id] = [len(actions) - 1]
                continue
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
        if self._demonstrated is not None:  # the suite's protocol has their hash
            return {"demonstrations": sum(task.trials for task in self._demonstrated.tasks())}
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


# Benchmark -> the one of its that begins where demonstrations do, and those of its settings that still mean something there.
_DEMONSTRATED = {
    "libero": ("libero_demonstrations", ("image_size", "mujoco_version")),
    "libero_custom": ("libero_demonstrations", ("image_size", "mujoco_version", "bddl")),
    "robosuite": ("robosuite_demonstrations", ("image_size",)),
}
_ALWAYS = ("name", "instructions", "variation")


def suite_to_play(policy: Mapping[str, Any], suite: Mapping[str, Any]) -> dict[str, Any]:
    """A suite's settings where a policy is to play demonstrations: of the suite whose trials these are; else the same settings.

    Args:
        policy: Settings of a policy, ``name`` among them.
        suite: Settings of a suite, ``benchmark`` among them.

    Raises:
        ConfigError: Nobody can say where demonstrations of this suite begin.
    """
    run = policy.get("run")
    if policy["name"] != "replay" or not isinstance(run, str) or not _are_demonstrations(run):
        return dict(suite)
    if suite.get("benchmark") not in _DEMONSTRATED:
        raise ConfigError(
            f"policy.run={run}: demonstrations (HDF5) are played in LIBERO's suites, libero_custom and robosuite, not in "
            f"{suite['name']}."
        )
    benchmark, kept = _DEMONSTRATED[suite["benchmark"]]
    settings = {name: suite[name] for name in (*_ALWAYS, *kept) if name in suite}
    return {**settings, "benchmark": benchmark, "demonstrations": run}


def _are_demonstrations(run: str) -> bool:
    folder = Path(run).expanduser()
    recorded = folder.is_dir() and (any(folder.glob("*.npz")) or (folder / "trajectories").is_dir())
    return not recorded and bool(demonstration_files(run))


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
