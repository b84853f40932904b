"""SimplerEnv's official evaluations as suites: WidowX, and the Google robot by visual matching and by variant aggregation.

Success counts after the last step, as upstream does: the success condition does not end an episode and may be lost again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..._registry import unknown_name
from ...errors import DependencyError, VlagymError
from ..assets import AssetFolder, locate
from ..base import ActionSpec, Check, StateField, StateSpec, Suite, Task
from ..packages import installed_version, require_packages
from .robots import GOOGLE, WIDOWX
from .setups import Setup, Shader, Textures
from .tasks import Evaluation, OfficialTask, Trial, official_tasks
from .vulkan import VulkanDevice, probe_vulkan
from .world import STAGES

if TYPE_CHECKING:
    from .env import SimplerEnv

ASSETS = "maniskill2_real2sim"
# Nothing is clipped but the gripper; these bounds are what the robots' own policies stay within.
REACH_M, TURN_RAD = 0.1, 0.5
PACKAGES = ("sapien", "numpy", "scipy", "ruckig", "transforms3d", "opencv-python")
LAST_PYTHON = (3, 11)

STATE_SPEC = StateSpec(
    (
        StateField("eef_pos", 3, "position of the tool centre point, m, robot base"),
        StateField("eef_quat_wxyz", 4, "its orientation, robot base"),
        StateField("gripper", 1, "0 open, 1 closed"),
    )
)


@dataclass(frozen=True)
class SimplerSuite(Suite):
    """One of SimplerEnv's evaluations. Its scenes do not depend on the episode's seed: all is fixed by task and trial.

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
        )

    @property
    def state_spec(self) -> StateSpec:
        return STATE_SPEC

    def tasks(self) -> tuple[Task, ...]:
        return tuple(
            Task(task.name, task.instruction, len(task.trials), task.horizon, group=task.group) for task in self._official()
        )

    def trial(self, task: str, index: int) -> Trial:
        """What a trial consists of."""
        return next(official for official in self._official() if official.name == task).trials[index]

    def shader_on(self, device: VulkanDevice, setup: Setup) -> Shader:
        """What draws an episode on a device."""
        if self.shader != "official":
            return self.shader
        return setup.shader if traces_rays(device) else "rasterizer"

    def make_env(self, cameras: Sequence[str]) -> SimplerEnv:
        check_python()
        require_packages("simpler")
        assets = self._assets()
        from .env import SimplerEnv

        return SimplerEnv(self, cameras, assets.path)

    def check_ready(self) -> None:
        check_python()
        require_packages("simpler")
        self._assets()
        probe_vulkan()

    def provenance(self) -> dict[str, Any]:
        device = probe_vulkan()
        return {
            "packages": {name: installed_version(name) for name in PACKAGES},
            "assets": {ASSETS: self._assets().provenance()},
            "renderer": asdict(device),
        }

    def protocol(self) -> dict[str, Any]:
        """The settings, a hash over every trial's setup, and what draws each task."""
        tasks = self._official()
        trials = [[task.name, task.horizon, trial.variant, asdict(trial.setup)] for task in tasks for trial in task.trials]
        return {
            **super().protocol(),
            "trials_sha256": hashlib.sha256(json.dumps(trials, sort_keys=True).encode()).hexdigest(),
            "shaders": {task.name: self.shader_on(probe_vulkan(), task.trials[0].setup) for task in tasks},
        }

    def notices(self) -> list[str]:
        found = [notice for notice in [self._assets().notice] if notice]
        device = probe_vulkan()
        setups = [task.trials[0].setup for task in self._official()]
        shaders = {(setup.shader, self.shader_on(device, setup)) for setup in setups}
        if ("raytracer", "rasterizer") in shaders:
            found.append(
                "Drawer and place tasks are drawn by the rasterizer here; the benchmark traces rays for them, which looks "
                "different: their scores are not comparable."
            )
        if ("rasterizer", "raytracer") in shaders:
            found.append("Tasks that the benchmark rasterizes are ray traced here: their scores are not comparable.")
        stages = self._missing_stages()
        if stages:
            found.append(f"Trials in {', '.join(stages)} cannot be run: the {ASSETS} assets lack these rooms.")
        return found

    def doctor(self) -> Iterator[Check]:
        probes = {"python": check_python, "packages": lambda: require_packages("simpler"), "assets": self._assets}
        for name, probe in probes.items():
            try:
                probe()
            except VlagymError as error:
                yield Check(f"SimplerEnv {name}", False, str(error))
                return
            yield Check(f"SimplerEnv {name}", True, "fine")
        yield from _vulkan_checks()

    def _official(self) -> tuple[OfficialTask, ...]:
        return official_tasks(self.evaluation, self.move_near, self.camera_variants)

    def _missing_stages(self) -> list[str]:
        stages = self._assets().path / STAGES
        used = sorted({trial.setup.stage for task in self._official() for trial in task.trials})
        return [stage for stage in used if not stage.startswith("dummy") and not (stages / f"{stage}.glb").is_file()]

    @staticmethod
    def _assets() -> AssetFolder:
        return locate(ASSETS)


def traces_rays(device: VulkanDevice) -> bool:
    """Whether a device traces rays fast enough for an evaluation; a CPU takes minutes per picture."""
    return device.ray_tracing and not device.is_software


def check_python() -> None:
    """Make sure that this Python can run SAPIEN 2.2.2.

    Raises:
        DependencyError: It is another system or a newer Python, or NumPy is one that SAPIEN silently misreads.
    """
    if sys.platform != "linux" or sys.version_info[:2] > LAST_PYTHON:
        found = f"Python {sys.version_info.major}.{sys.version_info.minor} on {sys.platform}"
        raise DependencyError(
            f"SimplerEnv runs on SAPIEN 2.2.2, which exists for Python 3.10 and 3.11 on Linux; this is {found}. "
            "Make an environment with Python 3.11 for it; LIBERO and robosuite run here."
        )
    if int(version("numpy").split(".", maxsplit=1)[0]) >= 2:
        raise DependencyError(
            f"SAPIEN 2.2.2 misreads the arrays of NumPy {version('numpy')} without any error, so that poses come out wrong. "
            "Run: pip install 'numpy<2'"
        )


def _vulkan_checks() -> Iterator[Check]:
    from .doctor import EXPECTED_PICTURES, picture_sha256

    try:
        device = probe_vulkan()
    except DependencyError as error:
        yield Check("SimplerEnv Vulkan", False, str(error))
        return
    note = "" if device.shares_semaphores else "; lacks an extension that SAPIEN asks for and does not need, which is seen to"
    yield Check("SimplerEnv Vulkan", True, f"{device}{note}")
    yield Check(
        "SimplerEnv ray tracing",
        traces_rays(device) or None,
        "the official shader of the drawer tasks is used" if traces_rays(device) else "none: drawer scores are not comparable",
    )
    found = picture_sha256()
    known = EXPECTED_PICTURES.get(found)
    yield Check("SimplerEnv picture", True if known else None, known or f"drawn, but not among the known ones ({found[:12]})")
