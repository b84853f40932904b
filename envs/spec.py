"""The words of the contract: what is observed, what an action and a state vector mean, what a task is, and a suite's settings.

Nothing here runs; environments, suites and policies are declared in these terms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

import numpy as np
from gymnasium import spaces

from ..edges.settings import FileName
from ..episode import Variant
from ..errors import ConfigError
from .variation import ON_IMAGES_AND_WORDS, Change, Instructions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Float32Array = NDArray[np.float32]
    Float64Array = NDArray[np.float64]
    Image = NDArray[np.uint8]
    EnvState = dict[str, NDArray[Any]]

MAX_INSTRUCTION_LENGTH = 512


class Observation(TypedDict):
    """What a policy sees.

    Attributes:
        images: Camera name -> uint8[H, W, 3], RGB, upright as a person sees the scene.
        state: float32[S], laid out as the suite's `StateSpec` declares; float64 for a policy with `precise_state`.
        instruction: The sentence that holds now; it may change within an episode.
    """

    images: dict[str, Image]
    state: NDArray[np.floating[Any]]
    instruction: str


@dataclass(frozen=True)
class ActionSpec:
    """Meaning of the action vector (float32[A], or float64[A] where the last bits matter).

    The entries of an arm stand together, its gripper last; several arms of the same kind follow each other, as on ALOHA: six joints
    and a gripper on the left, then the same on the right, A = 14.

    Attributes:
        names: One name per entry.
        low, high: Range the suite accepts per entry; values outside are the suite's to clip, as its protocol says.
        mode: ``delta`` moves relative to a pose (or to joint angles), ``absolute`` names them.
        frame: Frame the pose entries are expressed in; ``joints``: they are joint angles instead of a pose.
        rotation: Convention of the rotation entries. ``6d``: two columns of the matrix, one by one or row by row; ``none``: joint
            angles have none.
        unit: ``controller`` if [-1, 1] spans the controller's own range, ``m_rad`` if metres and radians, ``rad`` of joint angles.
        gripper_open, gripper_closed: Values that mean fully open and fully closed.
        control_hz: Actions per simulated second.
        gripper_at_start: Command that is in force when the policy takes over; None: open.
        gripper_still: Value that leaves the gripper as it is, where it is told how far to move; None: the last command repeated.
        arms: Number of arms.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    mode: Literal["delta", "absolute"]
    frame: Literal["base", "world", "eef", "joints"]
    rotation: Literal["axis_angle", "euler_xyz", "quat_wxyz", "quat_xyzw", "6d_columns", "6d_rows", "none"]
    unit: Literal["controller", "m_rad", "rad"]
    gripper_open: float
    gripper_closed: float
    control_hz: float
    gripper_at_start: float | None = None
    gripper_still: float | None = None
    arms: int = 1

    def __post_init__(self) -> None:
        joints = self.frame == "joints"
        if joints != (self.rotation == "none") or (self.unit == "rad" and not joints) or (self.unit == "m_rad" and joints):
            raise ConfigError(
                f"an action of frame {self.frame!r}, rotation {self.rotation!r} and unit {self.unit!r} has no meaning: "
                "joint angles are frame 'joints', rotation 'none' and unit 'rad' or 'controller'; a pose has a rotation, and "
                "unit 'm_rad' or 'controller'."
            )
        if self.arms < 1 or self.size % self.arms:
            raise ConfigError(
                f"an action of {self.size} entries cannot be that of {self.arms} arms: each has as many entries, its gripper last."
            )

    @property
    def size(self) -> int:
        """A, the length of an action."""
        return len(self.names)

    @property
    def grippers(self) -> list[int]:
        """Where the grippers stand in an action, one per arm."""
        each = self.size // self.arms
        return list(range(each - 1, self.size, each))

    def hold(self, last: NDArray[np.floating[Any]] | None, pose: NDArray[np.floating[Any]] | None = None) -> Float64Array:
        """The action float64[A] that keeps the robot as it is while it has nothing to do: no motion, or the last pose again.

        Args:
            last: The last action that was executed; None before the first.
            pose: float[A - arms] where it stands, as an action names it, without the grippers; only looked at in absolute control
                before the first action.
        """
        action = np.zeros(self.size)
        others = np.setdiff1d(np.arange(self.size), self.grippers)
        if self.mode == "absolute":
            action[others] = last[others] if last is not None else pose
        start = self.gripper_open if self.gripper_at_start is None else self.gripper_at_start
        still = self.gripper_still if self.gripper_still is not None else start if last is None else last[self.grippers]
        action[self.grippers] = still
        return action

    def differences(self, other: ActionSpec) -> list[str]:
        """Fields in which the other spec differs, as ``field: here != there``; names, range and rate need no converting."""
        fields = ("arms", "mode", "frame", "rotation", "unit", "gripper_open", "gripper_closed")
        found = [f"{f}: {getattr(self, f)!r} != {getattr(other, f)!r}" for f in fields if getattr(self, f) != getattr(other, f)]
        return found if self.size == other.size else [f"size: {self.size} != {other.size}", *found]

    @property
    def space(self) -> spaces.Box:
        """The range as a gymnasium space of dtype float32."""
        return spaces.Box(np.asarray(self.low, np.float32), np.asarray(self.high, np.float32), dtype=np.float32)


class StateField(NamedTuple):
    """A run of entries of the state vector: name, number of entries, and what they mean (unit, frame, order)."""

    name: str
    size: int
    meaning: str


@dataclass(frozen=True)
class StateSpec:
    """Layout of the state vector float32[S]."""

    fields: tuple[StateField, ...]

    @property
    def size(self) -> int:
        """S, the length of the state vector."""
        return sum(f.size for f in self.fields)

    @property
    def tool_position(self) -> slice | None:
        """Where the tool's position [3] (m) stands in the vector: the first field of three whose name ends in ``_pos``."""
        begin = 0
        for field_ in self.fields:
            if field_.size == 3 and field_.name.endswith("_pos"):
                return slice(begin, begin + 3)
            begin += field_.size
        return None


@dataclass(frozen=True)
class Task:
    """One task of a suite.

    Attributes:
        name: Unique in the suite.
        instruction: The sentence a policy is given first.
        trials: Number of initial states or variations; trials are 0 .. trials - 1.
        horizon: Policy steps after which the episode is truncated.
        chain: Subtasks asked for in a row; above 1, how many of them were done is a result of its own.
        group: Name under which papers report the mean of this task and others; empty where tasks are reported one by one.
        chosen: The trials that the suite's settings select, in the order in which they are planned; None for all.
    """

    name: str
    instruction: str
    trials: int
    horizon: int
    chain: int = 1
    group: str = ""
    chosen: tuple[int, ...] | None = None

    @property
    def selected_trials(self) -> Sequence[int]:
        """The trials that a run consists of if nothing else is said."""
        return range(self.trials) if self.chosen is None else self.chosen


@dataclass(frozen=True)
class SuiteSettings(ABC):
    """What is settled about a suite before anything of it runs: its settings, and the tasks and specs that follow from them.

    This is all that an environment knows of its suite. Every field is part of the protocol and comes from conf/suite/.

    Attributes:
        name: Name of the suite, e.g. ``libero_goal``.
        variation: What is changed about every episode, in this order; nothing in the suite's own protocol.
    """

    name: FileName
    variation: tuple[Change, ...] = field(default=(), kw_only=True)

    @property
    @abstractmethod
    def camera_sizes(self) -> dict[str, tuple[int, int]]:
        """Camera name -> (height, width) of its image in an observation, in pixels.

        The keys are the cameras a policy may ask for; ``primary`` is always among them.
        """

    @property
    @abstractmethod
    def action_spec(self) -> ActionSpec:
        """Meaning of an action."""

    @property
    @abstractmethod
    def state_spec(self) -> StateSpec:
        """Layout of the state vector."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras a policy may ask for."""
        return tuple(self.camera_sizes)

    @property
    def success_rule(self) -> Literal["at_end", "ever"]:
        """Which reading of success the benchmark's protocol counts."""
        return "at_end"

    @abstractmethod
    def tasks(self) -> tuple[Task, ...]:
        """The tasks in the benchmark's own order."""

    @property
    def plain_suite(self) -> str | None:
        """The suite whose episodes this one perturbs: itself without its variation; None for a suite that stands for itself."""
        return self.name if self.variation else None

    @property
    def can_vary(self) -> tuple[str, ...]:
        """The kinds of changes (`vlagym.envs.variation.KINDS`) that can be made to its episodes."""
        return ON_IMAGES_AND_WORDS

    @property
    def instructed(self) -> tuple[str, ...]:
        """What ``suite.instructions`` can give sentences for: the tasks, or the subtasks of chains."""
        return tuple(task.name for task in self.tasks())

    @property
    def weighted_total(self) -> str:
        """What the mean over variants by `Variant.weight` is called; empty where there is none."""
        return ""

    @property
    def coverage(self) -> tuple[int, int] | None:
        """How many of the benchmark's variants can be run here, and how many it has; None where that is all."""
        return None

    def variant(self, task: str, trial: int) -> Variant | None:
        """What a trial changes; None for a suite that stands for itself."""
        if not self.variation:
            return None
        kinds = " + ".join(self._category(change, task, trial) for change in self.variation)
        return Variant(kinds, kinds, None, plain_trial=trial)

    def _category(self, change: Change, task: str, trial: int) -> str:
        """What tables call a change: its kind; of several sentences of the user's own for a task, which one."""
        if not isinstance(change, Instructions):
            return change.kind
        if task not in self.instructed or max(len(said) for _, said in change.tasks) == 1:
            return "own instructions"
        number = change.number(task, trial)
        return "the suite's instruction" if number is None else f"own instruction {number}"
