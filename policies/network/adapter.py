"""What the adapters of networks share: the recipe around the network, the shape of its passes, and the record of its weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from ...errors import ConfigError
from ..base import Policy, PolicyObservation
from ..pipeline import Pipeline

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn


@dataclass(frozen=True)
class Batching:
    """How observations become forward passes.

    Attributes:
        most: Observations at once; None for any number.
        rows: Of every pass, filled up where fewer are asked about; None for passes as large as the batch.
        graphs: Replay passes as CUDA graphs; None where they can be: on a GPU, with `rows`.
    """

    most: int | None = None
    rows: int | None = None
    graphs: bool | None = None

    def __post_init__(self) -> None:
        if self.most is not None and self.most < 1:
            raise ConfigError(f"policy.max_batch must be at least 1, or null; got {self.most}.")

    def on(self, device: torch.device) -> Batching:
        """With `most` and `graphs` decided.

        Raises:
            ConfigError: Graphs were asked for where there are none.
        """
        possible = self.rows is not None and device.type == "cuda"
        if self.graphs and not possible:
            raise ConfigError(
                "policy.graphs=true replays passes of one shape on a GPU: "
                + ("set policy.batch to the rows of a pass." if self.rows is None else f"policy.device is {device.type} here.")
            )
        most = self.most if self.rows is None else min(self.rows, self.most or self.rows)
        return replace(self, most=most, graphs=possible if self.graphs is None else self.graphs)


@dataclass(frozen=True)
class Stage:
    """A part of a forward pass, and the least a machine has to do for it.

    Attributes:
        name: What it is called in tables.
        flops: Operations of its matrix products.
        bytes: To be read: weights, keys and values.
    """

    name: str
    flops: float
    bytes: float


@dataclass(frozen=True)
class Agreement:
    """How close passes of a fixed shape come to the network's plain forward pass on the same observations.

    Attributes:
        equal: Share of token choices that are the same after the same tokens; None for a network that chooses none.
        error: Norm of the difference of what is computed (logits or actions) over its own norm.
    """

    equal: float | None
    error: float


class NetworkPolicy(Policy):
    """A policy that is a network with a recipe around it.

    Args:
        pipeline: The recipe.
        network: With its weights.
        batching: How observations become forward passes.

    Attributes:
        fixed_shapes: Whether it has passes of a fixed shape.
    """

    fixed_shapes = False

    def __init__(self, pipeline: Pipeline, network: nn.Module, batching: Batching) -> None:
        self.action_spec = pipeline.action_spec
        self.cameras = pipeline.cameras
        self._pipeline = pipeline
        self._module = network
        self._set_batching(batching)

    def with_rows(self, rows: int) -> Self:
        """The same network and recipe in passes of so many rows, where it has such passes; it is closed with this one."""
        if not self.fixed_shapes:
            return self
        other = copy.copy(self)
        other._set_batching(Batching(None, rows, self._graphs))
        return other

    @property
    def network(self) -> nn.Module:
        """With its weights."""
        return self._module

    def numbers(self, observations: Sequence[PolicyObservation]) -> list[NDArray[np.floating[Any]]]:
        """What the network computes for each observation, as close to its last bits as can be had: logits, or else its chunk."""
        return self.act(observations)

    def agreement(self, observations: Sequence[PolicyObservation]) -> Agreement | None:
        """Passes of the fixed shape against the plain forward pass; None where there is no other way to compute."""
        return None

    def stages(self, rows: int) -> list[Stage]:
        """What a pass over so many observations takes at least; nothing where that has not been worked out."""
        return []

    def reset(self, episode_ids: Sequence[str]) -> None:
        self._pipeline.reset(episode_ids)

    def release(self, episode_ids: Sequence[str]) -> None:
        self._pipeline.release(episode_ids)

    def provenance(self) -> dict[str, Any]:
        from .packing import describe_weights

        shape = {"batch": self.batch, "graphs": self._batching.graphs} if self.batch else {}
        return {**describe_weights(self._module), **shape, "recipe": self._pipeline.provenance()}

    def close(self) -> None:
        self._pipeline.close()

    def _set_batching(self, batching: Batching) -> None:
        self._graphs = batching.graphs
        self._batching = batching.on(next(self._module.parameters()).device)
        self.max_batch, self.batch = self._batching.most, self._batching.rows
        self._forget_passes()

    def _forget_passes(self) -> None:
        """Drop what was made for passes of another shape."""
