"""Scripted experts for CALVIN: a route of waypoints per subtask, planned from where things are when the subtask begins.

Places are those of scene D in the world frame, in metres and radians, found by trying. Seen from the robot, x points to the right,
y to the cabinet and z up. Where a route fails (a block out of reach, in the way or lost), the subtask does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...envs.calvin.oracle import BLOCKS, TASKS
from ...envs.calvin.scenes import EULER_PER_UNIT_RAD, POS_PER_UNIT_M
from ..base import Chunk, PolicyObservation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

OPEN, CLOSED = 1.0, -1.0
ROLL, PITCH, YAW = 3.09, -0.029, 1.5  # of the gripper as every chain starts: pointing down, fingers closing along x
FRONT_Y, FRONT_Z = -0.1, 0.58  # in front of the cabinet, above everything on the table
SHELF_Z = 0.562  # between the cabinet's floor and its ceiling
DRAWER_X, SWITCH_X = 0.18, 0.293
BUTTON = (-0.12, -0.12)
DOOR_TRAVEL_M, DOOR_AT_END_M = 0.28, 0.03
# A command shows in the gripper's position only after so many steps; until then it is counted as under way.
DELAY_STEPS = 3
NEEDS_A_HELD_BLOCK = ("place_in_slider", "place_in_drawer", "stack_block")
EMPTY_M = 0.01  # the fingers hold nothing if they are closer than this
CLOSE_M, CLOSE_RAD = 0.01, 0.08
PATIENCE_STEPS = 40


@dataclass(frozen=True)
class Waypoint:
    """Where the gripper goes next.

    Attributes:
        pos: xyz.
        gripper: `OPEN` or `CLOSED`.
        yaw, pitch: Of the gripper; it keeps its roll.
        speed: Share of the full speed.
        dwell_steps: How long to stay, e.g. until the fingers have closed.
    """

    pos: tuple[float, float, float]
    gripper: float
    yaw: float = YAW
    pitch: float = PITCH
    speed: float = 1.0
    dwell_steps: int = 0


Route = list[Waypoint]


class Table:
    """What a route is planned from: `VlaEnv.privileged_state` of CALVIN in words."""

    def __init__(self, observation: PolicyObservation) -> None:
        facts = observation["privileged"]
        self.blocks = {name: facts[name] for name in BLOCKS}
        self.tcp = facts["robot_obs"][:3]
        self.yaw = float(facts["robot_obs"][5])
        self.width, self.gripper = float(facts["robot_obs"][6]), float(facts["robot_obs"][14])
        self.slider, self.drawer = facts["scene_obs"][:2]
        self.task = list(TASKS)[int(facts["subtask"][0])]

    def held(self) -> str:
        """The block nearest to the gripper."""
        return min(BLOCKS, key=lambda name: float(np.linalg.norm(self.blocks[name][:3] - self.tcp)))

    def grasp_yaw(self, block: str) -> float:
        """Yaw at which the fingers close on a block's sides, as near to where the gripper points as can be."""
        yaw = float(self.blocks[block][5])
        return yaw + np.pi * round((YAW - yaw) / np.pi)


def retreat(table: Table) -> Route:
    """From wherever the last subtask ended to a place from which everything can be reached."""
    x, y, z = (float(value) for value in table.tcp)
    inside = y > FRONT_Y + 0.03 and z < FRONT_Z
    up, front = (x, y, max(z, SHELF_Z - 0.02 if inside else FRONT_Z)), (x, min(y, FRONT_Y), FRONT_Z)
    keeps = table.gripper if table.task in NEEDS_A_HELD_BLOCK or table.width < EMPTY_M else OPEN
    # A block that was turned is still in the hand: it is left where it lies.
    let_go = [Waypoint((x, y, z), OPEN, table.yaw, dwell_steps=6)] if keeps != table.gripper else []
    return [*let_go, Waypoint(up, keeps, table.yaw), Waypoint(front, keeps, table.yaw)]


def grasp(table: Table, block: str) -> Route:
    """Around a block that can be reached from above, and close."""
    x, y, z = (float(value) for value in table.blocks[block][:3])
    yaw = table.grasp_yaw(block)
    return [
        Waypoint((x, y, FRONT_Z), OPEN, yaw),
        Waypoint((x, y, z + 0.06), OPEN, yaw, dwell_steps=4),
        Waypoint((x, y, z), OPEN, yaw, speed=0.5, dwell_steps=4),
        Waypoint((x, y, z), CLOSED, yaw, dwell_steps=8),
    ]


def rotate(block: str, turn: float) -> Callable[[Table], Route]:
    """Take the block, turn it where it lies, let go."""

    def route(table: Table) -> Route:
        x, y, z = (float(value) for value in table.blocks[block][:3])
        yaw = table.grasp_yaw(block)
        turned = Waypoint((x, y, z + 0.003), CLOSED, yaw + turn, dwell_steps=4)
        return [*grasp(table, block), turned, Waypoint((x, y, z), OPEN, yaw + turn, dwell_steps=10)]

    return route


def push(block: str, direction: float) -> Callable[[Table], Route]:
    """Push the block along x with closed fingers."""

    def route(table: Table) -> Route:
        x, y, z = (float(value) for value in table.blocks[block][:3])
        start, low = x - 0.09 * direction, z + 0.01
        return [
            Waypoint((start, y, FRONT_Z), CLOSED),
            Waypoint((start, y, low), CLOSED, dwell_steps=2),
            Waypoint((x + 0.13 * direction, y, low), CLOSED, speed=0.4),
            Waypoint((x + 0.13 * direction, y, FRONT_Z), CLOSED, dwell_steps=8),
        ]

    return route


def lift_in_front(block: str) -> Callable[[Table], Route]:
    """Take the block from the table or the open drawer and raise it."""

    def route(table: Table) -> Route:
        x, y, _ = (float(value) for value in table.blocks[block][:3])
        return [*grasp(table, block), Waypoint((x, y, FRONT_Z), CLOSED, table.grasp_yaw(block))]

    return route


def lift_from_slider(block: str) -> Callable[[Table], Route]:
    """Reach into the cabinet from the front."""

    def route(table: Table) -> Route:
        x, y, z = (float(value) for value in table.blocks[block][:3])
        yaw = table.grasp_yaw(block)
        return [
            *clear_the_way(table, left=x < -0.1),
            Waypoint((x, FRONT_Y, FRONT_Z), OPEN, yaw),
            Waypoint((x, y - 0.03, SHELF_Z), OPEN, yaw, dwell_steps=2),
            Waypoint((x, y - 0.016, z + 0.008), OPEN, yaw, speed=0.5, dwell_steps=4),
            Waypoint((x, y - 0.016, z + 0.005), CLOSED, yaw, dwell_steps=8),
            Waypoint((x, y - 0.06, z + 0.06), CLOSED, yaw, speed=0.5, dwell_steps=4),
            Waypoint((x, FRONT_Y, SHELF_Z), CLOSED, yaw),
        ]

    return route


def clear_the_way(table: Table, left: bool) -> Route:
    """Push the door all the way to the other side; a subtask that moved it was over half-way."""
    if table.slider < DOOR_AT_END_M if left else table.slider > DOOR_TRAVEL_M - DOOR_AT_END_M:
        return []
    return [*move_slider(1 if left else -1)(table), Waypoint((float(table.tcp[0]), FRONT_Y, 0.54), CLOSED)]


def place_in_slider(table: Table) -> Route:
    """Into the side of the cabinet that the door leaves open, away from what lies there."""
    places = (-0.22, -0.27, -0.17) if table.slider < DOOR_TRAVEL_M / 2 else (0.08, 0.12, 0.04)
    stored = [float(pose[0]) for name, pose in table.blocks.items() if name != table.held() and pose[1] > 0]
    x = max(places, key=lambda place: min([abs(place - other) for other in stored] or [1.0]))
    inside = [Waypoint((x, FRONT_Y, FRONT_Z), CLOSED), Waypoint((x, 0.055, SHELF_Z), CLOSED, dwell_steps=2)]
    return [*inside, Waypoint((x, 0.055, 0.505), CLOSED, speed=0.5), Waypoint((x, 0.055, 0.505), OPEN, dwell_steps=20)]


def place_in_drawer(table: Table) -> Route:
    """Into the open drawer, from above."""
    y = -0.08 - float(table.drawer)
    return [
        Waypoint((DRAWER_X, y, FRONT_Z), CLOSED, table.yaw),
        Waypoint((DRAWER_X, y, 0.405), CLOSED, table.yaw, speed=0.7, dwell_steps=3),
        Waypoint((DRAWER_X, y, 0.405), OPEN, table.yaw, dwell_steps=20),
    ]


def stack(table: Table) -> Route:
    """On top of a block that lies on the table."""
    held = table.held()
    bottom = min((name for name in BLOCKS if name != held), key=lambda name: abs(table.blocks[name][1] + 0.12))
    x, y, z = (float(value) for value in table.blocks[bottom][:3])
    yaw = table.grasp_yaw(bottom)
    dx, dy, dz = (table.tcp - table.blocks[held][:3]).tolist()
    x, y, z = x + dx, y + dy, z + dz + 0.042
    return [
        Waypoint((x, y, FRONT_Z), CLOSED, yaw, dwell_steps=4),
        Waypoint((x, y, z), CLOSED, yaw, speed=0.4, dwell_steps=4),
        Waypoint((x, y, z), OPEN, yaw, dwell_steps=8),
        Waypoint((x, y, FRONT_Z), OPEN, yaw),
    ]


def unstack(table: Table) -> Route:
    """Take the upper block away."""
    top = max(BLOCKS, key=lambda name: float(table.blocks[name][2]) - 10 * float(table.blocks[name][1] > 0))
    return lift_in_front(top)(table)


def push_into_drawer(table: Table) -> Route:
    """Push the block that lies on the table over the edge."""
    block = min(BLOCKS, key=lambda name: abs(table.blocks[name][1] + 0.12) + abs(table.blocks[name][2] - 0.46))
    x, y, z = (float(value) for value in table.blocks[block][:3])
    return [
        Waypoint((x, y + 0.07, FRONT_Z), CLOSED),
        Waypoint((x, y + 0.07, z + 0.01), CLOSED, speed=0.5, dwell_steps=2),
        Waypoint((x, -0.26, z + 0.01), CLOSED, speed=0.4, dwell_steps=10),
    ]


def move_slider(direction: float) -> Callable[[Table], Route]:
    """Push the handle of the sliding door along x."""

    def route(table: Table) -> Route:
        start = (0.155 if direction < 0 else -0.06) - float(table.slider)
        return [
            Waypoint((start, FRONT_Y, FRONT_Z), CLOSED),
            Waypoint((start, FRONT_Y, 0.54), CLOSED),
            Waypoint((start, -0.01, 0.54), CLOSED, dwell_steps=2),
            Waypoint((start + 0.37 * direction, -0.01, 0.54), CLOSED, speed=0.5),
        ]

    return route


def open_drawer(table: Table) -> Route:
    """Reach behind the handle and pull."""
    y = -0.216 - float(table.drawer)
    return [
        Waypoint((DRAWER_X, y, FRONT_Z), CLOSED),
        Waypoint((DRAWER_X, y, 0.361), CLOSED, dwell_steps=2),
        Waypoint((DRAWER_X, y - 0.23, 0.361), CLOSED, speed=0.5),
    ]


def close_drawer(table: Table) -> Route:
    """Push the handle from the front."""
    y = -0.34 - float(table.drawer)
    return [
        Waypoint((DRAWER_X, y, FRONT_Z), CLOSED),
        Waypoint((DRAWER_X, y, 0.351), CLOSED, dwell_steps=2),
        Waypoint((DRAWER_X, -0.27, 0.351), CLOSED, speed=0.5),
    ]


def press_button(table: Table) -> Route:
    """Twice, as the older revision may want it; the chain goes on after the press that counts."""
    press = [Waypoint((*BUTTON, 0.475), CLOSED, dwell_steps=2), Waypoint((*BUTTON, 0.54), CLOSED, dwell_steps=4)]
    return [Waypoint((*BUTTON, FRONT_Z), CLOSED), *press, *press]


def switch_on(table: Table) -> Route:
    """Take the lever between the fingers and raise it."""
    return [
        Waypoint((SWITCH_X, FRONT_Y, 0.61), OPEN),
        Waypoint((SWITCH_X, -0.007, 0.605), OPEN),
        Waypoint((SWITCH_X, -0.007, 0.5), OPEN, dwell_steps=2),
        Waypoint((SWITCH_X, -0.007, 0.5), CLOSED, dwell_steps=6),
        Waypoint((SWITCH_X - 0.01, 0.04, 0.59), CLOSED, speed=0.4),
    ]


def switch_off(table: Table) -> Route:
    """Press the lever down from above, the gripper tilted."""
    tilted = -0.73
    return [
        Waypoint((0.2, -0.15, 0.62), CLOSED, pitch=tilted),
        Waypoint((SWITCH_X, -0.05, 0.676), CLOSED, pitch=tilted),
        Waypoint((SWITCH_X, 0.088, 0.656), CLOSED, pitch=tilted, dwell_steps=2),
        Waypoint((0.3, 0.03, 0.555), CLOSED, pitch=tilted, speed=0.4),
    ]


ROUTES: dict[str, Callable[[Table], Route]] = {
    **{f"rotate_{block}_{side}": rotate(block, turn) for block in BLOCKS for side, turn in (("right", -1.35), ("left", 1.35))},
    **{f"push_{block}_{side}": push(block, direction) for block in BLOCKS for side, direction in (("right", 1), ("left", -1))},
    **{f"lift_{block}_{place}": lift_in_front(block) for block in BLOCKS for place in ("table", "drawer")},
    **{f"lift_{block}_slider": lift_from_slider(block) for block in BLOCKS},
    "move_slider_left": move_slider(-1),
    "move_slider_right": move_slider(1),
    "open_drawer": open_drawer,
    "close_drawer": close_drawer,
    "place_in_slider": place_in_slider,
    "place_in_drawer": place_in_drawer,
    "stack_block": stack,
    "unstack_block": unstack,
    "push_into_drawer": push_into_drawer,
    "turn_on_lightbulb": switch_on,
    "turn_off_lightbulb": switch_off,
    "turn_on_led": press_button,
    "turn_off_led": press_button,
}


class CalvinExpert:
    """Follows the route of one subtask with relative actions; at its end it stays where it is."""

    def __init__(self, observation: PolicyObservation) -> None:
        table = Table(observation)
        self._route = [*retreat(table), *ROUTES[table.task](table)]
        self._steps = self._dwelt = 0
        self._under_way = np.zeros((DELAY_STEPS, 6))

    def act(self, observation: PolicyObservation) -> Chunk:
        """The next action, float32[1, 7]."""
        pose = observation["privileged"]["robot_obs"][:6]
        while len(self._route) > 1 and self._arrived(pose):
            self._route.pop(0)
            self._steps = self._dwelt = 0
        self._steps += 1
        goal = self._route[0]
        scale = np.repeat([POS_PER_UNIT_M, EULER_PER_UNIT_RAD], 3)
        move = np.clip((self._off(pose) - self._under_way.sum(axis=0)) / scale, -goal.speed, goal.speed)
        self._under_way = np.vstack([self._under_way[1:], move * scale])
        return np.array([[*move, goal.gripper]], np.float32)

    def _off(self, pose: Vector) -> Vector:
        """What is left to go to the waypoint: metres and radians, the short way round."""
        goal = self._route[0]
        off = np.array([*goal.pos, ROLL, goal.pitch, goal.yaw]) - pose
        off[3:] = (off[3:] + np.pi) % (2 * np.pi) - np.pi
        return off

    def _arrived(self, pose: Vector) -> bool:
        off = np.abs(self._off(pose))
        self._dwelt += bool(off[:3].max() < CLOSE_M and off[3:].max() < CLOSE_RAD)
        return self._dwelt > self._route[0].dwell_steps or self._steps > PATIENCE_STEPS + self._route[0].dwell_steps


def make_expert(observation: PolicyObservation) -> CalvinExpert:
    """The expert of the subtask that begins with this observation."""
    return CalvinExpert(observation)
