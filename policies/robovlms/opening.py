"""A checkpoint being opened: its settings read and checked, its tokenizer loaded, its weights named but still on disk.

It is a folder that `vla-eval convert robovlms` wrote, or a ``.pt`` as published: client state of DeepSpeed and Lightning around a
state dict, with upstream's JSON configuration beside it. A ``.pt`` holds neither tokenizer nor the shape of the backbone; both come
from the Kosmos-2 that it was trained from.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from ...errors import ConfigError, PolicyError
from ..network.checkpoints import files_sha256, find_checkpoint
from ..network.tokenizer import FileTokenizer, stand_in_ids
from ..packages import require
from .config import RoboVlmsConfig, TextConfig, VisionConfig, read_config, read_published

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..network.weights import StateDict, WeightSource

EXTRA = "robovlms"
PACKAGES = ("torch", "transformers", "safetensors", "tokenizers", "pillow")
RANDOM = "random:"
MAX_SENTENCE = 512  # tokens
# Where a published .pt keeps its weights, in upstream's order.
_STATE_DICTS = ("state_dict", "model_state_dict")
_ON_HUB = re.compile(r"([\w.-]+/[\w.-]+(?:@[\w./-]+)?):([\w./-]+\.pt)")
# Published weights whose configuration goes by another name.
_CONFIG_NAMES = {
    "kosmos_ph_bridge-post-train": "kosmos_ph_post_train_bridge",
    "kosmos_ph_google-robot-post-train": "kosmos_ph_post_train_google_robot",
}
_BOS_ID, _EOS_ID, _GROUNDING_ID = 0, 2, 64012
_SIZES = {
    "robovlms": RoboVlmsConfig(),
    "robovlms-200m": RoboVlmsConfig(
        head_size=512,
        text=TextConfig(embed_dim=768, layers=10, ffn_dim=3072, attention_heads=12),
        vision=VisionConfig(hidden_size=512, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=8),
    ),
}


class Published(NamedTuple):
    """The files of a checkpoint as published, found on this machine.

    Attributes:
        weights: The ``.pt``.
        settings: Upstream's JSON configuration.
        backbone: Folder of the Kosmos-2's ``config.json`` and ``tokenizer.json``.
        commits: Of the hub's repositories of weights and backbone; None for local files.
    """

    weights: Path
    settings: Path
    backbone: Path
    commits: tuple[str | None, str | None]

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's file."""
        return self.backbone / "tokenizer.json"

    def config(self) -> RoboVlmsConfig:
        """What its settings say; see `read_published`."""
        return read_published(self.settings, self.backbone / "config.json")

    def sha256(self) -> str:
        """Hash of the names and contents of all four files."""
        return files_sha256([self.weights, self.settings, self.backbone / "config.json", self.tokenizer])


@dataclass(frozen=True)
class Opened:
    """A checkpoint whose settings have been read.

    Attributes:
        config: What they say.
        encode: From a sentence to token ids.
        weights: Where the weights come from, given the network on the meta device, a device and a dtype.
        commits: Of the hub's repositories of weights and backbone; None for what is local.
        sha256: Computes a hash of all that was read; None for random weights.
    """

    config: RoboVlmsConfig
    encode: Callable[[str], tuple[int, ...]]
    weights: Callable[..., WeightSource]
    commits: tuple[str | None, str | None] = (None, None)
    sha256: Callable[[], str] | None = None


def open_checkpoint(checkpoint: str, config: str | None, backbone: str) -> Opened:
    """Find and read what a checkpoint consists of; see conf/policy/robovlms.yaml for the three arguments.

    Raises:
        DependencyError: A package is missing.
        ConfigError: Something is not there, or the network is another one.
        PolicyError: A file is damaged.
    """
    require(PACKAGES, EXTRA)
    if config is not None and not checkpoint.endswith(".pt"):
        raise ConfigError(f"policy.config belongs to a published .pt; policy.checkpoint={checkpoint} has its own config.json.")
    if checkpoint.startswith(RANDOM):
        return _open_random(checkpoint)
    if checkpoint.endswith(".pt"):
        published = find_published(checkpoint, config, backbone)
        encode = FileTokenizer(published.tokenizer, MAX_SENTENCE)
        weights = partial(_published_weights, published.weights)
        return Opened(published.config(), encode, weights, published.commits, published.sha256)
    found = find_checkpoint(checkpoint, EXTRA)
    described = read_config(found.folder / "config.json")
    encode = FileTokenizer(found.folder / "tokenizer.json", MAX_SENTENCE)
    return Opened(described, encode, partial(_converted_weights, found.folder), (found.commit, None), found.sha256)


def find_published(checkpoint: str, config: str | None, backbone: str) -> Published:
    """Find the files of a checkpoint as published, downloading what is on the hub and not here yet.

    Args:
        checkpoint: A ``.pt`` file, or ``OWNER/NAME@REVISION:FOLDER/FILE.pt`` on the hub.
        config: Its JSON configuration; None: of the same or its published name, beside it or in the folder ``configs`` next door.
        backbone: Folder or repository of the Kosmos-2.

    Raises:
        ConfigError: Something is not there.
    """
    weights, commit = _find_pt(checkpoint)
    settings = Path(config).expanduser() if config else _settings_of(weights)
    if not settings.is_file():
        raise ConfigError(f"policy.config={config}: there is no such file.")
    found = find_checkpoint(backbone, EXTRA, ["config.json", "tokenizer.json"])
    return Published(weights, settings, found.folder, (commit, found.commit))


def read_pt(file: Path) -> StateDict:
    """The weights in a published ``.pt`` under the network's names; nothing in the file is executed.

    Raises:
        PolicyError: The file is damaged, holds anything but such weights, or a name twice.
    """
    from ..network.weights import StateDict, load_pt

    loaded = load_pt(file, _STATE_DICTS)
    tensors = {name.removeprefix("model."): tensor for name, tensor in loaded.items()}
    if len(tensors) != len(loaded):
        raise PolicyError(f"{file} has weights both with and without 'model.' before their names: it is two checkpoints in one.")
    return StateDict(tensors, str(file))


def _find_pt(checkpoint: str) -> tuple[Path, str | None]:
    file = Path(checkpoint).expanduser()
    if file.is_file():
        return file, None
    match = _ON_HUB.fullmatch(checkpoint)
    if not match or ".." in PurePosixPath(match[2]).parts:
        raise ConfigError(
            f"policy.checkpoint={checkpoint}: there is no such file, and one on the hub has the form "
            "OWNER/NAME@REVISION:FOLDER/FILE.pt."
        )
    found = find_checkpoint(match[1], EXTRA, [match[2], "configs/*.json", f"{PurePosixPath(match[2]).parent}/*.json"])
    if not (found.folder / match[2]).is_file():
        raise ConfigError(f"policy.checkpoint={checkpoint}: the repository has no file {match[2]}.")
    return found.folder / match[2], found.commit


def _settings_of(weights: Path) -> Path:
    names = [f"{stem}.json" for stem in (weights.stem, _CONFIG_NAMES.get(weights.stem)) if stem]
    candidates = [folder / name for folder in (weights.parent, weights.parent.parent / "configs") for name in names]
    for file in candidates:
        if file.is_file():
            return file
    looked = ", ".join(map(str, candidates))
    raise ConfigError(f"{weights} has no configuration: none of {looked} is there. Give it as policy.config.")


def _open_random(name: str) -> Opened:
    from ..._registry import unknown_name

    size = name.removeprefix(RANDOM)
    if size not in _SIZES:
        raise unknown_name("size of random weights", size, _SIZES)
    return Opened(_SIZES[size], _encode_words, partial(_random_weights, name))


def _encode_words(sentence: str) -> tuple[int, ...]:
    """Token ids that stand in for Kosmos-2's."""
    return (_BOS_ID, _GROUNDING_ID, *stand_in_ids(sentence.removeprefix("<grounding>"), 4, _GROUNDING_ID), _EOS_ID)


def _random_weights(name: str, network: nn.Module, device: torch.device, dtype: torch.dtype) -> WeightSource:
    from ..network.weights import RandomSource

    return RandomSource(network, device, dtype, name)


def _published_weights(file: Path, network: nn.Module, device: torch.device, dtype: torch.dtype) -> WeightSource:
    return read_pt(file)


def _converted_weights(folder: Path, network: nn.Module, device: torch.device, dtype: torch.dtype) -> WeightSource:
    from ..network.weights import SafetensorsFolder

    return SafetensorsFolder(folder)
