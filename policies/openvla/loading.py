"""From weights, stored or random, to a network in memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ...errors import ConfigError
from .._weights import WeightSource, fill
from .config import ModelConfig
from .model import AttentionKind, OpenVla
from .vision import unused_weights

# Where the weights of a network come from, given the network on the meta device.
SourceFor = Callable[[nn.Module], WeightSource]

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


def build(
    config: ModelConfig,
    source_for: SourceFor,
    *,
    device: torch.device,
    dtype: torch.dtype,
    attention: AttentionKind = "sdpa",
    film: bool = False,
) -> OpenVla:
    """A network with weights, ready for inference.

    Raises:
        PolicyError: The weights do not fit; all of them are named.
    """
    with torch.device("meta"):
        model = OpenVla(config, attention, film)
    unused = unused_weights(config.towers, "vision_backbone.")
    fill(model, source_for(model), dtype=dtype, device=device, unused=lambda name: unused.match(name) is not None)
    model.finish_loading(device)
    return model
