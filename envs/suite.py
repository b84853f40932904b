"""The descriptor of a suite: what can be run under one name and what it depends on, known without importing a simulator.

A benchmark is a `Suite`, with which the main process plans and checks, and the `VlaEnv` that it makes, which is the simulator and
lives in a worker process.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..errors import EnvError
from .env import VlaEnv
from .spec import SuiteSettings
from .variation import as_values

if TYPE_CHECKING:
    from .spec import Float32Array


@dataclass(frozen=True)
class Check:
    """One finding of ``vla-eval doctor``; `ok` is None where the question does not arise on this machine."""

    name: str
    ok: bool | None
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class StockEpisode:
    """One episode of the loop that the benchmark's authors ship, for comparison.

    Attributes:
        seconds: Wall-clock time from reset to the last step, all rendering included.
        cpu_seconds: Processor time of the process over the same stretch.
        steps: Policy steps executed.
        physics_sha256: Hash of the last state, laid out as `VlaEnv.physics_state` is.
    """

    seconds: float
    cpu_seconds: float
    steps: int
    physics_sha256: str


@dataclass(frozen=True)
class Suite(SuiteSettings):
    """What can be evaluated under one name, known without importing a simulator. Subclasses are frozen dataclasses of settings.

    An instance travels to the workers by pickle.
    """

    @abstractmethod
    def make_env(self, cameras: Sequence[str]) -> VlaEnv:
        """Build the environment; called in a worker process, imports the simulator."""

    @abstractmethod
    def check_ready(self) -> None:
        """Make sure that packages, assets and renderer are there.

        Raises:
            DependencyError: A package, library or driver is missing or of a version that changes results.
            AssetError: Benchmark data is missing or damaged.
        """

    @abstractmethod
    def provenance(self) -> dict[str, Any]:
        """What the numbers depend on beyond the protocol: package versions, asset commit, stand-ins; plain JSON values."""

    def render_devices(self, asked: Sequence[int] | None) -> tuple[int, ...] | None:
        """The devices that workers draw on, worker i on entry i modulo their number; None leaves it to the driver.

        Args:
            asked: Setting ``egl_devices``.

        Raises:
            VlagymError: One of them does not exist here.
        """
        return tuple(asked) if asked else None

    def protocol(self) -> dict[str, Any]:
        """Everything that fixes what is measured, as plain JSON values; its hash goes into every run."""
        settings = {**asdict(self), "variation": as_values(self.variation)}
        if not self.variation:  # the hash of an episode that nothing is changed about stays what it was before anything could be
            del settings["variation"]
        return {**settings, "benchmark": type(self).__name__, "success_rule": self.success_rule}

    def notices(self) -> list[str]:
        """Sentences that every output of a run must carry, e.g. that stand-in assets were used."""
        return []

    def stock_episodes(self, task: str, actions: Sequence[Float32Array]) -> Iterator[StockEpisode]:
        """Run trials 0, 1, ... of a task in the loop that the benchmark's authors ship, one after the other.

        Args:
            task: Name of the task.
            actions: float32[T, A] per trial.

        Raises:
            EnvError: The benchmark has no such loop here.
        """
        raise EnvError(f"suite {self.name!r} has no stock loop to compare with.")

    def doctor(self) -> Iterator[Check]:
        """Probe this machine for what the suite needs, slow probes included."""
        return iter(())


def protocol_sha256(protocol: Mapping[str, Any]) -> str:
    """Hash of a protocol: equal hashes mean that two runs measured the same thing."""
    return hashlib.sha256(json.dumps(protocol, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
