"""Recorded episodes lived through again, frame by frame: what a data set for training is made of.

A trajectory has the actions, and an episode is a pure function of them: it is executed again, and must end in the physics state
that the run recorded, so what is written is what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...envs.env import VlaEnv
from ...episode import EpisodeResult
from ...trajectory import Trajectory
from ..run.again import live_again

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


def frames_again(
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

    def with_action(moment: dict[str, Any], action: NDArray[np.floating[Any]], success: bool) -> None:
        take(Frame(**moment, action=action, success=success))

    live_again(env, result, trajectory, partial(_moment, size=size), with_action)


def _moment(env: VlaEnv, size: tuple[int, int] | None) -> dict[str, Any]:
    """What is seen and told now; pictures are drawn before anything moves on."""
    return {
        "images": {camera: env.render(camera, *(size or (None, None))) for camera in env.suite.cameras},
        "state": env.precise_state().astype(np.float32),
        "instruction": env.told(env.instruction, env.asked),
        "physics": env.physics_state(),
    }
