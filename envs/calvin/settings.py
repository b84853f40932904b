"""CALVIN's long-horizon evaluation: 1,000 chains of five subtasks in scene D, 360 steps for each, told in one sentence each.

Protocol: mees/calvin@fa03f01, ``evaluation/evaluate_policy.py`` (lines 38-39 and 124-179). ``calvin_d``, ``calvin_abc_d`` and
``calvin_abcd_d`` are the same evaluation; they name the scenes a policy was trained in, and so the scores it is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ..._registry import unknown_name
from ...edges.settings import Count, check_fields
from ..spec import ActionSpec, StateField, StateSpec, SuiteSettings, Task
from ..variation import KINDS, Light
from .oracle import TASKS
from .scenes import EVALUATION_SCENE, SCENES
from .sequences import CHAIN_LENGTH, evaluation_chains

ActionForm = Literal["relative", "absolute_euler", "absolute_quat"]
Revision = Literal["797142c", "1431a46"]
Renderer = Literal["egl", "tiny"]

CHAIN = "chain"
STEPS_PER_SUBTASK = 360
CONTROL_HZ = 30
CAMERA_SIZES = {"primary": (200, 200), "wrist": (84, 84)}  # the static and the gripper camera, height and width in pixels
REACH_M = 1.5  # absolute positions are not clipped; no point farther out can be reached

_POS, _EULER, _QUAT = ("x", "y", "z"), ("euler_x", "euler_y", "euler_z"), ("quat_x", "quat_y", "quat_z", "quat_w")
_PI = 3.141592653589793

STATE_SPEC = StateSpec(
    (
        StateField("tcp_pos", 3, "position between the fingertips, m, world"),
        StateField("tcp_euler", 3, "its orientation, Euler xyz, rad, world"),
        StateField("gripper_width", 1, "sum of both fingers, m: 0 closed, 0.08 open"),
        StateField("joints", 7, "arm, rad"),
        StateField("gripper_action", 1, "last command: 1 open, -1 closed"),
    )
)


@dataclass(frozen=True)
class CalvinSettings(SuiteSettings):
    """Settings of chains of five subtasks. There is one task, ``chain``; trial i is the benchmark's i-th chain.

    Attributes:
        scene: A, B, C or D. The evaluation is in D; in the others an episode starts from a state given to `CalvinEnv.reset`.
        action_form: ``relative`` (xyz and Euler xyz in the controller's units), ``absolute_euler`` or ``absolute_quat``.
        steps_per_subtask: After so many steps a subtask counts as failed and the chain ends.
        calvin_env_revision: Which upstream behaviour of button and LED, see `vlagym.envs.calvin.world.PlayTable`.
        renderer: ``egl``, as the benchmark; ``tiny`` for TinyRenderer, whose pixels differ.
    """

    scene: str = EVALUATION_SCENE
    action_form: ActionForm = "relative"
    steps_per_subtask: Count = STEPS_PER_SUBTASK
    calvin_env_revision: Revision = "797142c"
    renderer: Renderer = "egl"

    def __post_init__(self) -> None:
        choices: dict[str, Sequence[str]] = {
            "scene": tuple(SCENES),
            "action_form": get_args(ActionForm),
            "calvin_env_revision": get_args(Revision),
            "renderer": get_args(Renderer),
        }
        for setting, known in choices.items():
            if getattr(self, setting) not in known:
                raise unknown_name(f"CALVIN {setting.replace('_', ' ')}", str(getattr(self, setting)), known)
        check_fields("suite.", self)

    @property
    def camera_sizes(self) -> dict[str, tuple[int, int]]:
        return dict(CAMERA_SIZES)

    @property
    def action_spec(self) -> ActionSpec:
        if self.action_form == "relative":
            names = (*_POS, *_EULER, "gripper")
            return ActionSpec(names, (-1.0,) * 7, (1.0,) * 7, "delta", "world", "euler_xyz", "controller", 1.0, -1.0, CONTROL_HZ)
        euler = self.action_form == "absolute_euler"
        high = (REACH_M,) * 3 + ((_PI,) * 3 if euler else (1.0,) * 4) + (1.0,)
        return ActionSpec(
            names=(*_POS, *(_EULER if euler else _QUAT), "gripper"),
            low=tuple(-value for value in high),
            high=high,
            mode="absolute",
            frame="world",
            rotation="euler_xyz" if euler else "quat_xyzw",
            unit="m_rad",
            gripper_open=1.0,
            gripper_closed=-1.0,
            control_hz=CONTROL_HZ,
        )

    @property
    def state_spec(self) -> StateSpec:
        return STATE_SPEC

    @property
    def can_vary(self) -> tuple[str, ...]:
        """But for the light: pybullet's EGL renderer draws every colour and strength of it alike."""
        return tuple(kind for kind in KINDS if kind != Light.kind)

    @property
    def instructed(self) -> tuple[str, ...]:
        """The 34 subtasks."""
        return tuple(TASKS)

    def tasks(self) -> tuple[Task, ...]:
        horizon = CHAIN_LENGTH * self.steps_per_subtask
        return (Task(CHAIN, "five instructions, one after the other", len(evaluation_chains()), horizon, CHAIN_LENGTH),)
