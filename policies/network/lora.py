"""Low-rank adapters (LoRA) in the layout of PEFT, added to the weights they tune as those are read.

The arithmetic is that of merging with PEFT 0.11 (``LoraLayer.get_delta_weight``): W + s B A with s = alpha / r, or alpha / sqrt(r)
for rank-stabilised adapters, the product in float32 and the sum rounded to the weight's own dtype. PEFT itself is not needed, and
an adapter that does anything else is refused rather than read in part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, PolicyError
from .json_files import read_json

if TYPE_CHECKING:
    import torch

    from .weights import WeightSource

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_TENSOR = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(\.default)?\.weight")
# Initialisations that leave the base as it was; the others move part of it into the adapter, so that adding it back is not enough.
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
_UNSUPPORTED = ("use_dora", "fan_in_fan_out", "modules_to_save", "layer_replication", "trainable_token_indices", "megatron_config")


@dataclass(frozen=True)
class AdapterConfig:
    """What ``adapter_config.json`` says.

    Attributes:
        folder: Holds it and the weights.
        base: The checkpoint that it tunes, as the training named it; None if it does not say.
        revision: Of the base on the hub, if it says.
        rank: r, where no pattern says otherwise.
        alpha: Numerator of the factor, likewise.
        rank_pattern: Ranks by pattern of module name.
        alpha_pattern: Alphas likewise.
        stabilised: Whether the factor is alpha / sqrt(r).
    """

    folder: Path
    base: str | None
    revision: str | None
    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    stabilised: bool

    def factor(self, module: str) -> float:
        """What B A is multiplied with."""
        rank, alpha = _of_pattern(self.rank_pattern, module, self.rank), _of_pattern(self.alpha_pattern, module, self.alpha)
        return float(alpha / (rank**0.5 if self.stabilised else rank))


def read_adapter(folder: Path) -> AdapterConfig:
    """Read an adapter's settings.

    Raises:
        ConfigError: It is an adapter of another kind, or does what is not supported here; its file is named.
        PolicyError: A file is missing or damaged.
    """
    file = folder / CONFIG_FILE
    values = read_json(file)
    if str(values.get("peft_type")).upper() != "LORA":
        raise ConfigError(f"{file} describes an adapter of type {values.get('peft_type')!r}; only LORA can be merged here.")
    unsupported = [name for name in _UNSUPPORTED if values.get(name)]
    if values.get("bias", "none") != "none":
        unsupported.append("bias")
    if values.get("init_lora_weights") not in _PLAIN_STARTS:
        unsupported.append("init_lora_weights")
    if unsupported:
        said = ", ".join(f"{name}={values[name]!r}" for name in unsupported)
        raise ConfigError(f"{file} asks for {said}, which is not merged here; merge it with PEFT (merge_and_unload) and save that.")
    if not (folder / WEIGHTS_FILE).is_file():
        there = [name for name in ("adapter_model.bin", "adapter_model.pt") if (folder / name).is_file()]
        found = f"; {there[0]} may hold Python objects and is not read: save it again with safe_serialization=True" if there else ""
        raise PolicyError(f"{folder} has {CONFIG_FILE} but no {WEIGHTS_FILE}{found}.")
    try:
        return AdapterConfig(
            folder,
            values.get("base_model_name_or_path") or None,
            values.get("revision") or None,
            int(values["r"]),
            float(values["lora_alpha"]),
            dict(values.get("rank_pattern") or {}),
            dict(values.get("alpha_pattern") or {}),
            bool(values.get("use_rslora")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyError(f"{file} lacks or garbles {error}.") from error


class Merged:
    """Weights with an adapter added in.

    Args:
        base: The weights that the adapter tunes.
        adapter: Its settings.
        left_out: Prefix of modules whose update another file already holds.

    Raises:
        PolicyError: The adapter tunes what the base has not, holds other tensors than pairs of A and B, or is damaged.
    """

    def __init__(self, base: WeightSource, adapter: AdapterConfig, left_out: str | None = None) -> None:
        from .weights import open_safetensors

        self._base, self._adapter, self._file = base, adapter, adapter.folder / WEIGHTS_FILE
        sides: dict[str, dict[str, str]] = {}
        with open_safetensors(self._file) as opened:
            for name in opened.keys():  # noqa: SIM118 (not a mapping)
                match = _TENSOR.fullmatch(name)
                if match is None:
                    raise PolicyError(
                        f"{self._file} holds {name!r}, which is no part of a LoRA of linear layers; merge it with PEFT."
                    )
                module = match["module"].removeprefix(_PREFIX)
                if left_out is None or not module.startswith(left_out):
                    sides.setdefault(f"{module}.weight", {})[match["side"]] = name
        self._sides = sides
        self._check()

    @property
    def where(self) -> str:
        """Both places."""
        return f"{self._base.where} with {self._file}"

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Those of the base."""
        return self._base.shapes

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """The named tensors, tuned where the adapter tunes them."""
        from .weights import open_safetensors

        with open_safetensors(self._file) as opened:
            for name, tensor in self._base.read(names):
                if name in self._sides:
                    down, up = (opened.get_tensor(self._sides[name][side]).float() for side in "AB")
                    update = self._adapter.factor(name.removesuffix(".weight")) * (up.flatten(1) @ down.flatten(1))
                    yield name, (tensor.float() + update.view_as(tensor)).to(tensor.dtype)
                else:
                    yield name, tensor

    def _check(self) -> None:
        if not self._sides:
            raise PolicyError(f"{self._file} holds no adapter weights.")
        from .weights import open_safetensors

        with open_safetensors(self._file) as opened:
            for weight, sides in self._sides.items():
                if set(sides) != {"A", "B"}:
                    raise PolicyError(f"{self._file} has only one of lora_A and lora_B for {weight}; it is cut short.")
                if weight not in self._base.shapes:
                    raise PolicyError(
                        f"{self._file} tunes {weight}, which {self._base.where} does not have: it belongs to another base."
                    )
                down, up = (tuple(opened.get_slice(sides[side]).get_shape()) for side in "AB")
                wanted = self._base.shapes[weight]
                rank = _of_pattern(self._adapter.rank_pattern, weight.removesuffix(".weight"), self._adapter.rank)
                if (up[0], *down[1:]) != wanted or not up[1] == down[0] == rank:
                    raise PolicyError(
                        f"{self._file}: the update of {weight} has shapes {list(up)} and {list(down)}, which do not make "
                        f"{list(wanted)} at rank {rank}: it belongs to another base, or {CONFIG_FILE} to another adapter."
                    )


def _of_pattern(patterns: Mapping[str, Any], module: str, default: float) -> float:
    """The value of the first pattern that a module's name ends with, as PEFT matches them."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), default)
