"""From weights, stored or random, to a network in memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ..network.packing import can_pack, expect_packed
from ..network.weights import WeightSource, fill
from .config import ModelConfig
from .model import AttentionKind, OpenVla
from .vision import unused_weights

# Where the weights of a network come from, given the network on the meta device.
SourceFor = Callable[[nn.Module], WeightSource]


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
    if can_pack(device, dtype):
        expect_packed(model)
    fill(model, source_for(model), dtype=dtype, device=device, unused=lambda name: unused.match(name) is not None)
    model.finish_loading(device)
    return model
