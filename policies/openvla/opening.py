"""A checkpoint being opened: its settings read and checked, its tokenizer loaded, its weights named but still on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...envs.suite import Suite
from ...errors import ConfigError
from ..base import PolicyObservation
from ..network.checkpoints import find_checkpoint, folder_sha256
from ..network.json_files import read_json
from ..network.layouts import unused_files
from ..network.lora import CONFIG_FILE, Merged
from ..network.tuned import ADAPTER_FOLDER, TunedCheckpoint, open_tuned
from ..packages import require, versions
from .config import ModelConfig, read_config
from .platforms import OftConfig
from .statistics import OFT_EPSILON, Scale, Statistics
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
    base: str | None
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
        self.checkpoint: TunedCheckpoint | None = None
        self.config: ModelConfig
        self.encode: PromptEncoder
        if loading.checkpoint.startswith(_RANDOM):
            from .random_weights import DATA_SET, encode_words, random_config

            self.config, self.encode, key = random_config(loading.checkpoint, action_size), encode_words, DATA_SET
        else:
            self.checkpoint = open_tuned(find_checkpoint(loading.checkpoint, EXTRA), loading.base, EXTRA)
            self.config = read_config(self.checkpoint.own.folder, loading.vision_towers, self.checkpoint.base_folder)
            self.encode = PromptTokenizer(self.checkpoint.file("tokenizer.json"))
            key = self.config.statistics.resolve(loading.unnorm_key)
        self.unnorm_key = key
        self._components: Path | None = None

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
        """Where the weights of an OpenVLA come from.

        Raises:
            ConfigError: The checkpoint is an OpenVLA-OFT's.
        """
        from ..network.weights import SafetensorsFolder

        if self.checkpoint is None:
            return self.random_source(module)
        self._refuse_unused(self.checkpoint.own.folder, {"*--*_checkpoint.pt": "policy=openvla_oft"})
        source = SafetensorsFolder(self.checkpoint.weights_folder)
        return Merged(source, self.checkpoint.adapter) if self.checkpoint.adapter else source

    def check_weights(self) -> None:
        """Make sure that the files of weights are there and whole, as far as their headers say.

        Raises:
            ConfigError: The folder is of another layout.
            PolicyError: A file is missing or cut short.
        """
        from ..network.weights import SafetensorsFolder

        if self.checkpoint is not None:
            SafetensorsFolder(self.checkpoint.weights_folder)

    def oft_weights(self, film: bool, components: str | None, step: str | None) -> OftSources:
        """Where the weights of an OpenVLA-OFT come from; see `CheckpointSources`."""
        from .oft import CheckpointSources

        if self.checkpoint is None:
            return _RandomSources(self)
        own, weights = self.checkpoint.own.folder, self.checkpoint.weights_folder
        if components:
            self._check_components(Path(components).expanduser(), own)
        where = self._components = Path(components).expanduser() if components else own
        return CheckpointSources(self.config, film, weights, where, step, self.checkpoint.adapter)

    def refuse_unused_parts(self, oft: OftConfig, components: str | None) -> None:
        """Make sure that every part of an OpenVLA-OFT that is there is used.

        Raises:
            ConfigError: One is not; its file is named, and the setting that decides.
        """
        if self.checkpoint is None:
            return
        unread = {
            "vision_backbone--*_checkpoint.pt": None if oft.film else "policy.film=true",
            "proprio_projector--*_checkpoint.pt": None if oft.proprio else "policy.proprio=true",
            "noisy_action_projector--*_checkpoint.pt": None if oft.head == "diffusion" else "policy.head=diffusion",
            "action_head--*_checkpoint.pt": None if oft.head != "discrete" else "policy.head=l1 or diffusion",
        }
        folder = Path(components).expanduser() if components else self.checkpoint.own.folder
        self._refuse_unused(folder, {pattern: setting for pattern, setting in unread.items() if setting})

    def _refuse_unused(self, folder: Path, unread: Mapping[str, str]) -> None:
        if found := unused_files(folder, unread):
            raise ConfigError(
                f"{found[0]} is part of this checkpoint and would not be used: the network would not be the one that was trained. "
                f"Set {found[1]}, or take the file out of the folder."
            )

    def _check_components(self, components: Path, own: Path) -> None:
        """Make sure that the components' folder holds nothing else that was trained with them and would be left out.

        Raises:
            ConfigError: It holds an adapter or other statistics.
        """
        if components.resolve() == own.resolve():
            return
        statistics = components / "dataset_statistics.json"
        left_out = [components / name for name in (ADAPTER_FOLDER, CONFIG_FILE) if (components / name).exists()]
        if statistics.is_file() and Statistics(read_json(statistics), "") != self.config.statistics:
            left_out.append(statistics)
        if left_out:
            raise ConfigError(
                f"{left_out[0]} was trained together with the components in {components} and would not be used with "
                f"policy.checkpoint={self.loading.checkpoint}. Give policy.checkpoint={components}, which brings its adapter, base "
                "and statistics, or put the component files alone into a folder."
            )

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

    def longest_prompt(self, suite: Suite) -> int:
        """Tokens of the longest prompt of a suite's tasks."""
        sentences = {task.instruction for task in suite.tasks()}
        return max(len(self.encode(build_prompt(sentence, self.config.prompt))) for sentence in sentences)

    def provenance(self) -> dict[str, Any]:
        """What the network's numbers depend on, as plain JSON values."""
        from ..network.devices import device_name

        found = self.checkpoint
        nothing = {"checkpoint": self.loading.checkpoint, "checkpoint_commit": None, "checkpoint_sha256": None}
        elsewhere = self._components if found and self._components != found.own.folder else None
        return {
            **(found.provenance() if found else nothing),
            **({"components_sha256": folder_sha256(elsewhere, "*_checkpoint.pt")} if elsewhere else {}),
            "unnorm_key": self.unnorm_key,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": device_name(self.device),
            "attention": self.loading.attention,
            "packages": versions(_PACKAGES),
        }


class _RandomSources:
    """Random weights for every part of an OpenVLA-OFT."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    def vla(self, module: nn.Module) -> WeightSource:
        return self._opened.random_source(module)

    def component(self, name: str, module: nn.Module) -> WeightSource:
        return self._opened.random_source(module)

    def check(self, oft: OftConfig) -> None:
        return None
