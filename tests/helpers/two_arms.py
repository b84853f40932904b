"""A robot with two arms that is told joint angles, as ALOHA is: fourteen entries, arm by arm, each with its gripper last.

The arms move towards the angles they are told, a little at every step; both have to hold up the first joint and close the gripper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlagym.envs.env import StepOutcome, VlaEnv
from vlagym.envs.spec import ActionSpec, StateField, StateSpec, Task
from vlagym.envs.suite import Suite
from vlagym.policies.base import Policy, PolicyObservation

ARMS = ("left", "right")
NAMES = tuple(f"{arm}_{part}" for arm in ARMS for part in (*(f"joint_{i}" for i in range(6)), "gripper"))
OPEN, CLOSED = 1.0, 0.0
RAISED = 0.5  # rad, of each arm's first joint
STEP = 0.1  # rad
LOW, HIGH = (*(-3.1,) * 6, CLOSED) * 2, (*(3.1,) * 6, OPEN) * 2


@dataclass(frozen=True)
class TwoArmSuite(Suite):
    """One task for two arms."""

    name: str = "two_arms"

    @property
    def action_spec(self) -> ActionSpec:
        return ActionSpec(NAMES, LOW, HIGH, "absolute", "joints", "none", "rad", OPEN, CLOSED, 50.0, arms=2)

    @property
    def state_spec(self) -> StateSpec:
        return StateSpec(tuple(StateField(f"{arm}_joints", 7, "rad, and the gripper from 0 (closed) to 1") for arm in ARMS))

    @property
    def camera_sizes(self) -> dict[str, tuple[int, int]]:
        return {"primary": (32, 48), "left_wrist": (16, 16), "right_wrist": (16, 16)}

    def tasks(self) -> tuple[Task, ...]:
        return (Task("lift_tray", "lift the tray with both arms", trials=3, horizon=30),)

    def make_env(self, cameras: Sequence[str]) -> TwoArmEnv:
        return TwoArmEnv(self, cameras)

    def check_ready(self) -> None:
        return None

    def provenance(self) -> dict[str, object]:
        return {"two_arms": 1}


class TwoArmEnv(VlaEnv):
    suite: TwoArmSuite

    def _begin(self, task: Task, trial: int, seed: int) -> None:
        self._angles = np.random.default_rng([trial, seed]).uniform(-0.2, 0.2, 14)
        self._angles[self.suite.action_spec.grippers] = OPEN

    def _advance(self, action: np.ndarray) -> StepOutcome:
        told = np.clip(action, LOW, HIGH)
        self._angles = self._angles + np.clip(told - self._angles, -STEP, STEP)
        raised = all(self._angles[first] > RAISED - STEP for first in (0, 7))
        success = bool(raised and (self._angles[self.suite.action_spec.grippers] < 0.5).all())
        return StepOutcome(success, "success" if success else None)

    def draw(self, render_state: np.ndarray, camera: str, height: int, width: int) -> np.ndarray:
        image = np.zeros((height, width, 3), np.uint8)
        for first, side in ((0, 0), (7, 1)):
            row = int(np.clip((1 - render_state[first]) / 2, 0, 0.99) * height)
            image[row, side * width // 2 : (side + 1) * width // 2] = (255, 40 * (1 + side), int(100 * render_state[first + 6]))
        return image

    def render_state(self) -> np.ndarray:
        return self._angles.copy()

    def physics_state(self) -> np.ndarray:
        return self._angles.copy()

    def _state_vector(self) -> np.ndarray:
        return self._angles.copy()

    @property
    def instruction(self) -> str:
        assert self._task is not None
        return self._task.instruction

    def _present_pose(self) -> np.ndarray:
        return np.delete(self._angles, self.suite.action_spec.grippers)

    def _save(self) -> dict[str, np.ndarray]:
        return {"angles": self._angles.copy()}

    def _load(self, state: dict[str, np.ndarray]) -> None:
        self._angles = state["angles"].copy()


class LiftPolicy(Policy):
    """Raises both arms and closes both grippers."""

    def __init__(self, suite: Suite, chunk: int = 3) -> None:
        self.action_spec = suite.action_spec
        self.chunk = chunk

    def reset(self, episode_ids: Sequence[str]) -> None:
        return None

    def act(self, observations: Sequence[PolicyObservation]) -> list[np.ndarray]:
        action = np.zeros(14)
        action[[0, 7]] = RAISED
        action[self.action_spec.grippers] = CLOSED
        return [np.tile(action, (self.chunk, 1)) for _ in observations]
