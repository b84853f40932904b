"""Transforms of actions that name a pose.

Rotations out of six numbers are as in 2toinf/X-VLA (evaluation/libero, calvin, simpler), deltas that add up to a target as in
vla-eval 0.8.0 (benchmarks/calvin/benchmark.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...envs.spec import ActionSpec
from .base import ActionTransform
from .rotations import Layout, matrix_to_axis_angle, matrix_to_euler, matrix_to_quat_wxyz, matrix_to_quat_xyzw, six_to_matrix

if TYPE_CHECKING:
    from .base import Chunk, Memory, State

Rotation = Literal["axis_angle", "euler_xyz", "quat_wxyz", "quat_xyzw", "6d_columns", "6d_rows"]

_FORMS = {
    "axis_angle": matrix_to_axis_angle,
    "euler_xyz": matrix_to_euler,
    "quat_wxyz": matrix_to_quat_wxyz,
    "quat_xyzw": matrix_to_quat_xyzw,
}
_NAMES = {
    "axis_angle": ("axis_angle_x", "axis_angle_y", "axis_angle_z"),
    "euler_xyz": ("euler_x", "euler_y", "euler_z"),
    "quat_wxyz": ("quat_w", "quat_x", "quat_y", "quat_z"),
    "quat_xyzw": ("quat_x", "quat_y", "quat_z", "quat_w"),
    "6d_columns": ("r00", "r10", "r20", "r01", "r11", "r21"),
    "6d_rows": ("r00", "r01", "r10", "r11", "r20", "r21"),
}
ROTATION_SIZES = {rotation: len(names) for rotation, names in _NAMES.items()}


@dataclass(frozen=True)
class RotationFromSix(ActionTransform):
    """The six numbers after the position become a rotation of another form, for the nearest rotation that has such columns.

    Attributes:
        layout: Which six numbers they are.
        to: The form.
        add: Added to the form's numbers, rad.
    """

    layout: Layout
    to: Literal["axis_angle", "euler_xyz", "quat_wxyz", "quat_xyzw"]
    add: Sequence[float] | None = None

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, 10] -> float64[T, 4 + n]."""
        add = 0.0 if self.add is None else np.asarray(self.add, np.float64)
        turned = [_FORMS[self.to](six_to_matrix(action[3:9], self.layout)) + add for action in actions]
        return np.concatenate([actions[:, :3], np.array(turned), actions[:, 9:]], axis=1)

    def spec(self, before: ActionSpec) -> ActionSpec:
        """The rotation is of the new form."""
        self._need(before.rotation, f"6d_{self.layout}", "a rotation of")
        return with_rotation(before, self.to)


@dataclass(frozen=True)
class AccumulateDeltas(ActionTransform):
    """Deltas of position (m) and Euler angles (rad) become the pose to be at: that of the start with all deltas so far added.

    What is added up is what was commanded, not where the hand came to be; angles stay within half a turn.
    """

    def begins(self, state: State, memory: Memory) -> None:
        """The state begins with position and Euler angles."""
        memory["pose"] = state[:6]

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, 6 + n] -> float64[T, 6 + n]; remembers the pose."""
        poses = []
        for delta in np.asarray(actions, np.float64)[:, :6]:
            pose = memory["pose"] + delta
            pose[3:] = (pose[3:] + np.pi) % (2 * np.pi) - np.pi
            memory["pose"] = pose
            poses.append(pose)
        return np.concatenate([np.array(poses), actions[:, 6:]], axis=1)

    def spec(self, before: ActionSpec) -> ActionSpec:
        """The action is a pose."""
        self._need(before.mode, "delta", "mode")
        self._need(before.rotation, "euler_xyz", "a rotation of")
        self._need(before.unit, "m_rad", "unit")
        return replace(before, mode="absolute")


def with_rotation(before: ActionSpec, rotation: Rotation) -> ActionSpec:
    """The spec with a rotation of another form: as many entries as it has, within a half turn or a unit."""
    names = _NAMES[rotation]
    limit = 3.141592653589793 if len(names) == 3 else 1.0
    ends = before.names[:3], before.low[:3], before.high[:3], before.names[-1:], before.low[-1:], before.high[-1:]
    return replace(
        before,
        rotation=rotation,
        names=(*ends[0], *names, *ends[3]),
        low=(*ends[1], *(-limit,) * len(names), *ends[4]),
        high=(*ends[2], *(limit,) * len(names), *ends[5]),
    )
