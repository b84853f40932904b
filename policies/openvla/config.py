"""What a checkpoint's JSON files say, checked: towers, language model, image normalisation, statistics. No torch, no foreign code.

Names and defaults are those of openvla/openvla c8f03f48 (prismatic/extern/hf/) on transformers 4.40.1 and timm 0.9.10; they are
spelled out because a later default of either library must not change a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from ..._registry import unknown_name
from ...edges.settings import Count, check_settings
from ...errors import ConfigError, PolicyError
from ..network.json_files import read_json
from ..network.layouts import other_layout
from .statistics import Statistics

IMAGE_SIZE = 224
PATCH_SIZE = 14
PATCHES = (IMAGE_SIZE // PATCH_SIZE) ** 2

# The classes that official checkpoints name in `auto_map`; vlagym has its own in their place and never imports theirs.
_KNOWN_CLASSES = {
    "OpenVLAConfig",
    "OpenVLAForActionPrediction",
    "PrismaticImageProcessor",
    "PrismaticProcessor",
}


@dataclass(frozen=True)
class TowerConfig:
    """Shape of one vision transformer.

    Attributes:
        embed_dim: Width.
        depth: Number of blocks in the checkpoint; the last one and the final norm are not used.
        heads: Attention heads.
        mlp_ratio: Width of the hidden layer over `embed_dim`.
        registers: Number of register tokens beside the class token; None for a tower that has neither.
        layer_scale: Whether the branches of a block are scaled.
    """

    embed_dim: Count
    depth: Count
    heads: Count
    mlp_ratio: Annotated[float, Meta(gt=0, le=100)] = 4.0
    registers: Count | None = None
    layer_scale: bool = False

    @property
    def mlp_dim(self) -> int:
        """Width of the hidden layer of a block."""
        return int(self.embed_dim * self.mlp_ratio)


TOWERS = {
    "vit_large_patch14_reg4_dinov2.lvd142m": TowerConfig(1024, 24, 16, registers=4, layer_scale=True),
    "vit_so400m_patch14_siglip_224": TowerConfig(1152, 27, 16, mlp_ratio=3.7362),
}


@dataclass(frozen=True)
class LanguageConfig:
    """Shape of the Llama; the defaults are transformers 4.40.1's, which a checkpoint's ``text_config`` leaves out."""

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    max_position_embeddings: int = 2048
    attention_bias: bool = False


@dataclass(frozen=True)
class ModelConfig:
    """All that fixes the network and what surrounds it.

    Attributes:
        towers: One or two vision towers; their features are concatenated.
        language: The language model.
        pad_to_multiple_of: Rows of the vocabulary that were added as padding; action tokens count down from what is left.
        action_bins: Edges of the bins of the action tokenizer.
        image_means: Per tower, per channel, in [0, 1].
        image_stds: Likewise.
        statistics: Of the data sets the checkpoint was trained on.
        prompt: ``openvla``, or ``openvla-v01`` for the first release.
    """

    towers: tuple[TowerConfig, ...]
    language: LanguageConfig
    pad_to_multiple_of: int
    action_bins: int
    image_means: tuple[tuple[float, ...], ...]
    image_stds: tuple[tuple[float, ...], ...]
    statistics: Statistics
    prompt: str

    @property
    def vision_dim(self) -> int:
        """Width of the concatenated features of the towers."""
        return sum(tower.embed_dim for tower in self.towers)

    @property
    def first_text_id(self) -> int:
        """Vocabulary size without padding; action token d (from 1) has the id ``first_text_id - d``."""
        return self.language.vocab_size - self.pad_to_multiple_of


def read_config(folder: Path, vision_towers: Sequence[Mapping[str, Any]] | None = None, base: Path | None = None) -> ModelConfig:
    """Read ``config.json``, ``preprocessor_config.json`` and ``dataset_statistics.json`` of a checkpoint.

    Args:
        folder: The checkpoint.
        vision_towers: Fields of `TowerConfig` to replace, one mapping per tower, for networks with other towers than the official
            ones: the number of attention heads cannot be seen from a checkpoint.
        base: The checkpoint whose files count where a fine-tune wrote none of its own; statistics are the fine-tune's first.

    Raises:
        PolicyError: A file is missing or damaged.
        ConfigError: The checkpoint is not an OpenVLA, wants to run its own code, or needs something that is not supported.
    """
    folders = [folder, base] if base else [folder]
    config = read_json(_first_with("config.json", folders))
    _check_kind(config, folder)
    towers = _towers(config, vision_towers)
    means, stds = _normalisation(read_json(_first_with("preprocessor_config.json", folders)), folder, len(towers))
    norm_stats = next(filter(None, map(_own_statistics, folders)), None)
    if not isinstance(norm_stats, Mapping) or not norm_stats:
        raise PolicyError(f"{folder} has neither dataset_statistics.json nor norm_stats in config.json: actions have no scale.")
    return ModelConfig(
        towers=towers,
        language=_language(config),
        pad_to_multiple_of=int(config.get("pad_to_multiple_of", 64)),
        action_bins=int(config.get("n_action_bins", 256)),
        image_means=means,
        image_stds=stds,
        statistics=Statistics(norm_stats, str(folder)),
        prompt="openvla-v01" if "openvla-v01" in f"{config.get('_name_or_path')} {folder.name}" else "openvla",
    )


def _first_with(name: str, folders: Sequence[Path]) -> Path:
    """A file in the first folder that has it; where none has, in the first, so that reading it says what is missing.

    Raises:
        ConfigError: None has it, and the first folder is of a layout that is known and not ours.
    """
    found = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if found is None and folders[0].is_dir() and (explained := other_layout(folders[0])):
        raise ConfigError(explained)
    return found or folders[0] / name


def _own_statistics(folder: Path) -> Any:
    """The statistics that a folder itself holds, in the one file or in the other; None if in neither."""
    for name in ("dataset_statistics.json", "config.json"):
        if (folder / name).is_file():
            values = read_json(folder / name)
            return values if name == "dataset_statistics.json" else values.get("norm_stats")
    return None


def _check_kind(config: Mapping[str, Any], folder: Path) -> None:
    if config.get("model_type") != "openvla":
        raise ConfigError(f"{folder} is a {config.get('model_type')!r} checkpoint; policy openvla reads model_type 'openvla'.")
    foreign = {
        str(value)
        for value in [*dict(config.get("auto_map") or {}).values(), *(config.get("architectures") or [])]
        if str(value).rpartition(".")[2] not in _KNOWN_CLASSES
    }
    if foreign:
        raise ConfigError(
            f"{folder} asks for code of its own ({', '.join(sorted(foreign))}), which vlagym does not run. If it is a plain "
            "OpenVLA, remove these entries from auto_map and architectures in its config.json."
        )


def _towers(config: Mapping[str, Any], replacements: Sequence[Mapping[str, Any]] | None) -> tuple[TowerConfig, ...]:
    names = list(config.get("timm_model_ids") or [])
    if list(config.get("image_sizes") or []) != [IMAGE_SIZE] * len(names) or not 1 <= len(names) <= 2:
        raise ConfigError(f"one or two towers of {IMAGE_SIZE} pixels are supported; got {names} of {config.get('image_sizes')}.")
    if bool(config.get("use_fused_vision_backbone")) != (len(names) == 2) or any(config.get("timm_override_act_layers") or []):
        raise ConfigError("use_fused_vision_backbone must be set for two towers and only then, with timm_override_act_layers null.")
    for name in names:
        if name not in TOWERS:
            raise unknown_name("vision tower", name, TOWERS)
    towers = [TOWERS[name] for name in names]
    if replacements is None:
        return tuple(towers)
    if len(replacements) != len(towers):
        raise ConfigError(f"vision_towers must describe {len(towers)} towers, one entry each; got {len(replacements)}.")
    for changes in replacements:
        check_settings("policy.vision_towers.", TowerConfig, changes)
    try:
        return tuple(replace(tower, **dict(changes)) for tower, changes in zip(towers, replacements, strict=True))
    except TypeError as error:
        known = ", ".join(TowerConfig.__dataclass_fields__)
        raise ConfigError(f"vision_towers takes {known}; got {[dict(changes) for changes in replacements]}.") from error


def _language(config: Mapping[str, Any]) -> LanguageConfig:
    text = dict(config.get("text_config") or {})
    if text.get("model_type", "llama") != "llama" or text.get("rope_scaling") or text.get("hidden_act", "silu") != "silu":
        raise ConfigError("the language model must be a plain Llama (silu, no rope_scaling); config.json says otherwise.")
    return LanguageConfig(**{name: text[name] for name in LanguageConfig.__dataclass_fields__ if name in text})


def _normalisation(processor: Mapping[str, Any], folder: Path, towers: int) -> tuple[tuple[tuple[float, ...], ...], ...]:
    """Means and standard deviations as stored: those of official checkpoints went through bfloat16 and differ from the nominal."""
    try:
        resize, normalize = processor["tvf_resize_params"], processor["tvf_normalize_params"]
        sizes = {(*entry["size"], entry["interpolation"]) for entry in resize}
        means = tuple(tuple(float(v) for v in entry["mean"]) for entry in normalize)
        stds = tuple(tuple(float(v) for v in entry["std"]) for entry in normalize)
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyError(f"{folder}/preprocessor_config.json lacks or garbles {error}.") from error
    bicubic = 3
    if sizes != {(IMAGE_SIZE, IMAGE_SIZE, bicubic)} or processor.get("image_resize_strategy") != "resize-naive":
        raise ConfigError(f"{folder}/preprocessor_config.json must resize naively to {IMAGE_SIZE} pixels, bicubic; got {sizes}.")
    if len(means) != towers or any(len(values) != 3 for values in (*means, *stds)) or any(v <= 0 for s in stds for v in s):
        raise PolicyError(f"{folder}/preprocessor_config.json must hold 3 means and 3 positive stds for each of {towers} towers.")
    return means, stds
