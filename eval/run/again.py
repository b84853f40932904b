"""Recorded episodes lived through again.

A trajectory has the actions, and an episode is a pure function of them: it is executed again, and must end in the physics state
that the run recorded, so what is read off it is what happened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ...envs.env import VlaEnv
from ...episode import EpisodeResult
from ...errors import EnvError, RunError
from ...trajectory import Trajectory, load_trajectory
from ..tables.runs import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")


def live_again(
    env: VlaEnv,
    result: EpisodeResult,
    trajectory: Trajectory,
    look: Callable[[VlaEnv], T],
    take: Callable[[T, NDArray[np.floating[Any]], bool], object],
) -> None:
    """Execute a recorded episode again, looking at every moment.

    Args:
        env: Of the suite that the run was made with.
        result: The episode.
        trajectory: Its own.
        look: Asked before every action.
        take: Given what was seen, the action float[A] that followed, and whether the success condition held after it.

    Raises:
        EnvError: The episode comes out differently on this machine.
    """
    spec, actions = result.spec, trajectory["actions"]
    declared = trajectory["meta"].get("done_declared_at", [])
    env.reset(seed=spec.seed, options={"task": spec.task, "trial": spec.trial})
    at = 0
    while at < len(actions):
        # One by one, so that few pictures are held; but what the policy declared done belongs to the whole chunk that it gave then.
        end = min((step for step in declared if step > at), default=len(actions)) if at in declared else at + 1
        seen = [look(env)]
        after = (lambda seen=seen: seen.append(look(env))) if end > at + 1 else None
        executed = env.step_chunk(actions[at:end], on_step=after, done=at in declared)
        for number, success in enumerate(executed.successes):
            take(seen[number], actions[at + number], bool(success))
        at += executed.executed
        if executed.ended_by is not None:
            break
    if at != len(actions) or env.physics_sha256() != result.final_state_sha256:
        raise EnvError(
            f"{spec.id} comes out differently on this machine than in the run; do this where the same versions of packages and "
            "assets are installed."
        )


def trajectory_of(run: Run, result: EpisodeResult) -> Trajectory:
    """The recorded trajectory of an episode.

    Raises:
        RunError: The run has none, or it is damaged.
    """
    name = result.execution.get("trajectory")
    path = (run.path / str(name)).resolve()
    if not name or not path.is_relative_to(run.path.resolve()):
        raise RunError(f"{run.path} has no trajectory of {result.spec.id}; resume the run to record it.")
    return load_trajectory(path)
