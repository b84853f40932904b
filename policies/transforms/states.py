"""Transforms of the robot's state: float64[S] -> float64[S'], laid out as a server's own client lays it out.

Some servers are told the pose that they commanded themselves instead of a measured one; for them a transform is also given the last
action that was executed, as the server gave it. Sources: NVIDIA/Isaac-GR00T (gr00t/eval/sim/SimplerEnv/simpler_env.py), vla-eval
0.8.0 (benchmarks/libero/benchmark.py), 2toinf/X-VLA (evaluation/libero, calvin, simpler); robosuite 1.4.0 for the controller's
frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...errors import ConfigError
from .base import StateTransform
from .rotations import (
    Layout,
    axis_angle_to_matrix,
    euler_to_matrix,
    matrix_to_axis_angle,
    matrix_to_euler,
    matrix_to_six,
    quat_wxyz_to_matrix,
)

if TYPE_CHECKING:
    from .base import Executed, State

# From the hand's frame, whose orientation robosuite's observables give, to its controller's: -90 degrees about z.
_CONTROLLER_FROM_HAND = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
# From the tool's frame to the one that the Bridge data of the WidowX have.
_BRIDGE_FROM_TOOL = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]).T


@dataclass(frozen=True)
class TakeEntries(StateTransform):
    """Some entries, in this order."""

    entries: Sequence[int]

    def __call__(self, state: State, executed: Executed) -> State:
        """float64[S] -> float64[len(entries)]."""
        if max(self.entries) >= len(state):
            raise ConfigError(f"take_entries: the state has {len(state)} entries; there is none number {max(self.entries)}.")
        return state[list(self.entries)]


@dataclass(frozen=True)
class AppendConstants(StateTransform):
    """Numbers that never change, after the last entry or before entry `at`."""

    values: Sequence[float]
    at: int | None = None

    def __call__(self, state: State, executed: Executed) -> State:
        """float64[S] -> float64[S + len(values)]."""
        at = len(state) if self.at is None else self.at
        return np.concatenate([state[:at], np.asarray(self.values, np.float64), state[at:]])


@dataclass(frozen=True)
class ComplementEntry(StateTransform):
    """An entry x in [0, 1] becomes 1 - x: how far a gripper is closed, how far it is open."""

    entry: int

    def __call__(self, state: State, executed: Executed) -> State:
        """float64[S] -> float64[S]."""
        turned = state.copy()
        turned[self.entry] = 1 - turned[self.entry]
        return turned


@dataclass(frozen=True)
class BinaryEntry(StateTransform):
    """An entry becomes 1 where it is above 0, else 0."""

    entry: int

    def __call__(self, state: State, executed: Executed) -> State:
        """float64[S] -> float64[S]."""
        turned = state.copy()
        turned[self.entry] = float(turned[self.entry] > 0)
        return turned


@dataclass(frozen=True)
class ShortestAxisAngle(StateTransform):
    """A rotation vector longer than half a turn becomes the one that turns the other way round (entries 3 to 5)."""

    def __call__(self, state: State, executed: Executed) -> State:
        """float64[S] -> float64[S]."""
        turned = state.copy()
        angle = float(np.sqrt(np.sum(turned[3:6] ** 2)))
        if angle > np.pi:
            turned[3:6] *= (angle - 2 * np.pi) / angle
        return turned


@dataclass(frozen=True)
class RoundEntries(StateTransform):
    """Entries are rounded to float32 and sent in float64 nevertheless."""

    first: int
    count: int

    def __call__(self, state: State, executed: Executed) -> State:
        """float64[S] -> float64[S]."""
        turned = state.copy()
        entries = slice(self.first, self.first + self.count)
        turned[entries] = turned[entries].astype(np.float32)
        return turned


@dataclass(frozen=True)
class ControllerPose(StateTransform):
    """LIBERO: the orientation (entries 3 to 5, a rotation vector of the hand) as the controller's, in six numbers."""

    layout: Layout = "columns"

    def __call__(self, state: State, executed: Executed) -> State:
        """float64[6 + n] -> float64[9 + n]."""
        matrix = axis_angle_to_matrix(state[3:6]) @ _CONTROLLER_FROM_HAND
        return np.concatenate([state[:3], matrix_to_six(matrix, self.layout), state[6:]])


@dataclass(frozen=True)
class AppendControllerPose(StateTransform):
    """LIBERO: after the state, the same once more with the controller's orientation, a rotation vector of at most half a turn."""

    def __call__(self, state: State, executed: Executed) -> State:
        """float64[8] -> float64[16]."""
        turned = matrix_to_axis_angle(axis_angle_to_matrix(state[3:6]) @ _CONTROLLER_FROM_HAND)
        return np.concatenate([state, state[:3], turned, state[6:]])


@dataclass(frozen=True)
class EulerToSix(StateTransform):
    """The orientation (entries 3 to 5, Euler angles about fixed axes x, y, z) in six numbers."""

    layout: Layout = "rows"

    def __call__(self, state: State, executed: Executed) -> State:
        """float64[6 + n] -> float64[9 + n]."""
        return np.concatenate([state[:3], matrix_to_six(euler_to_matrix(*state[3:6]), self.layout), state[6:]])


@dataclass(frozen=True)
class BridgeEuler(StateTransform):
    """WidowX: the orientation (entries 3 to 6, a quaternion w x y z) as roll, pitch and yaw in the frame of the Bridge data."""

    def __call__(self, state: State, executed: Executed) -> State:
        """float64[7 + n] -> float64[6 + n]."""
        matrix = quat_wxyz_to_matrix(state[3:7]) @ _BRIDGE_FROM_TOOL
        return np.concatenate([state[:3], matrix_to_euler(matrix), state[7:]])


@dataclass(frozen=True)
class ClosedLoop(StateTransform):
    """After the first request of an episode, the first entries are those of the last action executed, not measured ones."""

    entries: int

    def __call__(self, state: State, executed: Executed) -> State:
        """float64[S] -> float64[S]."""
        if executed is None:
            return state
        turned = state.copy()
        turned[: self.entries] = executed[: self.entries]
        return turned
