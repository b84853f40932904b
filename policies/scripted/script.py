"""The language of scripts: a script is a sequence of phases, a phase a goal for the gripper and when it counts as reached.

What a task's expert does is data (`robosuite.py`); how the gripper gets to a goal, when a phase is over and what happens when an
object slips out of the hand is said here, once. Actions are those of robosuite's OSC_POSE: 1 asks for a goal 0.05 m or 0.5 rad from
the present pose (robosuite 1.4.0, controllers/config/osc_pose.json).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]
    Facts = Mapping[str, NDArray[np.float64]]

OPEN, CLOSED = -1.0, 1.0
METRES_PER_UNIT, RADIANS_PER_UNIT = 0.05, 0.5
# The controller lags behind its goals, so more is asked for than is left to go, reckoned from where the arm would come to rest.
POSITION_GAIN, ROTATION_GAIN = 4.0, 2.0
COASTING_S = 0.04
FASTEST_TURN = 0.6  # of an action's range; turning faster, the hand is dragged off its way
IN_HAND_M = 0.05
FINGERS_STILL_M_S = 0.02
PATIENCE_STEPS = 60


class Pose(NamedTuple):
    """A pose in the world. Of the gripper: z points out of the hand, x is the direction in which the fingers close.

    Attributes:
        position: float64[3], metres; of the gripper the point between the fingertips.
        rotation: Takes the thing's own axes to the world's.
    """

    position: Vector
    rotation: Rotation


class Scene:
    """One moment, asked in the words of scripts; things and joints are named as in `VlaEnv.privileged_state`.

    Args:
        facts: That state.
        start: The moment at which the present phase began; None if it begins now.
    """

    def __init__(self, facts: Facts, start: Scene | None = None) -> None:
        self._facts = facts
        self.start = start or self
        position, rotation = self.pose("eef")
        self.gripper = Pose(position + COASTING_S * facts["eef_velocity"], rotation)

    def position(self, thing: str) -> Vector:
        """Position of a thing, or of a joint's anchor, in the world: float64[3], metres."""
        return self._facts[f"{thing}_pos"]

    def pose(self, thing: str) -> Pose:
        """Pose of a thing in the world."""
        return Pose(self.position(thing), Rotation.from_quat(self._facts[f"{thing}_quat_wxyz"][[1, 2, 3, 0]]))

    def angle(self, joint: str) -> float:
        """Position of a hinge, radians."""
        return float(self._facts[f"{joint}_angle"][0])

    def swung(self, joint: str, angle: float, lead: float) -> Pose:
        """Where the gripper comes when it takes along what hangs on a hinge, held as it was when the phase began.

        Args:
            joint: The hinge.
            angle: Where to swing it, radians.
            lead: How far the goal runs ahead of the hinge at most, radians.
        """
        begin = self.start
        turn = float(np.clip(angle, self.angle(joint) - lead, self.angle(joint) + lead)) - begin.angle(joint)
        swing = Rotation.from_rotvec(turn * begin._facts[f"{joint}_axis"])
        anchor = begin.position(joint)
        return Pose(anchor + swing.apply(begin.gripper.position - anchor), swing * begin.gripper.rotation)

    def holds(self, thing: str) -> bool:
        """Whether a thing is between the fingers."""
        return float(np.linalg.norm(self.position(thing) - self.gripper.position)) < IN_HAND_M

    @property
    def fingers_still(self) -> bool:
        """Whether the fingers have closed on something, or as far as they can."""
        return float(np.abs(self._facts["gripper_qvel"]).max()) < FINGERS_STILL_M_S

    def way_to(self, goal: Pose) -> tuple[Vector, Vector]:
        """What the gripper is away from a goal: float64[3] metres and float64[3] rotation vector in radians, world."""
        return goal.position - self.gripper.position, (goal.rotation * self.gripper.rotation.inv()).as_rotvec()


@dataclass(frozen=True)
class Phase:
    """One step of a script.

    Attributes:
        name: For people.
        goal: Where the gripper is to be; asked anew at every step, so it may follow what moves.
        gripper: `OPEN` or `CLOSED`.
        within_m, within_rad: How close to the goal the gripper is when the phase is over.
        until: What else holds when it is over.
        least_steps: How long it takes at least.
        holding: What has to stay between the fingers; the script starts over if it does not.
    """

    name: str
    goal: Callable[[Scene], Pose]
    gripper: float
    within_m: float = 0.02
    within_rad: float = 0.15
    until: Callable[[Scene], bool] = lambda _: True
    least_steps: int = 0
    holding: str | None = None

    def is_over(self, scene: Scene, steps: int) -> bool:
        """Whether the next phase may begin, so many steps into this one."""
        metres, radians = (float(np.linalg.norm(way)) for way in scene.way_to(self.goal(scene)))
        return metres < self.within_m and radians < self.within_rad and steps >= self.least_steps and self.until(scene)

    def action(self, scene: Scene) -> NDArray[np.float32]:
        """The action float32[7] that takes the gripper towards the goal."""
        metres, radians = scene.way_to(self.goal(scene))
        move = np.clip(POSITION_GAIN / METRES_PER_UNIT * metres, -1.0, 1.0)
        turn = np.clip(ROTATION_GAIN / RADIANS_PER_UNIT * radians, -FASTEST_TURN, FASTEST_TURN)
        return np.concatenate([move, turn, [self.gripper]]).astype(np.float32)


class ScriptPlayer:
    """Plays a script in one episode, over again when an object is lost or a phase takes longer than `PATIENCE_STEPS`.

    Args:
        script: The phases in order; the last one goes on until the episode ends.
    """

    def __init__(self, script: Sequence[Phase]) -> None:
        self._script = script
        self._start: Scene | None = None
        self._enter(0)

    @property
    def phase(self) -> Phase:
        """The phase under way."""
        return self._script[self._index]

    def act(self, facts: Facts) -> NDArray[np.float32]:
        """The next action, float32[7].

        Args:
            facts: `VlaEnv.privileged_state`.
        """
        scene = Scene(facts, self._start)
        lost = self.phase.holding is not None and not scene.holds(self.phase.holding)
        if lost or self._steps > PATIENCE_STEPS:
            self._enter(0)
        elif self._index + 1 < len(self._script) and self.phase.is_over(scene, self._steps):
            self._enter(self._index + 1)
        scene = Scene(facts, self._start)
        self._start = scene.start
        self._steps += 1
        return self.phase.action(scene)

    def _enter(self, index: int) -> None:
        self._index, self._steps, self._start = index, 0, None
