"""A suite with LIBERO's shapes that simulates nothing, for tests of policies alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlagym.envs.env import VlaEnv
from vlagym.envs.robosuite.specs import ACTION_SPEC, STATE_SPEC
from vlagym.envs.spec import ActionSpec, StateSpec, Task
from vlagym.envs.suite import Suite

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
        raise NotImplementedError("it simulates nothing")  # for tests of policies alone; one that steps an environment fails here

    def check_ready(self) -> None:
        return None

    def provenance(self) -> dict[str, Any]:
        return {}
