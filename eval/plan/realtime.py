"""How late a policy's answers come on a simulated clock, and what follows from it: the settings ``realtime.*`` of a run.

The clock ticks at the suite's own control rate, never on the wall, so that an episode is the same on every machine. Terms follow
real-time chunking (Black et al. 2025, arXiv 2506.07339): delay d and execution horizon s in control steps, d <= s. Two things are
otherwise: the world also goes on before the first answer, and a delay in milliseconds is rounded up to steps, since an action that
comes in the middle of a control period acts in the next one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ..._durable import write_durably
from ...edges.files import FileKind
from ...edges.settings import check_fields, check_settings, shown
from ...errors import ConfigError

Steps = Annotated[int, Meta(ge=0, le=100_000)]
Milliseconds = Annotated[float, Meta(ge=0, le=3_600_000)]
MOST_LATENCIES = 10_000
Latencies = Annotated[tuple[Milliseconds, ...], Meta(max_length=MOST_LATENCIES)]

_PROFILE = FileKind("a latency profile", ConfigError, "`vla-eval bench policy=... profile=FILE` writes one.", max_bytes=1 << 20)


class LatencyProfile(Struct):
    """What `vla-eval bench` measured of a policy: how long each call took, and on what.

    Attributes:
        latencies_ms: Of every timed call, in the order of the calls.
        policy: Name of the policy.
        batch: Observations per call.
        measured_on: The machine's processor or GPU.
    """

    latencies_ms: Annotated[tuple[Milliseconds, ...], Meta(min_length=1, max_length=MOST_LATENCIES)]
    policy: str
    batch: Annotated[int, Meta(ge=1)]
    measured_on: str

    def write(self, path: Path) -> None:
        """Write the file that `load_profile` reads.

        Raises:
            OSError: It cannot be written.
        """
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        write_durably(path, json.dumps(values, indent=2) + "\n")


def load_profile(path: Path) -> LatencyProfile:
    """Read a profile.

    Raises:
        ConfigError: It is not one.
    """
    return _PROFILE.converted(path, _PROFILE.json(path), LatencyProfile)


@dataclass(frozen=True)
class Realtime:
    """How late answers come.

    Attributes:
        mode: ``fixed``: all alike; ``recorded``: each drawn from measured ones.
        delay_steps, delay_ms: Of a fixed delay, one of the two.
        latencies_ms: Of recorded ones, all that were measured.
        horizon: Control steps from one observation to the next; a recorded delay that is longer is waited for. None: until what is
            left of the answer on its arrival has been played.
        alignment: ``age``: action k of a chunk is for the k-th step after its observation, so that those whose step is over are
            dropped, but never the last; ``start``: a chunk is played from its first action.
        wait: ``async``: the world goes on; ``sync``: it stops, and only the clock goes on.
    """

    mode: Literal["fixed", "recorded"]
    delay_steps: Steps | None = None
    delay_ms: Milliseconds | None = None
    latencies_ms: Latencies = ()
    horizon: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    alignment: Literal["age", "start"] = "age"
    wait: Literal["async", "sync"] = "async"

    def __post_init__(self) -> None:
        check_fields("realtime.", self)
        if self.mode == "fixed" and (self.delay_steps is None) == (self.delay_ms is None):
            raise ConfigError("realtime=fixed needs realtime.delay_steps=N or realtime.delay_ms=MS, one of the two.")
        if self.mode == "recorded" and not self.latencies_ms:
            raise ConfigError(
                "realtime=recorded needs realtime.profile=FILE, which `vla-eval bench policy=... profile=FILE` writes."
            )

    def delays(self, control_hz: float) -> tuple[int, ...]:
        """The delays in control steps among which every answer's is drawn; one where they are fixed.

        Raises:
            ConfigError: A fixed delay is longer than the horizon.
        """
        if self.delay_steps is not None:
            found = [self.delay_steps]
        else:
            latencies = self.latencies_ms if self.delay_ms is None else (self.delay_ms,)
            # 150 ms at 20 Hz are 3 steps, not 4: the product is off by a few parts in 1e16.
            found = [math.ceil(round(latency * control_hz / 1000, 6)) for latency in latencies]
        if self.mode == "fixed" and self.horizon is not None and found[0] > self.horizon:
            raise ConfigError(
                f"realtime: a delay of {found[0]} steps is longer than the horizon of {self.horizon}: the policy would be asked "
                "again before it has answered. Use a longer realtime.horizon, or null."
            )
        return tuple(found)

    def is_plain(self, control_hz: float) -> bool:
        """Whether the suite's own protocol is what comes of it: no delay, and chunks are played whole."""
        return self.horizon is None and not any(self.delays(control_hz))

    def protocol(self) -> dict[str, Any]:
        """What it adds to a suite's protocol, as plain JSON values."""
        return {**asdict(self), "latencies_ms": list(self.latencies_ms)}

    def described(self, control_hz: float) -> str:
        """How late answers come, in words."""
        delays = sorted(self.delays(control_hz))
        steps = f"{delays[0]}" if delays[0] == delays[-1] else f"{delays[0]} to {delays[-1]} (median {delays[len(delays) // 2]})"
        world = "goes on" if self.wait == "async" else "stops, its clock counting,"
        again = "" if self.horizon is None else f", and is asked every {self.horizon} steps"
        return f"the world {world} for {steps} control steps until the policy has answered ({self.alignment}-aligned){again}"


def read_realtime(settings: Any) -> Realtime | None:
    """The settings ``realtime.*`` of a run, as conf/realtime/ or a run's config.yaml has them; None where the world waits.

    Raises:
        ConfigError: A value of the wrong kind, settings that do not go together, or a profile that is not one.
    """
    if settings is None or isinstance(settings, Realtime):
        return settings
    if not isinstance(settings, Mapping):
        raise ConfigError(f"realtime must be a mapping, or null; got {shown(settings)}.")
    values = {**settings}
    profile = values.pop("profile", None)
    if values == {"mode": "off"}:
        return None
    if profile is not None and not isinstance(profile, str):
        raise ConfigError(f"realtime.profile must be a file; got {shown(profile)}.")
    if profile:
        values["latencies_ms"] = load_profile(Path(profile)).latencies_ms
    check_settings("realtime.", Realtime, values)
    if values.get("delay_ms") is not None:
        values["delay_ms"] = float(values["delay_ms"])
    values["latencies_ms"] = tuple(map(float, values.get("latencies_ms") or ()))
    return Realtime(**values)


def with_realtime_chosen(overrides: Sequence[str]) -> list[str]:
    """Overrides in which ``realtime.delay_steps=3`` alone chooses ``realtime=fixed``, and a profile ``realtime=recorded``."""
    keys = {override.partition("=")[0] for override in overrides}
    if "realtime" in keys:
        return list(overrides)
    if "realtime.profile" in keys:
        return ["realtime=recorded", *overrides]
    return (["realtime=fixed"] if any(key.startswith("realtime.") for key in keys) else []) + list(overrides)
