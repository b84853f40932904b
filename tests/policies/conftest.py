"""What tests of policies share: data recorded from upstream, and a suite with LIBERO's shapes that simulates nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlagym.envs.env import VlaEnv
from vlagym.envs.robosuite.specs import ACTION_SPEC, STATE_SPEC
from vlagym.envs.spec import ActionSpec, StateField, StateSpec, Task
from vlagym.envs.suite import Suite
from vlagym.episode import EpisodeSpec
from vlagym.policies.base import PolicyObservation

INSTRUCTIONS = (
    "put the wine bottle on top of the cabinet",
    "Pick up the black bowl between the plate and the RAMEKIN and place it on the plate",
    "open the middle drawer of the cabinet",
)


@dataclass(frozen=True)
class ShapesOnly(Suite):
    """A suite that can be asked what its observations and actions look like, and nothing else."""

    name: str = "libero_goal"
    action: ActionSpec = ACTION_SPEC
    state: StateSpec = STATE_SPEC
    size: tuple[int, int] = (256, 256)

    @property
    def action_spec(self) -> ActionSpec:
        return self.action

    @property
    def state_spec(self) -> StateSpec:
        return self.state

    @property
    def camera_sizes(self) -> dict[str, tuple[int, int]]:
        return {"primary": self.size, "wrist": self.size}

    def tasks(self) -> tuple[Task, ...]:
        return tuple(Task(f"task_{i}", instruction, 4, 300) for i, instruction in enumerate(INSTRUCTIONS))

    def make_env(self, cameras: Sequence[str]) -> VlaEnv:
        raise NotImplementedError

    def check_ready(self) -> None:
        return None

    def provenance(self) -> dict[str, Any]:
        return {}


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the recorded data."""
    folder = os.environ.get("VLAGYM_GOLDEN")
    if not folder:
        pytest.skip("needs data recorded from upstream, in the folder that $VLAGYM_GOLDEN names")
    return Path(folder)


@pytest.fixture(scope="session")
def libero_like() -> ShapesOnly:
    return ShapesOnly()


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
