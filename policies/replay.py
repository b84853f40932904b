"""Plays the actions of recorded episodes again: the first tool to check an environment with, and a way to look at a run twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..edges.settings import Chunks, Text
from ..envs.calvin.recorded import is_calvin_data
from ..envs.demonstrations import Demonstrated, demonstration_files
from ..envs.suite import Suite
from ..errors import ConfigError, PolicyError
from .base import Chunk, Policy, PolicyObservation
from .pipeline import emitted_spec
from .recorded import Demonstrations, LeRobotEpisodes, Played, Recording, Trajectories, is_lerobot
from .transforms import action_transforms as named_transforms
from .transforms import describe


class ReplayPolicy(Policy):
    """Plays trajectories that an earlier run recorded for the same episodes; after the last action the last one is held.

    Where the recorded policy declared the task accomplished, this one does: all up to the next declaration, or to the end, is then
    one chunk, because an episode that ends with a declaration ends after the chunk.

    Of demonstrations (HDF5) an episode plays the one that its trial begins as, and is over with its last action; the suite is then
    one whose trials are these demonstrations, which `vlagym.eval.plan.config` makes of the one that was asked for.

    Args:
        suite: The suite the actions are for.
        run: Folder of the earlier run, or any folder of trajectory files; a file of demonstrations, or a folder of such files;
            or the folder of a LeRobot data set.
        chunk: Actions per call.
        emits: What the recorded actions mean, where they are not the suite's own: fields of `ActionSpec`.
        action_transforms: By name, what makes the suite's actions of them; of a whole episode at once.
    """

    instant = True

    def __init__(
        self,
        suite: Suite,
        run: Text,
        chunk: Chunks = 1,
        emits: Mapping[str, Any] | None = None,
        action_transforms: Sequence[str | Mapping[str, Any]] | None = None,
    ) -> None:
        self._transforms = named_transforms(action_transforms or ())
        self.action_spec = suite.action_spec if emits is None else emitted_spec(suite, emits)
        for transform in self._transforms:
            self.action_spec = transform.spec(self.action_spec)
        self._chunk = chunk
        self._recording = _recording(Path(run).expanduser(), suite)
        self._played: dict[str, Played] = {}
        self._declares: dict[str, bool] = {}

    def reset(self, episode_ids: Sequence[str]) -> None:
        for episode_id in episode_ids:
            played = self._recording.played(episode_id)
            if played is None:
                raise PolicyError(
                    f"policy 'replay' has no recording of episode {episode_id}; it has {len(self._recording)} of this suite."
                )
            actions = played.actions
            for transform in self._transforms:
                actions = transform(actions, {})
            self._played[episode_id] = played._replace(actions=actions)

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        return [self._chunk_at(observation["episode_id"], observation["step"]) for observation in observations]

    def done(self, episode_ids: Sequence[str]) -> list[bool]:
        return [self._declares[episode_id] for episode_id in episode_ids]

    def release(self, episode_ids: Sequence[str]) -> None:
        for episode_id in episode_ids:
            self._played.pop(episode_id, None)
            self._declares.pop(episode_id, None)

    def provenance(self) -> dict[str, Any]:
        made = {"action_transforms": describe(self._transforms)} if self._transforms else {}
        return {**self._recording.provenance(), **made}

    def _chunk_at(self, episode_id: str, step: int) -> Chunk:
        actions, declared = self._played[episode_id]
        self._declares[episode_id] = step in declared
        first = min(step, len(actions) - 1)
        limit = min((at for at in declared if at > step), default=len(actions))
        return actions[first : limit if step in declared else min(limit, first + self._chunk)]


def _recording(run: Path, suite: Suite) -> Recording:
    if isinstance(suite, Demonstrated):
        return Demonstrations(suite)
    return LeRobotEpisodes(run, suite) if is_lerobot(run) else Trajectories(run, suite)


# Benchmark -> the one of its that begins where demonstrations do, and those of its settings that still mean something there.
_DEMONSTRATED = {
    "libero": ("libero_demonstrations", ("image_size", "mujoco_version")),
    "libero_custom": ("libero_demonstrations", ("image_size", "mujoco_version", "bddl")),
    "robosuite": ("robosuite_demonstrations", ("image_size",)),
    "calvin": ("calvin_demonstrations", ("scene", "action_form", "calvin_env_revision", "renderer")),
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
    if policy["name"] != "replay" or not isinstance(run, str):
        return dict(suite)
    try:
        calvins = is_calvin_data(Path(run).expanduser())
        demonstrations = calvins or _are_demonstrations(run)
    except OSError:  # as for a name that no file can have: whoever opens it says so
        return dict(suite)
    if not demonstrations:
        return dict(suite)
    if suite.get("benchmark") not in _DEMONSTRATED or calvins != (suite["benchmark"] == "calvin"):
        where = "CALVIN's suites" if calvins else "LIBERO's suites, libero_custom and robosuite"
        raise ConfigError(f"policy.run={run}: such demonstrations are played in {where}, not in {suite['name']}.")
    benchmark, kept = _DEMONSTRATED[suite["benchmark"]]
    settings = {name: suite[name] for name in (*_ALWAYS, *kept) if name in suite}
    return {**settings, "benchmark": benchmark, "demonstrations": run}


def _are_demonstrations(run: str) -> bool:
    folder = Path(run).expanduser()
    recorded = folder.is_dir() and (any(folder.glob("*.npz")) or (folder / "trajectories").is_dir())
    return not recorded and bool(demonstration_files(run))
