"""A checkpoint being opened: its settings read and checked, its tokenizer loaded, its weights named but still on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...errors import ConfigError
from ..base import PolicyObservation
from ..network.checkpoints import Checkpoint, find_checkpoint
from ..packages import require
from .config import ModelConfig, read_config
from .platforms import OftConfig
from .statistics import OFT_EPSILON, Scale
from .tokens import PromptEncoder, PromptTokenizer, build_prompt

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..network.weights import WeightSource
    from .oft import OftSources

EXTRA = "openvla"
_PACKAGES = ("torch", "transformers", "safetensors", "tokenizers", "pillow", "simplejpeg")
_RANDOM = "random:"


@dataclass(frozen=True)
class Loading:
    """How a checkpoint is found and put into memory; the fields are described in conf/policy/openvla.yaml."""

    checkpoint: str
    unnorm_key: str | None
    dtype: str | None
    device: str | None
    attention: Literal["sdpa", "eager"]
    vision_towers: Sequence[Mapping[str, Any]] | None

    def __post_init__(self) -> None:
        if self.attention not in ("sdpa", "eager"):
            raise ConfigError(f"policy.attention must be sdpa or eager; got {self.attention!r}.")


class Opened:
    """A checkpoint whose settings have been read; its weights are still to be loaded.

    Args:
        loading: What was asked for.
        action_size: Entries of an action, for random weights.

    Raises:
        DependencyError: A package is missing.
        ConfigError: See `find_checkpoint`, `read_config`.
        PolicyError: A file is damaged.
    """

    def __init__(self, loading: Loading, action_size: int) -> None:
        require(_PACKAGES, EXTRA)
        from ..network.devices import choose_device, choose_dtype

        self.loading = loading
        self.device: torch.device = choose_device(loading.device)
        self.dtype: torch.dtype = choose_dtype(loading.dtype, self.device)
        self.checkpoint: Checkpoint | None = None
        self.config: ModelConfig
        self.encode: PromptEncoder
        if loading.checkpoint.startswith(_RANDOM):
            from .random_weights import DATA_SET, encode_words, random_config

            self.config, self.encode, key = random_config(loading.checkpoint, action_size), encode_words, DATA_SET
        else:
            self.checkpoint = find_checkpoint(loading.checkpoint, EXTRA)
            self.config = read_config(self.checkpoint.folder, loading.vision_towers)
            self.encode = PromptTokenizer(self.checkpoint.folder / "tokenizer.json")
            key = self.config.statistics.resolve(loading.unnorm_key)
        self.unnorm_key = key

    def proprio_scale(self, oft: OftConfig) -> Scale:
        """The scale of the robot's state.

        Raises:
            PolicyError: The statistics are missing, of the wrong width or not finite.
        """
        size = oft.platform.proprio_size
        if self.checkpoint is None:
            return Scale(np.full(size, -1.0), np.full(size, 1.0), np.ones(size, bool), OFT_EPSILON)
        return self.config.statistics.scale(self.unnorm_key, "proprio", size, oft.platform.bounds, OFT_EPSILON)

    def weights(self, module: nn.Module) -> WeightSource:
        """Where the weights of an OpenVLA come from."""
        from ..network.weights import SafetensorsFolder

        return self.random_source(module) if self.checkpoint is None else SafetensorsFolder(self.checkpoint.folder)

    def oft_weights(self, film: bool, components: str | None, step: str | None) -> OftSources:
        """Where the weights of an OpenVLA-OFT come from; see `CheckpointSources`."""
        from .oft import CheckpointSources

        if self.checkpoint is None:
            return _RandomSources(self)
        folder = self.checkpoint.folder
        return CheckpointSources(self.config, film, folder, Path(components).expanduser() if components else folder, step)

    def random_source(self, module: nn.Module) -> WeightSource:
        """Weights for a module of a network with random weights."""
        from ..network.weights import RandomSource

        return RandomSource(module, self.device, self.dtype, self.loading.checkpoint)

    def prompts(self, observations: Sequence[PolicyObservation]) -> list[tuple[int, ...]]:
        """Token ids of each observation's prompt.

        Raises:
            PolicyError: An instruction is empty.
        """
        return [self.encode(build_prompt(observation["instruction"], self.config.prompt)) for observation in observations]

    def provenance(self) -> dict[str, Any]:
        """What the network's numbers depend on, as plain JSON values."""
        from ..network.devices import device_name

        found = self.checkpoint
        return {
            "checkpoint": self.loading.checkpoint,
            "checkpoint_commit": found.commit if found else None,
            "checkpoint_sha256": found.sha256() if found else None,
            "unnorm_key": self.unnorm_key,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": device_name(self.device),
            "attention": self.loading.attention,
            "packages": {name: version(name) for name in _PACKAGES},
        }


class _RandomSources:
    """Random weights for every part of an OpenVLA-OFT."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    def vla(self, module: nn.Module) -> WeightSource:
        return self._opened.random_source(module)

    def component(self, name: str, module: nn.Module) -> WeightSource:
        return self._opened.random_source(module)
