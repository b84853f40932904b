"""Transforms of actions: a chunk float[T, A] -> another, and what an action means afterwards.

Sources: the reference LIBERO evaluation of OpenVLA (openvla/openvla c8f03f48, experiments/robot/robot_utils.py); SimplerEnv's RT-1
(simpler-env/SimplerEnv 4ab7178e, policies/rt1/rt1_model.py) and its OpenVLA adapter (DelinQu/SimplerEnv-OpenVLA ccfe380,
policies/openvla/openvla_model.py); RoboVLMs' SimplerEnv wrapper (Robot-VLAs/RoboVLMs 8adc1d28, eval/simpler/model_wrapper.py);
Euler angles as in transforms3d 0.4.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ...envs.spec import ActionSpec
from ...errors import PolicyError
from .base import ActionTransform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .base import Chunk, Memory


@dataclass(frozen=True)
class FlipBinaryGripper(ActionTransform):
    """Gripper g in [0, 1] (1 open) becomes -sign(2g - 1): +1 closes, -1 opens, and 0 where g is exactly one half."""

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float[T, A]."""
        return with_gripper(actions, np.sign(2 * actions[:, -1] - 1) * -1.0)

    def spec(self, before: ActionSpec) -> ActionSpec:
        """The gripper opens at -1 and closes at +1."""
        self._need((before.gripper_open, before.gripper_closed), (1.0, 0.0), "a gripper (open, closed) of")
        return respec(before, gripper_open=-1.0, gripper_closed=1.0)


@dataclass(frozen=True)
class BinaryGripper(ActionTransform):
    """Gripper g becomes +1 where it is above the threshold (or, if `inclusive`, at it), else -1."""

    threshold: float = 0.5
    inclusive: bool = False

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float[T, A]."""
        gripper = actions[:, -1]
        high = gripper >= self.threshold if self.inclusive else gripper > self.threshold
        return with_gripper(actions, 2.0 * high - 1.0)

    def spec(self, before: ActionSpec) -> ActionSpec:
        """What was the larger value is +1 now, the smaller -1."""
        opens_high = before.gripper_open > before.gripper_closed
        return respec(before, gripper_open=1.0 if opens_high else -1.0, gripper_closed=-1.0 if opens_high else 1.0)


@dataclass(frozen=True)
class StickyGripper(ActionTransform):
    """An absolute gripper (larger is more open) becomes the change the Google robot expects, held for a while once it is large.

    The change is the previous value minus the present one, so closing is positive. A change beyond the threshold starts a hold: it
    is repeated for `steps` actions, whatever the policy says meanwhile.

    Attributes:
        steps: Actions that a hold lasts.
        threshold: A change beyond it starts one.
        compares_with: ``last``: the value before; ``last_hold``: the first value, then the one at which the last hold began
            (starVLA 0ed0aad, examples/simBenchmarks/SimplerEnv/eval_files/model2simpler_interface.py).
    """

    steps: int = 15
    threshold: float = 0.5
    compares_with: Literal["last", "last_hold"] = "last"

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float[T, A]; remembers the previous value and the hold."""
        return with_gripper(actions, np.array([self._next(float(value), memory) for value in actions[:, -1]]))

    def spec(self, before: ActionSpec) -> ActionSpec:
        """The gripper opens at -1 and closes at +1."""
        self._need(before.gripper_open > before.gripper_closed, True, "a gripper that opens at the larger value:")
        return respec(before, gripper_open=-1.0, gripper_closed=1.0)

    def _next(self, value: float, memory: Memory) -> float:
        change = memory.get("previous", value) - value
        if self.compares_with == "last" or "previous" not in memory:
            memory["previous"] = value
        if memory.get("held", 0) == 0 and abs(change) > self.threshold:
            memory["held"], memory["change"], memory["previous"] = self.steps, change, value
        if memory.get("held", 0) > 0:
            memory["held"] -= 1
            change = memory["change"]
        return float(change)


@dataclass(frozen=True)
class HoldGripper(ActionTransform):
    """A gripper g in [0, 1] (1 open) becomes 1 - 2g; once that is beyond the threshold it is held for a while.

    GR00T's and vla-eval's rule for the Google robot (NVIDIA/Isaac-GR00T, gr00t/eval/sim/SimplerEnv/simpler_env.py).
    """

    steps: int = 15
    threshold: float = 0.5

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float[T, A]; remembers the hold."""
        return with_gripper(actions, np.array([self._next(float(value), memory) for value in -(2 * actions[:, -1] - 1)]))

    def spec(self, before: ActionSpec) -> ActionSpec:
        """The gripper opens at -1 and closes at +1."""
        self._need(before.gripper_open > before.gripper_closed, True, "a gripper that opens at the larger value:")
        return respec(before, gripper_open=-1.0, gripper_closed=1.0)

    def _next(self, value: float, memory: Memory) -> float:
        if memory.get("held", 0) == 0 and abs(value) > self.threshold:
            memory["held"], memory["value"] = self.steps, value
        if memory.get("held", 0) > 0:
            memory["held"] -= 1
            return float(memory["value"])
        return value


@dataclass(frozen=True)
class PatientGripper(ActionTransform):
    """Gripper g (larger is more open) becomes +1 from the `steps`-th value in a row above the threshold on, else -1.

    So a single open command between closed ones is not obeyed, and an episode begins with the gripper told to close.
    """

    steps: int = 2
    threshold: float = 0.5

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float[T, A]; remembers how many there were in a row."""
        gripper = []
        for value in actions[:, -1]:
            memory["in_a_row"] = memory.get("in_a_row", 0) + 1 if value > self.threshold else 0
            gripper.append(1.0 if memory["in_a_row"] >= self.steps else -1.0)
        return with_gripper(actions, np.array(gripper))

    def spec(self, before: ActionSpec) -> ActionSpec:
        """The gripper opens at +1 and closes at -1."""
        self._need(before.gripper_open > before.gripper_closed, True, "a gripper that opens at the larger value:")
        return respec(before, gripper_open=1.0, gripper_closed=-1.0)


@dataclass(frozen=True)
class NegateGripper(ActionTransform):
    """The gripper changes its sign: what opened closes."""

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float[T, A]."""
        return with_gripper(actions, -actions[:, -1])

    def spec(self, before: ActionSpec) -> ActionSpec:
        """Both gripper values with the other sign."""
        return respec(before, gripper_open=-before.gripper_open, gripper_closed=-before.gripper_closed)


@dataclass(frozen=True)
class GripperDeadband(ActionTransform):
    """Gripper values smaller than the width become 0."""

    width: float = 0.01

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float[T, A]."""
        gripper = actions[:, -1]
        return with_gripper(actions, np.where(np.abs(gripper) < gripper.dtype.type(self.width), 0.0, gripper))


@dataclass(frozen=True)
class RescaleEntries(ActionTransform):
    """Entries first .. first + count - 1 are mapped linearly from [-before, before] to [-after, after] and clipped there."""

    arms_alike: ClassVar[bool] = True
    first: int
    count: int
    before: float
    after: float

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float[T, A], in the dtype of the actions."""
        rescaled = actions.copy()
        entries = slice(self.first, self.first + self.count)
        scaled = (actions[:, entries] + self.before) / (2 * self.before) * (2 * self.after) - self.after
        rescaled[:, entries] = np.clip(scaled, -self.after, self.after)
        return rescaled


@dataclass(frozen=True)
class StretchToRange(ActionTransform):
    """Every entry, the gripper too, is mapped linearly from [-1, 1] to a range of its own: metres, radians, and how far it is open.

    Attributes:
        low: What -1 becomes, per entry.
        high: What 1 becomes, per entry.
    """

    low: Sequence[float]
    high: Sequence[float]

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float64[T, A]."""
        low, high = np.array(self.low, np.float64), np.array(self.high, np.float64)
        stretched: Chunk = 0.5 * (actions + 1) * (high - low) + low
        return stretched

    def spec(self, before: ActionSpec) -> ActionSpec:
        """Metres and radians, and the gripper's values stretched like the others."""
        self._need((len(self.low), len(self.high)), (before.size, before.size), "as many entries as low and high have:")
        self._need(before.unit, "controller", "a unit of")
        low, high = self.low[-1], self.high[-1]
        opened, closed = (0.5 * (value + 1) * (high - low) + low for value in (before.gripper_open, before.gripper_closed))
        return respec(before, unit="m_rad", gripper_open=opened, gripper_closed=closed)


@dataclass(frozen=True)
class EulerToAxisAngle(ActionTransform):
    """Roll, pitch and yaw about fixed axes (entries 3 to 5) become a rotation vector."""

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, 7] -> float64[T, 7]."""
        turned = actions.astype(np.float64)
        for action in turned:
            action[3:6] = euler_to_axis_angle(*action[3:6])
        return turned

    def spec(self, before: ActionSpec) -> ActionSpec:
        """The rotation is an axis times an angle."""
        self._need(before.rotation, "euler_xyz", "a rotation of")
        return respec(before, rotation="axis_angle")


@dataclass(frozen=True)
class EnsembleActions(ActionTransform):
    """Of overlapping chunks, the weighted mean of what the last few said about now; the policy is asked again at every step.

    SimplerEnv's evaluation of Octo (simpler_env/utils/action/action_ensemble.py) keeps 4 chunks at temperature 0.

    Attributes:
        horizon: Chunks that are remembered; a chunk has at least as many actions.
        temperature: A chunk's weight is exp(-temperature * number of older ones): above 0, older chunks weigh more.
    """

    arms_alike: ClassVar[bool] = True
    horizon: int = 4
    temperature: float = 0.0

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float64[1, A]; remembers the chunks."""
        chunks, about_now = overlapping("ensemble_actions", self.horizon, actions, memory)
        weights = np.array([math.exp(-self.temperature * age) for age in range(len(chunks))])  # NumPy's depends on the processor
        mean: Chunk = np.sum((weights / weights.sum())[:, None] * about_now, axis=0, keepdims=True)
        return mean


@dataclass(frozen=True)
class AgreeingActions(ActionTransform):
    """Of overlapping chunks, the mean of what the last few said about now, weighted by how much each agrees with the newest.

    The weight of a chunk is exp(alpha * cos) of the angle between its action and the newest one's, over all entries. CogACT
    (arXiv:2411.19650) and starVLA (model2simpler_interface.py). The policy is asked again at every step.

    Attributes:
        horizon: Chunks that are remembered; a chunk has at least as many actions.
        alpha: How much agreement counts.
    """

    arms_alike: ClassVar[bool] = True
    horizon: int = 7
    alpha: float = 0.1

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float[1, A]; remembers the chunks."""
        _, about_now = overlapping("agreeing_actions", self.horizon, actions, memory)
        newest = about_now[-1]
        lengths = np.sqrt(np.sum(about_now**2, axis=1)) * np.sqrt(np.sum(newest**2)) + 1e-7
        weights = np.exp(self.alpha * (np.sum(about_now * newest, axis=1) / lengths))
        mean: Chunk = np.sum((weights / weights.sum())[:, None] * about_now, axis=0, keepdims=True)
        return mean


def overlapping(name: str, horizon: int, actions: Chunk, memory: Memory) -> tuple[list[Chunk], Chunk]:
    """The chunks of the last steps, the newest last, and what each says about now [n, A]; a new one has come at every step.

    Raises:
        PolicyError: The chunk is too short for so many.
    """
    if len(actions) < horizon:
        raise PolicyError(f"{name} remembers {horizon} chunks, so a chunk needs as many actions; got {len(actions)}.")
    chunks = memory["chunks"] = [*memory.get("chunks", []), actions][-horizon:]
    return chunks, np.stack([chunk[age] for age, chunk in zip(range(len(chunks) - 1, -1, -1), chunks, strict=True)])


def euler_to_axis_angle(roll: float, pitch: float, yaw: float) -> NDArray[np.float64]:
    """Rotation vector float64[3] of rotations about the fixed axes x, y, z in turn, angles in radians.

    The arithmetic is that of transforms3d's ``euler2axangle`` to the last bit; rotations below about 1e-8 come out as none.
    """
    cr, sr = math.cos(roll / 2), math.sin(roll / 2)
    cp, sp = math.cos(pitch / 2), math.sin(pitch / 2)
    cy, sy = math.cos(yaw / 2), math.sin(yaw / 2)
    both, tail, head, none = cr * cy, cr * sy, sr * cy, sr * sy
    quat_wxyz = np.array([cp * both + sp * none, cp * head - sp * tail, cp * none + sp * both, cp * tail - sp * head])
    norm = float(np.sum(quat_wxyz**2))
    if norm != 1:
        quat_wxyz = quat_wxyz / math.sqrt(norm)
    vector = quat_wxyz[1:]
    length = math.sqrt(float(np.sum(vector**2)))
    if length < 3 * float(np.finfo(np.float64).eps):
        return np.zeros(3)
    angle = 2 * math.acos(max(min(float(quat_wxyz[0]), 1.0), -1.0))
    axis_angle: NDArray[np.float64] = vector / length * angle
    return axis_angle


def with_gripper(actions: Chunk, gripper: NDArray[Any]) -> Chunk:
    """The actions with another gripper entry each."""
    changed = actions.copy()
    changed[:, -1] = gripper
    return changed


def respec(before: ActionSpec, **changes: Any) -> ActionSpec:
    """The spec with some fields changed; the gripper's range follows its two values."""
    after = replace(before, **changes)
    gripper = sorted((after.gripper_open, after.gripper_closed))
    return replace(after, low=(*before.low[:-1], gripper[0]), high=(*before.high[:-1], gripper[1]))
