"""The suite ``robosuite``: five of robosuite 1.4.0's own single-arm tasks with a Panda arm; nothing has to be downloaded.

Scenes, success checks and controller are robosuite's (robosuite/environments/manipulation/*.py, controllers/config/osc_pose.json);
instructions, horizons and trials are this suite's own. Where robosuite draws a new scene at every reset, trial k of seed s here is
always the same scene: everything random in it comes from a generator made of (task, trial, seed). What robosuite draws while it
builds a model (the size of the cube to lift) is drawn once per task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...edges.settings import Count, Pixels, check_fields
from ..spec import ActionSpec, StateSpec, SuiteSettings, Task
from ..variation import KINDS
from .specs import ACTION_SPEC, CAMERAS, STATE_SPEC


@dataclass(frozen=True)
class RobosuiteTask:
    """A task: an environment class of robosuite, and what this suite adds to it.

    Attributes:
        name: Name in this suite.
        instruction: What a policy is told.
        horizon: Policy steps at 20 Hz after which the episode is truncated.
        env_class: ``module:class`` of robosuite.
        bodies, sites, hinges: Name in `RobosuiteEnv.privileged_state` -> name in the MuJoCo model.
        placed_bodies: Bodies without joints of their own that every episode puts elsewhere.
        things: Of the bodies and sites those that can be moved; the first is what the task asks to be moved.
    """

    name: str
    instruction: str
    horizon: int
    env_class: str
    bodies: Mapping[str, str] = field(default_factory=dict)
    sites: Mapping[str, str] = field(default_factory=dict)
    hinges: Mapping[str, str] = field(default_factory=dict)
    placed_bodies: tuple[str, ...] = ()
    things: tuple[str, ...] = ()


TASKS = (
    # Done when the cube's middle is 4 cm above the table.
    RobosuiteTask(
        name="lift",
        instruction="lift the red cube",
        horizon=100,
        env_class="robosuite.environments.manipulation.lift:Lift",
        bodies={"cube": "cube_main"},
        things=("cube",),
    ),
    # Done when the red cube rests on the green one and the fingers have let go of it.
    RobosuiteTask(
        name="stack",
        instruction="put the red cube on top of the green cube",
        horizon=200,
        env_class="robosuite.environments.manipulation.stack:Stack",
        bodies={"cube_a": "cubeA_main", "cube_b": "cubeB_main"},
        things=("cube_a", "cube_b"),
    ),
    # Done when the can is in the compartment that shows a can, and the gripper 4.2 cm away from it.
    RobosuiteTask(
        name="pick_place_can",
        instruction="put the can into the compartment of the bin that is marked with a can",
        horizon=300,
        env_class="robosuite.environments.manipulation.pick_place:PickPlaceCan",
        bodies={"can": "Can_main", "bin": "VisualCan_main"},
        things=("can",),
    ),
    # Done when the door stands open by 0.3 rad; its latch has to be turned by about 1.3 rad first.
    RobosuiteTask(
        name="door",
        instruction="turn the handle and pull the door open",
        horizon=200,
        env_class="robosuite.environments.manipulation.door:Door",
        sites={"lever": "Door_handle"},
        hinges={"hinge": "Door_hinge", "latch": "Door_latch_joint"},
        placed_bodies=("Door_main",),
        things=("lever",),
    ),
    # Done when the nut is round the peg and less than 5 cm above the table, and the gripper 4.2 cm away from its middle.
    RobosuiteTask(
        name="nut_assembly_square",
        instruction="put the square nut on the square peg",
        horizon=300,
        env_class="robosuite.environments.manipulation.nut_assembly:NutAssemblySquare",
        bodies={"nut": "SquareNut_main", "peg": "peg1"},
        sites={"handle": "SquareNut_handle_site"},
        things=("handle",),
    ),
)


@dataclass(frozen=True)
class RobosuiteSettings(SuiteSettings):
    """Settings of the suite: lift, stack, pick and place, open a door, put a nut on a peg. An episode ends when the task is done.

    Attributes:
        trials: Scenes per task; trial k is the same scene whatever their number.
        image_size: Height and width of an image, pixels.
    """

    trials: Count = 3
    image_size: Pixels = 256

    def __post_init__(self) -> None:
        check_fields("suite.", self)

    @property
    def camera_sizes(self) -> dict[str, tuple[int, int]]:
        return dict.fromkeys(CAMERAS, (self.image_size, self.image_size))

    @property
    def action_spec(self) -> ActionSpec:
        return ACTION_SPEC

    @property
    def state_spec(self) -> StateSpec:
        return STATE_SPEC

    @property
    def can_vary(self) -> tuple[str, ...]:
        return KINDS

    def tasks(self) -> tuple[Task, ...]:
        return tuple(Task(task.name, task.instruction, self.trials, task.horizon) for task in TASKS)
