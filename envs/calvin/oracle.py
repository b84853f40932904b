"""When a subtask counts as done: 34 tasks, each a change between the moment a subtask started and now.

Source: mees/calvin_env@797142c, ``calvin_env/envs/tasks.py`` (the predicates) and ``conf/tasks/new_playtable_tasks.yaml`` (their
thresholds). The predicates keep what upstream's code decides, also where its comments say otherwise (`slid_into_drawer`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

BLOCKS = ("red_block", "blue_block", "pink_block")
MAX_TILT_DEG = 30.0
MAX_SHIFT_WHILE_TURNING_M = 0.1
MAX_STACKED_SPEED = 1.0  # m/s and rad/s, per axis

Vector = tuple[float, ...]


class Contact(NamedTuple):
    """What something touches: ``robot``, ``plane``, a block, or ``table`` with the name of its link (empty for other bodies)."""

    body: str
    link: str = ""


@dataclass(frozen=True)
class Block:
    """A block at one moment, in the world frame: metres, metres per second, radians per second."""

    pos: Vector
    quat_xyzw: Vector
    lin_vel: Vector
    ang_vel: Vector
    contacts: frozenset[Contact]

    @property
    def touches(self) -> set[str]:
        """Names of the bodies it touches."""
        return {contact.body for contact in self.contacts}

    @property
    def blocks_touched(self) -> set[str]:
        """The other blocks it touches."""
        return self.touches & set(BLOCKS)

    @property
    def is_slow(self) -> bool:
        """Whether no component of its velocity exceeds what a stacked block may have."""
        return bool(np.all(np.abs((*self.lin_vel, *self.ang_vel)) < MAX_STACKED_SPEED))


@dataclass(frozen=True)
class Moment:
    """All that the oracle looks at.

    Attributes:
        blocks: By name, ``red_block`` and so on.
        robot_touches: Names of the bodies that the robot touches.
        joints_m: Positions of the table's ``slider`` and ``drawer``.
        lights: ``led`` and ``lightbulb``: 1 if on, else 0.
    """

    blocks: Mapping[str, Block]
    robot_touches: frozenset[str]
    joints_m: Mapping[str, float]
    lights: Mapping[str, int]


Predicate = Callable[[Moment, Moment], bool]


def rotated(name: str, beyond_deg: float, start: Moment, end: Moment) -> bool:
    """The block turned about the vertical by more than the angle (positive: to the left), lies flat, hardly moved, is put down."""
    from scipy.spatial.transform import Rotation

    before, after = start.blocks[name], end.blocks[name]
    if np.linalg.norm(np.subtract(after.pos, before.pos)) > MAX_SHIFT_WHILE_TURNING_M or not after.touches - {"robot"}:
        return False
    turn = Rotation.from_quat(after.quat_xyzw) * Rotation.from_quat(before.quat_xyzw).inv()
    x, y, z = turn.as_euler("xyz", degrees=True)
    far_enough = beyond_deg < z < 180 if beyond_deg > 0 else -180 < z < beyond_deg
    return bool(far_enough and abs(x) < MAX_TILT_DEG and abs(y) < MAX_TILT_DEG)


def pushed(name: str, by_x_m: float, start: Moment, end: Moment) -> bool:
    """The block moved along x by more than the distance and still touches, robot aside, all that it touched before."""
    before, after = start.blocks[name], end.blocks[name]
    lay_on = {c for c in before.contacts if c.body != "robot"}
    lies_on = {c for c in after.contacts if c.body != "robot"}
    moved = after.pos[0] - before.pos[0]
    return bool(lay_on) and lay_on <= lies_on and (moved > by_x_m if by_x_m > 0 else moved < by_x_m)


def joint_moved(name: str, by_m: float, start: Moment, end: Moment) -> bool:
    """The slider or drawer moved by more than the distance, in the direction of its sign."""
    moved = end.joints_m[name] - start.joints_m[name]
    return moved > by_m if by_m > 0 else moved < by_m


def lifted(name: str, by_m: float, link: str, start: Moment, end: Moment) -> bool:
    """The block lay on that link of the table, has risen by more than the height, and nothing but the robot touches it."""
    before, after = start.blocks[name], end.blocks[name]
    return after.pos[2] - before.pos[2] > by_m and after.touches == {"robot"} and Contact("table", link) in before.contacts


def placed(link: str, start: Moment, end: Moment) -> bool:
    """The block that the robot held in the air lies on that link of the table, and the robot has let go of it."""
    if len(start.robot_touches) != 1:
        return False
    (held,) = start.robot_touches
    if held not in start.blocks or held in end.robot_touches:
        return False
    return start.blocks[held].touches == {"robot"} and Contact("table", link) in end.blocks[held].contacts


def slid_into_drawer(start: Moment, end: Moment) -> bool:
    """A block that touched nothing but the table's top now touches the drawer; the robot may touch it."""
    on_top, in_drawer = {Contact("table", "base_link")}, Contact("table", "drawer_link")
    return any(start.blocks[name].contacts == on_top and in_drawer in end.blocks[name].contacts for name in BLOCKS)


def stacked(start: Moment, end: Moment) -> bool:
    """A block that touched no other block now touches nothing but blocks, and is at rest."""
    return any(
        not start.blocks[name].blocks_touched and after.touches and after.touches <= set(BLOCKS) and after.is_slow
        for name, after in end.blocks.items()
    )


def unstacked(start: Moment, end: Moment) -> bool:
    """A block that rested on nothing but blocks now touches none."""
    return any(
        before.touches and before.touches <= set(BLOCKS) and before.is_slow and not end.blocks[name].blocks_touched
        for name, before in start.blocks.items()
    )


def switched(light: str, to: int, start: Moment, end: Moment) -> bool:
    """The light went off -> on (1) or on -> off (0)."""
    return start.lights[light] == 1 - to and end.lights[light] == to


TASKS: dict[str, Predicate] = {
    **{
        f"rotate_{block}_{side}": partial(rotated, block, degrees)
        for block in BLOCKS
        for side, degrees in (("right", -60.0), ("left", 60.0))
    },
    **{f"push_{block}_{side}": partial(pushed, block, by) for block in BLOCKS for side, by in (("right", 0.1), ("left", -0.1))},
    "move_slider_left": partial(joint_moved, "slider", 0.15),
    "move_slider_right": partial(joint_moved, "slider", -0.15),
    "open_drawer": partial(joint_moved, "drawer", 0.12),
    "close_drawer": partial(joint_moved, "drawer", -0.12),
    **{
        f"lift_{block}_{place}": partial(lifted, block, height, link)
        for block in BLOCKS
        for place, height, link in (("table", 0.05, "base_link"), ("slider", 0.03, "plank_link"), ("drawer", 0.05, "drawer_link"))
    },
    "place_in_slider": partial(placed, "plank_link"),
    "place_in_drawer": partial(placed, "drawer_link"),
    "stack_block": stacked,
    "unstack_block": unstacked,
    "turn_on_lightbulb": partial(switched, "lightbulb", 1),
    "turn_off_lightbulb": partial(switched, "lightbulb", 0),
    "turn_on_led": partial(switched, "led", 1),
    "turn_off_led": partial(switched, "led", 0),
    "push_into_drawer": slid_into_drawer,
}


def is_done(task: str, start: Moment, now: Moment) -> bool:
    """Whether the change from the start of the subtask to now is the one the task asks for."""
    return bool(TASKS[task](start, now))


def tasks_done(start: Moment, now: Moment) -> list[str]:
    """All tasks that the change amounts to, sorted by name."""
    return sorted(task for task in TASKS if is_done(task, start, now))
