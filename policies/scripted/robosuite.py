"""The experts of suite ``robosuite``: one script per task, in terms of the facts that `vlagym.envs.robosuite.settings` names."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from ...episode import EpisodeSpec
from .script import CLOSED, OPEN, Phase, Pose, Scene, ScriptPlayer

if TYPE_CHECKING:
    from ..base import Chunk, PolicyObservation

    Goal = Callable[[Scene], Pose]

QUARTER, HALF, ANY = math.pi / 2, math.pi, 0.0  # turns about the vertical after which a thing looks the same to the fingers
UP = np.array([0.0, 0.0, 1.0])


def make_expert(observation: PolicyObservation) -> ScriptExpert:
    """The expert for the episode of an observation."""
    return ScriptExpert(EpisodeSpec.from_id(observation["episode_id"]).task)


class ScriptExpert:
    """Plays the script of a task, one action at a time.

    Args:
        task: A task of suite ``robosuite``.
    """

    def __init__(self, task: str) -> None:
        self._player = ScriptPlayer(SCRIPTS[task])

    def act(self, observation: PolicyObservation) -> Chunk:
        """One action, float32[1, 7]."""
        return self._player.act(observation["privileged"])[None]


# --- goals --------------------------------------------------------------------------------------------------------------------


def heading(rotation: Rotation) -> float:
    """Direction of the x axis about the world's vertical, radians."""
    x, y, _ = rotation.apply([1.0, 0.0, 0.0])
    return math.atan2(y, x)


def pointing_down(angle: float) -> Rotation:
    """Of the gripper: fingers down, closing in this direction about the world's vertical, radians."""
    return Rotation.from_euler("z", angle) * Rotation.from_euler("x", math.pi)


def nearest(angle: float, to: float, period: float) -> float:
    """Of all ``angle + k * period`` the one nearest to another angle."""
    return angle + period * round((to - angle) / period)


def stay(scene: Scene) -> Pose:
    """Where the phase began."""
    return scene.start.gripper


def raised(height: float) -> Goal:
    """Metres above where the phase began, pointing down."""
    return lambda scene: Pose(scene.start.gripper.position + height * UP, pointing_down(heading(scene.start.gripper.rotation)))


def astride(thing: str, height: float, symmetry: float, side: float = 0.0, along: float = 0.0) -> Goal:
    """Over a thing with a finger on either side.

    Args:
        thing: Its name.
        height: Metres above it.
        symmetry: Turn after which it looks the same to the fingers; `ANY` leaves the gripper's direction as it is.
        side: Direction in which the fingers close, from the thing's x axis, radians.
        along: Metres from its middle along its x axis.
    """

    def goal(scene: Scene) -> Pose:
        position, rotation = scene.pose(thing)
        angle = heading(scene.start.gripper.rotation)
        if symmetry != ANY:
            angle = nearest(heading(rotation) + side, heading(scene.gripper.rotation), symmetry)
        return Pose(position + rotation.apply([along, 0, 0]) + height * UP, pointing_down(angle))

    return goal


def bringing(thing: str, to: str, offset: tuple[float, float, float]) -> Goal:
    """Where the gripper brings the thing it holds to a place, plus metres along the world's axes."""

    def goal(scene: Scene) -> Pose:
        grip = scene.gripper.position - scene.position(thing)
        return Pose(scene.position(to) + grip + offset, pointing_down(heading(scene.start.gripper.rotation)))

    return goal


def nut_over_peg(height: float) -> Goal:
    """Where the gripper brings the square nut over the square peg, metres above the peg's middle."""

    def goal(scene: Scene) -> Pose:
        position, rotation = scene.pose("nut")
        now = heading(rotation)
        turn = nearest(0.0, now, QUARTER) - now
        if math.cos(now + turn) > 0.5:  # the handle would point away from the robot, and the hand be out of its reach
            turn += math.copysign(QUARTER, -turn)
        grip = Rotation.from_euler("z", turn).apply(scene.gripper.position - position)
        place = scene.position("peg") + height * UP
        return Pose(np.append((place + grip)[:2], place[2]), pointing_down(heading(scene.gripper.rotation) + turn))

    return goal


def at_lever(distance: float) -> Goal:
    """Pointing at the tip of the door's lever, metres in front of it, one finger above and one below."""

    def goal(scene: Scene) -> Pose:
        position, rotation = scene.pose("lever")
        axes = np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]]).T  # the gripper's, along the lever: x across it, z into the door
        return Pose(position - distance * rotation.apply([0, 1, 0]), rotation * Rotation.from_matrix(axes))

    return goal


# --- phases -------------------------------------------------------------------------------------------------------------------

ANYWHERE: dict[str, Any] = {"within_m": math.inf, "within_rad": math.inf}
GRASP = Phase("grasp", stay, CLOSED, **ANYWHERE, least_steps=6, until=lambda scene: scene.fingers_still)
RELEASE = Phase("release", stay, OPEN, **ANYWHERE, least_steps=3)
RETREAT = Phase("retreat", raised(0.1), OPEN)


def pick(thing: str, height: float, symmetry: float, side: float = 0.0, along: float = 0.0) -> tuple[Phase, ...]:
    """Take hold of a thing from above; arguments as in `astride`."""
    return (
        Phase("approach", astride(thing, height + 0.06, symmetry, side, along), OPEN, within_m=0.025, within_rad=0.2),
        Phase("descend", astride(thing, height, symmetry, side, along), OPEN, within_m=0.01),
        GRASP,
    )


# --- scripts ------------------------------------------------------------------------------------------------------------------

SCRIPTS: dict[str, tuple[Phase, ...]] = {
    "lift": (
        *pick("cube", 0.0, QUARTER),
        Phase("lift", raised(0.1), CLOSED, holding="cube"),
    ),
    "stack": (
        *pick("cube_a", 0.0, QUARTER),
        Phase("lift", raised(0.07), CLOSED, holding="cube_a"),
        Phase("carry", bringing("cube_a", "cube_b", (0, 0, 0.07)), CLOSED, holding="cube_a"),
        Phase("lower", bringing("cube_a", "cube_b", (0, 0, 0.046)), CLOSED, within_m=0.008, holding="cube_a"),
        RELEASE,
        RETREAT,
    ),
    # The middle of the can's compartment is at the limit of the robot's reach; a corner of it nearer to the robot will do.
    "pick_place_can": (
        *pick("can", 0.01, ANY),
        Phase("lift", raised(0.13), CLOSED, within_m=0.04, holding="can"),
        Phase("carry", bringing("can", "bin", (-0.04, -0.05, 0.13)), CLOSED, within_m=0.04, holding="can"),
        RELEASE,
        RETREAT,
    ),
    "door": (
        Phase("approach", at_lever(0.15), OPEN, within_m=0.03, within_rad=0.2),
        Phase("reach", at_lever(0.0), OPEN, within_m=0.015),
        GRASP,
        Phase("turn", lambda s: s.swung("latch", 1.5, lead=0.3), CLOSED, **ANYWHERE, until=lambda s: s.angle("latch") > 1.4),
        Phase("pull", lambda s: s.swung("hinge", 0.6, lead=0.15), CLOSED),
    ),
    # The outer end of the handle, where the fingers clear the nut's corners.
    "nut_assembly_square": (
        *pick("handle", -0.004, HALF, side=QUARTER, along=0.012),
        Phase("lift", raised(0.17), CLOSED, within_m=0.03, holding="handle"),
        Phase("carry", nut_over_peg(0.14), CLOSED, within_m=0.006, within_rad=0.05, holding="handle"),
        Phase("lower", nut_over_peg(-0.05), CLOSED, holding="handle"),
    ),
}
