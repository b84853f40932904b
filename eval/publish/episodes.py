"""Recorded episodes lived through again, frame by frame: what a data set for training is made of.

A trajectory has the actions, and an episode is a pure function of them: it is executed again, and must end in the physics state
that the run recorded, so what is written is what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...envs.env import VlaEnv
from ...episode import EpisodeResult
from ...errors import EnvError, RunError
from ...trajectory import Trajectory, load_trajectory
from ..tables.runs import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """A moment and the action that followed it.

    Attributes:
        images: Camera -> uint8[H, W, 3], upright.
        state: float32[S], as the suite's `StateSpec` declares.
        instruction: What the policy was told.
        action: float[A], as the suite's `ActionSpec` declares.
        physics: float64[P], the simulator's state.
        success: Whether the success condition held after the action.
    """

    images: Mapping[str, NDArray[np.uint8]]
    state: NDArray[np.float32]
    instruction: str
    action: NDArray[np.floating[Any]]
    physics: NDArray[np.float64]
    success: bool


def live_again(
    env: VlaEnv, result: EpisodeResult, trajectory: Trajectory, size: tuple[int, int] | None, take: Callable[[Frame], object]
) -> None:
    """Execute a recorded episode again and hand out its frames, one per action.

    Args:
        env: Of the suite that the run was made with.
        result: The episode.
        trajectory: Its own.
        size: (height, width) of every camera's image in pixels; None for the protocol's.
        take: Given each frame in turn.

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
        moments = [_moment(env, size)]
        after = partial(_add_moment, moments, env, size) if end > at + 1 else None
        executed = env.step_chunk(actions[at:end], on_step=after, done=at in declared)
        for number, success in enumerate(executed.successes):
            take(Frame(action=actions[at + number], success=bool(success), **moments[number]))
        at += executed.executed
        if executed.ended_by is not None:
            break
    if at != len(actions) or env.physics_sha256() != result.final_state_sha256:
        raise EnvError(
            f"{spec.id} comes out differently on this machine than in the run; export it where the same versions of packages and "
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
    return load_trajectory(Path(path))


def _add_moment(moments: list[dict[str, Any]], env: VlaEnv, size: tuple[int, int] | None) -> None:
    moments.append(_moment(env, size))


def _moment(env: VlaEnv, size: tuple[int, int] | None) -> dict[str, Any]:
    """What is seen and told now; pictures are drawn before anything moves on."""
    return {
        "images": {camera: env.render(camera, *(size or (None, None))) for camera in env.suite.cameras},
        "state": env.precise_state().astype(np.float32),
        "instruction": env.told(env.instruction, env.asked),
        "physics": env.physics_state(),
    }
