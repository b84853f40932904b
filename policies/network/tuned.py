"""A checkpoint that may be what a LoRA fine-tune left: an adapter alone, or a run's folder with heads and statistics around one.

OpenVLA-OFT's training (moojink/openvla-oft 213c5ff8, vla-scripts/finetune.py) writes ``lora_adapter/`` beside heads, statistics and
processor, and merges into the same folder, at once or later; so weights beside ``lora_adapter/`` are merged ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from .checkpoints import Checkpoint, find_checkpoint, folder_sha256
from .layouts import other_layout
from .lora import CONFIG_FILE, AdapterConfig, read_adapter

ADAPTER_FOLDER = "lora_adapter"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class TunedCheckpoint:
    """A checkpoint, the adapter that it is or holds, and the base that this tunes.

    Attributes:
        own: What was asked for.
        adapter: To be added to the base's weights; None where the weights are whole.
        base: The checkpoint underneath; None where there is no adapter.
    """

    own: Checkpoint
    adapter: AdapterConfig | None = None
    base: Checkpoint | None = None

    @property
    def weights_folder(self) -> Path:
        """Where the safetensors are."""
        return (self.base or self.own).folder

    @property
    def base_folder(self) -> Path | None:
        """Where the files are that the fine-tune did not write anew."""
        return self.base.folder if self.base else None

    def file(self, name: str) -> Path:
        """A file of the checkpoint: the fine-tune's own, else its base's."""
        own = self.own.folder / name
        return own if own.is_file() or self.base is None else self.base.folder / name

    def provenance(self) -> dict[str, Any]:
        """Every part and its hash, as plain JSON values."""
        parts: dict[str, Any] = {
            "checkpoint": self.own.name,
            "checkpoint_commit": self.own.commit,
            "checkpoint_sha256": self.own.sha256(),
        }
        beside = self.own.folder / ADAPTER_FOLDER
        if self.adapter and self.base:
            parts["adapter_sha256"] = folder_sha256(self.adapter.folder)
            parts |= {"base": self.base.name, "base_commit": self.base.commit, "base_sha256": self.base.sha256()}
        elif beside.is_dir():
            parts["adapter"] = f"{ADAPTER_FOLDER} is merged into the weights beside it, as training leaves it"
        return parts


def open_tuned(own: Checkpoint, base: str | None, extra: str) -> TunedCheckpoint:
    """Find what a checkpoint consists of.

    Args:
        own: The checkpoint that was asked for.
        base: Setting ``policy.base``: the base to take instead of the one that the adapter names.
        extra: The extra of vlagym that brings huggingface_hub.

    Raises:
        ConfigError: The base cannot be found, an adapter lies among whole weights, or the folder is of another layout.
        PolicyError: The adapter is damaged.
    """
    whole = any((own.folder / name).is_file() for name in _WEIGHTS)
    places = [folder for folder in (own.folder, own.folder / ADAPTER_FOLDER) if (folder / CONFIG_FILE).is_file()]
    if whole and own.folder in places:
        raise ConfigError(
            f"{own.folder} holds both whole weights and an adapter ({CONFIG_FILE}): which of them counts cannot be told. Move one "
            "of them into a folder of its own."
        )
    if whole or not places:
        if base is not None:
            raise ConfigError(f"policy.base is the checkpoint that an adapter tunes; {own.folder} holds no {CONFIG_FILE} to merge.")
        if not whole and (explained := other_layout(own.folder)):
            raise ConfigError(explained)
        return TunedCheckpoint(own)
    adapter = read_adapter(places[0])
    return TunedCheckpoint(own, adapter, _find_base(adapter, base, extra))


def _find_base(adapter: AdapterConfig, setting: str | None, extra: str) -> Checkpoint:
    file = adapter.folder / CONFIG_FILE
    named = setting or adapter.base
    if named is None:
        raise ConfigError(f"{file} does not name the checkpoint that the adapter tunes; give it as policy.base.")
    if setting is None and adapter.revision:
        named = f"{named}@{adapter.revision}"
    try:
        found = find_checkpoint(named, extra)
    except ConfigError as error:
        raise ConfigError(
            f"the adapter in {adapter.folder} tunes {named}, which is not here. Give its folder or its name on the hub as "
            f"policy.base. ({error})"
        ) from error
    if not any((found.folder / name).is_file() for name in _WEIGHTS):
        raise ConfigError(f"{file} names {named} as its base, which holds no whole weights ({' or '.join(_WEIGHTS)}).")
    return found
