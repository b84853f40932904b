"""The suites of LIBERO and the protocol of their reference evaluation.

Protocol: openvla/experiments/robot/libero/run_libero_eval.py (its numbers are in conf/suite/), which OpenVLA-OFT and openpi follow:
50 initial states per task, 10 settle steps with the gripper open, then at most so many steps; success ends the episode.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ...edges.settings import Count, Index, Name, Pixels, Seed, check_fields
from ..robosuite.specs import ABSOLUTE_ACTION_SPEC, ACTION_SPEC, STATE_SPEC
from ..spec import ActionSpec, StateSpec, SuiteSettings, Task
from ..variation import KINDS, Words
from .setups import Setup
from .tasks import TRIALS, suite_tasks, task_files

Scenes = Literal["reference", "independent"]
Control = Literal["delta", "absolute"]

BENCHMARK = "libero"


@dataclass(frozen=True)
class LiberoSettings(SuiteSettings):
    """Settings of one of LIBERO's suites; `name` says which.

    Attributes:
        horizon: Policy steps after which an episode is truncated; settle steps are not counted.
        settle_steps: Steps with the gripper open before the policy takes over: objects fall into place.
        scenes: Where the fixtures stand. ``reference``: trial k has the scene that the reference protocol's k-th episode of the
            task has. ``independent``: each trial has a scene of its own that depends on nothing else.
        scene_seed: Seeds the scenes: 0 in OpenVLA and OpenVLA-OFT, 7 in openpi. None for the episode's own seed.
        image_size: Height and width of both cameras' images, pixels.
        control: What an action says once the settle steps are over: how far to move (``delta``, as in the reference protocol), or
            where to be (``absolute``: robosuite's ``use_delta = False``, its position in m, its orientation as a rotation vector of
            the controller's frame, which is the hand's turned by -90 degrees about its z axis).
        mujoco_version: The only version that this suite runs on: others move objects and darken images.
    """

    horizon: Count = 300
    settle_steps: Index = 10
    scenes: Scenes = "reference"
    scene_seed: Seed | None = 0
    image_size: Pixels = 256
    control: Control = "delta"
    mujoco_version: Name = "3.3.2"

    def __post_init__(self) -> None:
        suite_tasks(self.base_suite)
        check_fields("suite.", self)

    @property
    def base_suite(self) -> str:
        """The suite of LIBERO's own whose tasks these are."""
        return self.name

    @property
    def camera_sizes(self) -> dict[str, tuple[int, int]]:
        return dict.fromkeys(("primary", "wrist"), (self.image_size, self.image_size))

    @property
    def action_spec(self) -> ActionSpec:
        spec = ACTION_SPEC if self.control == "delta" else ABSOLUTE_ACTION_SPEC
        return replace(spec, gripper_at_start=spec.gripper_open)  # as the settle steps leave it

    @property
    def state_spec(self) -> StateSpec:
        return STATE_SPEC

    @property
    def can_vary(self) -> tuple[str, ...]:
        """All there is; but a suite that perturbs another one gives its variants sentences of its own."""
        return KINDS if self.base_suite == self.name else tuple(kind for kind in KINDS if kind != Words.kind)

    def tasks(self) -> tuple[Task, ...]:
        return tuple(Task(name, sentence, TRIALS, self.horizon) for name, sentence in suite_tasks(self.base_suite).items())

    def setup(self, task: Task, trial: int) -> Setup:
        """What an episode is made of."""
        return Setup(task_files(self.name, task.name), task.instruction, init_state=trial, reset=trial)
