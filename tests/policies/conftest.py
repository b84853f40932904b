"""What tests of policies share: data recorded from upstream, and a suite with LIBERO's shapes that simulates nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from shapes_only import ShapesOnly

from vlagym.envs.spec import ActionSpec, StateField, StateSpec
from vlagym.episode import EpisodeSpec
from vlagym.policies.base import PolicyObservation


@pytest.fixture(scope="session")
def google_like() -> ShapesOnly:
    """The shapes of a Google robot in SimplerEnv."""
    names = ("x", "y", "z", "axis_angle_x", "axis_angle_y", "axis_angle_z", "gripper")
    action = ActionSpec(names, (-1.0,) * 7, (1.0,) * 7, "delta", "base", "axis_angle", "m_rad", -1.0, 1.0, 3.0)
    return ShapesOnly("simpler_google", action, StateSpec((StateField("tcp", 3, "m, base"),)), (512, 640))


@pytest.fixture(scope="session")
def observe() -> Callable[..., PolicyObservation]:
    """Makes an observation of an episode."""

    def make(
        images: dict[str, np.ndarray], instruction: str, episode: int = 0, step: int = 0, state: np.ndarray | None = None
    ) -> PolicyObservation:
        return {
            "images": images,
            "state": np.zeros(8, np.float32) if state is None else state,
            "instruction": instruction,
            "episode_id": EpisodeSpec("libero_goal", "task_0", episode).id,
            "step": step,
        }

    return make
