"""``policy.devices``: the devices that copies of a policy answer on, each in a process of its own."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

from ..edges.settings import shown
from ..errors import ConfigError
from .launch.settings import launch_of
from .registry import factory_named

SETTING = "devices"
_MOST = 256


def devices_of(settings: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The devices that a policy's settings name, ``cpu`` or the number of a GPU; None where it answers in the main process.

    Raises:
        ConfigError: They name none that there can be, or the policy answers from elsewhere.
    """
    asked = settings.get(SETTING)
    if asked is None:
        return None
    listed = asked if isinstance(asked, list | tuple) else [asked]
    names = [str(device) for device in listed if isinstance(device, str | int) and not isinstance(device, bool)]
    if not 0 < len(listed) <= _MOST or len(names) < len(listed) or not all(re.fullmatch(r"cpu|\d{1,3}", name) for name in names):
        raise ConfigError(f"policy.devices must be a list of numbers of GPUs, or cpu, such as [0,1]; got {shown(asked)}.")
    check_computes_here(settings, "policy.devices")
    return tuple(names)


def check_computes_here(settings: Mapping[str, Any], setting: str) -> None:
    """Make sure that there can be copies of a policy on several devices, as a setting asks.

    Raises:
        ConfigError: It answers from elsewhere, or is given one device for all.
    """
    if launch_of(settings) is not None or settings.get("url") is not None:
        raise ConfigError(
            f"{setting} is for a policy that computes here; {settings['name']} asks a server: policy.connections=N asks it "
            "over several connections."
        )
    if settings.get("device") is not None:
        raise ConfigError(f"policy.device and {setting} cannot both be given: the latter gives each copy its device.")


def without_devices(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of one copy, wherever it is."""
    return {name: value for name, value in settings.items() if name != SETTING}


def settings_on(settings: Mapping[str, Any], device: str) -> dict[str, Any]:
    """The settings of the copy on a device, once `use_device` has been called in its process."""
    own = without_devices(settings)
    if "device" in inspect.signature(factory_named(own)).parameters:
        own["device"] = "cpu" if device == "cpu" else "cuda"
    return own


def use_device(device: str, environment: MutableMapping[str, str] = os.environ) -> None:
    """Make a GPU the only one that this process sees, before anything has looked for GPUs; it is that of the list it sees so far.

    Raises:
        ConfigError: There is none of that number in ``CUDA_VISIBLE_DEVICES``.
    """
    if device == "cpu":
        return
    seen = environment.get("CUDA_VISIBLE_DEVICES")
    if seen is None:
        environment["CUDA_VISIBLE_DEVICES"] = device
        return
    names = [name.strip() for name in seen.split(",") if name.strip()]
    if int(device) >= len(names):
        raise ConfigError(
            f"policy.devices names GPU {device}; CUDA_VISIBLE_DEVICES={seen} leaves {len(names)} to this process, numbered from 0."
        )
    environment["CUDA_VISIBLE_DEVICES"] = names[int(device)]
