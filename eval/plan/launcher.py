"""The settings ``launcher.*``: where workers and copies of the policy live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from ...edges.settings import Processes, Text, check_settings, shown
from ...errors import ConfigError

Gpus = Annotated[float, Meta(ge=0, le=64)]


@dataclass(frozen=True)
class LauncherSettings:
    """What conf/launcher/ has.

    Attributes:
        name: ``local``: on this machine; ``ray``: on a Ray cluster.
        address: Of the cluster: ``HOST:PORT``; ``auto`` for the one that this machine belongs to; None for one of this machine's
            own that ends with the run.
        seats: Copies of the policy; None: as many as the cluster's GPUs allow, or none but the main process's if they need none.
        gpus_per_seat: GPUs that each of them needs, or the part of one.
    """

    name: Literal["local", "ray"] = "local"
    address: Text | None = None
    seats: Processes | None = None
    gpus_per_seat: Gpus = 0.0


LOCAL = LauncherSettings()


def read_launcher(settings: Any) -> LauncherSettings:
    """The settings ``launcher.*`` of a run, or the launcher's name alone.

    Raises:
        ConfigError: A value of the wrong kind.
    """
    if isinstance(settings, LauncherSettings):
        return settings
    values = {"name": settings} if isinstance(settings, str) else settings or {}
    if not isinstance(values, Mapping):
        raise ConfigError(f"launcher must be a name or a mapping; got {shown(settings)}.")
    check_settings("launcher.", LauncherSettings, values)
    read = LauncherSettings(**values)
    if read.name == "local" and read != LOCAL:
        raise ConfigError("launcher.address, launcher.seats and launcher.gpus_per_seat are Ray's: launcher=ray takes them.")
    return read
