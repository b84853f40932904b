"""SimplerEnv's official evaluations as suites: WidowX, and the Google robot by visual matching and by variant aggregation.

Success counts after the last step, as upstream does: the success condition does not end an episode and may be lost again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ..._registry import unknown_name
from ..spec import ActionSpec, StateField, StateSpec, SuiteSettings, Task
from ..variation import KINDS, ON_IMAGES_AND_WORDS
from .robots import GOOGLE, WIDOWX
from .setups import Setup, Shader, Textures
from .tasks import Evaluation, OfficialTask, Trial, official_tasks
from .vulkan import VulkanDevice

ASSETS = "maniskill2_real2sim"
# Nothing is clipped but the gripper; these bounds are what the robots' own policies stay within.
REACH_M, TURN_RAD = 0.1, 0.5

STATE_SPEC = StateSpec(
    (
        StateField("eef_pos", 3, "position of the tool centre point, m, robot base"),
        StateField("eef_quat_wxyz", 4, "its orientation, robot base"),
        StateField("gripper", 1, "0 open, 1 closed"),
    )
)


@dataclass(frozen=True)
class SimplerSettings(SuiteSettings):
    """Settings of one of SimplerEnv's evaluations. Its scenes do not depend on the episode's seed: all is fixed by task and trial.

    Attributes:
        evaluation: Which one.
        shader: What draws the images; ``official`` is the benchmark's choice per task on a GPU that traces rays, and the rasterizer
            for all tasks elsewhere, which is not comparable and said so.
        move_near: Textures of the move-near task in visual matching; ``baked_v0`` in the official scripts, ``baked_v1`` in
            upstream's prepackaged environment of the same name.
        camera_variants: Whether variant aggregation also has the variants of the camera, which upstream's averages leave out.
    """

    evaluation: Evaluation
    shader: Literal["official", "rasterizer", "raytracer"] = "official"
    move_near: Textures = "baked_v0"
    camera_variants: bool = False

    def __post_init__(self) -> None:
        choices: dict[str, Sequence[str]] = {
            "evaluation": get_args(Evaluation),
            "shader": ("official", *get_args(Shader)),
            "move_near": ("baked_v0", "baked_v1"),
        }
        for setting, known in choices.items():
            if getattr(self, setting) not in known:
                raise unknown_name(f"SimplerEnv {setting.replace('_', ' ')}", str(getattr(self, setting)), known)

    @property
    def camera_sizes(self) -> dict[str, tuple[int, int]]:
        camera = (WIDOWX if self.evaluation == "widowx" else GOOGLE).camera
        return {"primary": (camera.height, camera.width)}

    @property
    def action_spec(self) -> ActionSpec:
        widowx = self.evaluation == "widowx"
        high = (REACH_M,) * 3 + (TURN_RAD,) * 3 + (1.0,)
        return ActionSpec(
            names=("x", "y", "z", "axis_angle_x", "axis_angle_y", "axis_angle_z", "gripper"),
            low=tuple(-value for value in high),
            high=high,
            mode="delta",
            frame="base",
            rotation="axis_angle",
            unit="m_rad",
            # The WidowX is told how far to open; the Google robot by how much to close.
            gripper_open=1.0 if widowx else -1.0,
            gripper_closed=-1.0 if widowx else 1.0,
            control_hz=(WIDOWX if widowx else GOOGLE).control_hz,
            gripper_still=None if widowx else 0.0,
        )

    @property
    def state_spec(self) -> StateSpec:
        return STATE_SPEC

    @property
    def can_vary(self) -> tuple[str, ...]:
        """Where the background is a photograph, neither camera nor light can be changed: it would not change with them."""
        return KINDS if self.evaluation == "google_variant_aggregation" else ON_IMAGES_AND_WORDS

    def tasks(self) -> tuple[Task, ...]:
        return tuple(
            Task(task.name, task.instruction, len(task.trials), task.horizon, group=task.group) for task in self.official()
        )

    def trial(self, task: str, index: int) -> Trial:
        """What a trial consists of."""
        return next(official for official in self.official() if official.name == task).trials[index]

    def shader_on(self, device: VulkanDevice, setup: Setup) -> Shader:
        """What draws an episode on a device."""
        if self.shader != "official":
            return self.shader
        return setup.shader if traces_rays(device) else "rasterizer"

    def official(self) -> tuple[OfficialTask, ...]:
        """The tasks with all that upstream fixes about them."""
        return official_tasks(self.evaluation, self.move_near, self.camera_variants)


def traces_rays(device: VulkanDevice) -> bool:
    """Whether a device traces rays fast enough for an evaluation; a CPU takes minutes per picture."""
    return device.ray_tracing and not device.is_software
