"""A benchmark of another package, as small as one can be: a point that has to be pushed to the right.

It shows what the contracts ask for and lets the tests of runner, store and workers run in milliseconds. Task names steer what goes
wrong: ``dies`` and ``hangs`` do so whenever a file of that name lies in the folder that $TOY_FAULTS names (and remove it).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vlagym.envs.base import ActionSpec, Check, StateField, StateSpec, StepOutcome, Suite, Task, VlaEnv

HORIZON = 40


@dataclass(frozen=True)
class ToySuite(Suite):
    """Suite of two tasks with ten trials each.

    Attributes:
        goal: Position to reach.
        chain: Subtasks per episode: 1, or more for an episode whose instruction changes.
    """

    name: str = "toy"
    goal: float = 1.0
    chain: int = 1

    @property
    def action_spec(self) -> ActionSpec:
        return ActionSpec(("dx", "gripper"), (-1.0, -1.0), (1.0, 1.0), "delta", "base", "euler_xyz", "controller", -1.0, 1.0, 10.0)

    @property
    def state_spec(self) -> StateSpec:
        return StateSpec((StateField("x", 1, "m"),))

    @property
    def camera_sizes(self) -> dict[str, tuple[int, int]]:
        return {"primary": (32, 48), "wrist": (16, 16)}

    def tasks(self) -> tuple[Task, ...]:
        return (Task("push_right", "push the point to the right", 10, HORIZON), Task("push_far", "push the point far", 10, HORIZON))

    def make_env(self, cameras: Sequence[str]) -> ToyEnv:
        return ToyEnv(self, cameras)

    def check_ready(self) -> None:
        return None

    def provenance(self) -> dict[str, object]:
        return {"toy": 1}

    def doctor(self) -> Iterator[Check]:
        yield Check("toy", True, "nothing can be wrong with it")


class ToyEnv(VlaEnv):
    suite: ToySuite

    def _begin(self, task: Task, trial: int, seed: int) -> None:
        self._far = 2.0 if task.name == "push_far" else 1.0
        self._position = np.random.default_rng([trial, seed]).uniform(-0.2, 0.2)
        self._link = 0

    def _advance(self, action: np.ndarray) -> StepOutcome:
        _suffer_faults()
        self._position += 0.1 * float(np.clip(action[0], -1, 1))
        success = self._position >= self.suite.goal * self._far * (self._link + 1)
        if success and self._link + 1 < self.suite.chain:
            self._link += 1
            return StepOutcome(False, new_subtask=True)
        return StepOutcome(bool(success), "success" if success else None)

    def draw(self, render_state: np.ndarray, camera: str, height: int, width: int) -> np.ndarray:
        image = np.full((height, width, 3), 40, np.uint8)
        column = int(np.clip((render_state[0] + 1) / 4, 0, 0.99) * width)
        image[:, column] = 255
        return image

    def render_state(self) -> np.ndarray:
        return np.array([self._position])

    def physics_state(self) -> np.ndarray:
        return np.array([self._position, self._link], float)

    def _state_vector(self) -> np.ndarray:
        return np.array([self._position], np.float32)

    @property
    def instruction(self) -> str:
        return f"push the point to {self._link + 1}"

    def _save(self) -> dict[str, np.ndarray]:
        return {"physics": self.physics_state()}

    def _load(self, state: dict[str, np.ndarray]) -> None:
        self._position, self._link = float(state["physics"][0]), int(state["physics"][1])

    def privileged_state(self) -> dict[str, np.ndarray]:
        return {"position": np.array([self._position])}


def _suffer_faults() -> None:
    folder = os.environ.get("TOY_FAULTS")
    if folder is None:
        return
    for fault in ("dies", "hangs", "raises"):
        try:
            next(Path(folder).glob(f"{fault}*")).unlink()
        except (StopIteration, FileNotFoundError):
            continue
        if fault == "dies":
            os.kill(os.getpid(), 9)
        if fault == "hangs":
            time.sleep(3600)
        raise FloatingPointError("the simulation blew up")
