"""What the main process and a worker say to each other: `Begin` or `Actions` goes in, `Observed`, `Ended` or `Failed` comes out.

A worker that is built, or has been told where the next run records (`Record`), says `Ready`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...envs.spec import Observation
from ...envs.suite import Suite
from ...episode import EpisodeResult, EpisodeSpec
from ...policies.base import PolicyObservation
from ..plan.realtime import Realtime
from .clock import Pending
from .rollout import RecordSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is told when it is started.

    Attributes:
        suite: What to build the environment from.
        cameras: Images the policy needs in an observation.
        privileged: Whether observations carry `VlaEnv.privileged_state`.
        precise: Whether their state is `VlaEnv.precise_state`, in float64.
        record: Where and what to record; None records nothing.
        egl_devices: GPUs to render on; worker i uses entry i modulo their number. None leaves the choice to the driver.
        realtime: How late the policy's answers come on the simulated clock; None where the world waits for them.
        elsewhere: Of a worker on another machine: `Suite.provenance` here, which it must find the same there; its files come with
            its messages. None for one of this machine, which writes them itself.
    """

    suite: Suite
    cameras: tuple[str, ...]
    privileged: bool
    precise: bool
    record: RecordSettings | None
    egl_devices: tuple[int, ...] | None = None
    realtime: Realtime | None = None
    elsewhere: dict[str, Any] | None = None


@dataclass(frozen=True)
class Begin:
    """Start this episode, whatever became of the last, or only draw it again.

    Attributes:
        spec: Which.
        index: Its position in the plan.
        undrawn: What came of it in an earlier session that left no video; it is drawn from its trajectory.
        files: For a worker elsewhere, that trajectory, by its name in the run's folder.
    """

    spec: EpisodeSpec
    index: int
    undrawn: EpisodeResult | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Actions:
    """Execute these actions float[T, A]; with `done` the policy declares the task accomplished."""

    actions: NDArray[np.floating[Any]]
    done: bool = False


@dataclass(frozen=True)
class Record:
    """Another run begins: record what it asks for, where it asks for it."""

    record: RecordSettings | None


@dataclass(frozen=True)
class Ready:
    """The environment has been built, or the recorders of another run."""


@dataclass(frozen=True)
class Observed:
    """The episode goes on from here.

    Attributes:
        observation: What the policy sees now.
        privileged: `VlaEnv.privileged_state`, if asked for.
        step: Policy steps executed so far.
        new_subtask: The policy has to start afresh.
        pending: What the policy may know of its answer's way; None where the world waits for it.
    """

    observation: Observation
    privileged: dict[str, NDArray[np.float64]] | None
    step: int
    new_subtask: bool
    pending: Pending | None = None

    def for_policy(self, spec: EpisodeSpec) -> PolicyObservation:
        """The observation as the policy receives it."""
        seen = self.observation
        observation: PolicyObservation = {
            "images": seen["images"],
            "state": seen["state"],
            "instruction": seen["instruction"],
            "episode_id": spec.id,
            "step": self.step,
        }
        if self.privileged is not None:
            observation["privileged"] = self.privileged
        if self.pending is not None:
            observation["previous_actions"] = self.pending.previous_actions
            observation["delay_steps"] = self.pending.delay_steps
        return observation


@dataclass(frozen=True)
class Ended:
    """The episode is over. A worker elsewhere sends what it wrote, by its name in the run's folder."""

    result: EpisodeResult
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """Something was raised. `understood` if it was a `VlagymError`, which trying again would not change."""

    kind: str
    message: str
    understood: bool

    @property
    def of_the_machine(self) -> bool:
        """Whether it is about this machine rather than about one episode: no other episode would fare better."""
        return self.understood and self.kind in ("AssetError", "DependencyError", "ConfigError", "StorageError")


@dataclass(frozen=True)
class Lost:
    """The main process's own finding: the worker died or hangs."""

    reason: str


Message = Ready | Observed | Ended | Failed | Lost
