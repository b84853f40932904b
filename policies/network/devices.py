"""Devices and dtypes that settings name."""

from __future__ import annotations

import torch

from ...errors import ConfigError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str | None) -> torch.device:
    """The device a setting names; null is the GPU where there is one.

    Raises:
        ConfigError: The device does not exist here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"policy.device={name} cannot be used here: {str(error).splitlines()[0]}") from error
    return device


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The dtype a setting names; null is float32 on a CPU and bfloat16, as upstream, on a GPU.

    Raises:
        ConfigError: Unknown dtype.
    """
    if name is None:
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in DTYPES:
        raise ConfigError(f"policy.dtype must be one of {', '.join(DTYPES)} or null; got {name!r}.")
    return DTYPES[name]


def device_name(device: torch.device) -> str:
    """The GPU's name, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
