"""A benchmark of another package, as small as one can be: a point that has to be pushed to the right.

It shows what the contracts ask for and lets the tests of runner, store and workers run in milliseconds. Files named ``dies*``,
``hangs*``, ``holds*`` or ``raises*`` in the folder that $TOY_FAULTS names make the next step of any worker do so, once per file.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlagym.envs.env import StepOutcome, VlaEnv
from vlagym.envs.spec import ActionSpec, StateField, StateSpec, Task
from vlagym.envs.suite import Check, Suite
from vlagym.episode import SubtaskResult
from vlagym.policies.base import Policy, PolicyObservation

HORIZON = 40


@dataclass(frozen=True)
class ToySuite(Suite):
    """Suite of two tasks.

    Attributes:
        goal: Position to reach.
        chain: Subtasks per episode: 1, or more for an episode whose instruction changes.
        step_seconds: How long a step takes.
        trials: Of each task.
    """

    name: str = "toy"
    goal: float = 1.0
    chain: int = 1
    step_seconds: float = 0.0
    trials: int = 10

    @property
    def action_spec(self) -> ActionSpec:
        return ActionSpec(("dx", "gripper"), (-1.0, -1.0), (1.0, 1.0), "delta", "base", "euler_xyz", "controller", -1.0, 1.0, 10.0)

    @property
    def state_spec(self) -> StateSpec:
        return StateSpec((StateField("x", 1, "m"),))

    @property
    def camera_sizes(self) -> dict[str, tuple[int, int]]:
        return {"primary": (96, 128), "wrist": (16, 16)}

    def tasks(self) -> tuple[Task, ...]:
        return (
            Task("push_right", "push the point to the right", self.trials, HORIZON, self.chain),
            Task("push_far", "push the point far", self.trials, HORIZON, self.chain),
        )

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
        self._done: list[bool] = []

    def _advance(self, action: np.ndarray) -> StepOutcome:
        _suffer_faults()
        time.sleep(self.suite.step_seconds)
        self._position += 0.1 * float(np.clip(action[0], -1, 1))
        success = self._position >= self.suite.goal * self._far * (self._link + 1)
        self._done = [True] * self._link + [bool(success)]
        if success and self._link + 1 < self.suite.chain:
            self._link += 1
            return StepOutcome(False, new_subtask=True)
        return StepOutcome(bool(success), "success" if success else None)

    def draw(self, render_state: np.ndarray, camera: str, height: int, width: int) -> np.ndarray:
        image = np.random.default_rng(0).integers(0, 200, (height, width, 3), np.uint8)  # so that a video has some size
        image = np.roll(image, int(render_state[0] * 100), axis=1)
        column = int(np.clip((render_state[0] + 1) / 4, 0, 0.99) * width)
        image[:, column] = 255
        return image

    def render_state(self) -> np.ndarray:
        return np.array([self._position])

    def physics_state(self) -> np.ndarray:
        return np.array([self._position, self._link], float)

    def _state_vector(self) -> np.ndarray:
        return np.array([self._position], np.float64)

    def subtask_results(self) -> tuple[SubtaskResult, ...]:
        names = [f"push_{link + 1}" for link in range(len(self._done))] if self.suite.chain > 1 else []
        return tuple(SubtaskResult(name, name, done, None, 0) for name, done in zip(names, self._done, strict=False))

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
    for fault in ("dies", "hangs", "holds", "raises"):
        try:
            next(Path(folder).glob(f"{fault}*")).unlink()
        except (StopIteration, FileNotFoundError):
            continue
        if fault == "dies":
            os.kill(os.getpid(), 9)
        if fault == "hangs":
            time.sleep(3600)
        if fault == "holds":
            ctypes.PyDLL(None).sleep(3600)  # keeps the interpreter's lock, as a binding may
        raise FloatingPointError("the simulation blew up")


class PushPolicy(Policy):
    """Pushes to the right at full speed, a chunk at a time."""

    needs_privileged_state = True

    def __init__(self, suite: Suite, chunk: int = 4) -> None:
        self.action_spec = suite.action_spec
        self.chunk = chunk
        self.batches: list[int] = []

    def reset(self, episode_ids: Sequence[str]) -> None:
        return None

    def act(self, observations: Sequence[PolicyObservation]) -> list[np.ndarray]:
        self.batches.append(len(observations))
        assert all("position" in observation["privileged"] for observation in observations)
        return [np.tile(np.array([1.0, 0.0], np.float32), (self.chunk, 1)) for _ in observations]


class BrokenPolicy(PushPolicy):
    """Breaks its contract, after so many batches, in the way it is told to."""

    def __init__(self, suite: Suite, how: str, after: int = 0) -> None:
        super().__init__(suite)
        self.how, self.after = how, after
        if how == "exits_at_once":
            sys.exit(0)

    def act(self, observations: Sequence[PolicyObservation]) -> list[np.ndarray]:
        chunks = super().act(observations)
        if len(self.batches) <= self.after:
            return chunks
        if self.how == "exits":
            sys.exit(0)
        if self.how == "out_of_memory":
            raise MemoryError("the policy ran out of memory")
        if self.how == "not_finite":
            chunks[0][2, 0] = np.nan
        if self.how == "shape":
            chunks[0] = chunks[0][:, :1]
        if self.how == "count":
            chunks = chunks[:-1]
        return chunks
