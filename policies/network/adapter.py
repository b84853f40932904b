"""What the adapters of networks share: the recipe around the network, a limit on batches, and what is recorded of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ..base import Policy
from ..pipeline import Pipeline

if TYPE_CHECKING:
    from torch import nn


class NetworkPolicy(Policy):
    """A policy that is a network with a recipe around it.

    Args:
        pipeline: The recipe.
        network: With its weights.
        max_batch: Most observations at once; None for any number.

    Raises:
        ConfigError: `max_batch` is below 1.
    """

    def __init__(self, pipeline: Pipeline, network: nn.Module, max_batch: int | None) -> None:
        if max_batch is not None and max_batch < 1:
            raise ConfigError(f"policy.max_batch must be at least 1, or null; got {max_batch}.")
        self.action_spec = pipeline.action_spec
        self.cameras = pipeline.cameras
        self.max_batch = max_batch
        self._pipeline = pipeline
        self._module = network

    def reset(self, episode_ids: Sequence[str]) -> None:
        self._pipeline.reset(episode_ids)

    def release(self, episode_ids: Sequence[str]) -> None:
        self._pipeline.release(episode_ids)

    def provenance(self) -> dict[str, Any]:
        from .packing import describe_weights

        return {**describe_weights(self._module), "recipe": self._pipeline.provenance()}

    def close(self) -> None:
        self._pipeline.close()
