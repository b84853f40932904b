"""Shape of a RoboVLMs network and what surrounds it: from upstream's two JSON files, or as stored beside converted weights.

Upstream's configuration says what the policy is (window, chunk, cameras, scale of the actions), the ``config.json`` of
microsoft/kosmos-2-patch14-224 what the backbone is; the number of attention heads cannot be seen from weights. Names are those of
Robot-VLAs/RoboVLMs 8adc1d28 (robovlms/train/base_trainer.py, eval/calvin/model_wrapper.py), defaults those of the released files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from ...errors import ConfigError, PolicyError
from ..network.json_files import read_json

MODEL_TYPE = "robovlms"
IMAGE_SIZE = 224
PATCH_SIZE = 14

# What a configuration must say for the network to be the one that is built here; null and absent are the same.
_EXPECTED: dict[str, Any] = {
    "robovlm_name": "RoboKosMos",
    "model": "kosmos",
    "image_size": IMAGE_SIZE,
    "act_head.type": "LSTMDecoder",
    "act_head.action_dim": 7,
    "act_head.action_space": "continuous",
    "act_head.latent": 1,
    "act_head.down_sample": "none",
    "act_head.with_history": True,
    "act_head.history_type": "post",
}
# What is not supported if it is set to anything else.
_NOT_SUPPORTED: dict[str, Any] = {
    "use_vision_resampler": False,
    "use_state": False,
    "use_mu_law": False,
    "tcp_rel": False,
    "action_scale": 1.0,
    "act_encoder": None,
    "fwd_head": None,
    "train_setup.lora_enable": False,
}
# Parts of names of training runs, which the files carry along, and the settings that they repeat.
_SAID_BY_NAMES = {"window_size": re.compile(r"(?:ws-|hist=)(\d+)"), "fwd_pred_next_n": re.compile(r"act[-=](\d+)")}

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class TextConfig:
    """Shape of the language model; the defaults are Kosmos-2's, spelled out so that no library's default can change a network."""

    vocab_size: int = 65037
    max_position_embeddings: int = 2048
    embed_dim: int = 2048
    layers: int = 24
    ffn_dim: int = 8192
    attention_heads: int = 32
    layer_norm_eps: float = 1e-5
    scale_embedding: bool = True
    pad_token_id: int = 1


@dataclass(frozen=True)
class VisionConfig:
    """Shape of the vision transformer; the defaults are those of Kosmos-2."""

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    layer_norm_eps: float = 1e-5


@dataclass(frozen=True)
class RoboVlmsConfig:
    """All that fixes the network and what surrounds it; the defaults are those of the released checkpoints.

    Attributes:
        window: Steps it looks back on, the present one included.
        chunk: Actions it predicts; only the first is executed.
        hand_camera: Whether it also sees the camera at the hand, where there is one.
        action_range: What -1 and 1 of the arm's actions stand for; None where they stand for themselves.
        head_size: Width of the LSTM.
        image_tokens: Positions that an image takes in the language model.
        precision: What upstream evaluates it in.
        text: The language model.
        vision: The vision transformer.
    """

    window: int = 16
    chunk: int = 10
    hand_camera: bool = False
    action_range: tuple[float, float] | None = None
    head_size: int = 1024
    image_tokens: int = 64
    precision: Precision = "float32"
    text: TextConfig = field(default_factory=TextConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)

    def write(self, file: Path) -> None:
        """Store as JSON."""
        file.write_text(json.dumps({"model_type": MODEL_TYPE, **asdict(self)}, indent=2) + "\n", encoding="utf-8")


def read_config(file: Path) -> RoboVlmsConfig:
    """Inverse of `RoboVlmsConfig.write`.

    Raises:
        PolicyError: The file is missing, damaged or of another kind of network.
    """
    values = read_json(file)
    if values.pop("model_type", None) != MODEL_TYPE:
        raise PolicyError(f"{file} does not describe a RoboVLMs; `vla-eval convert robovlms FILE.pt OUT` writes one that does.")
    if missing := [f.name for f in fields(RoboVlmsConfig) if f.name not in values]:
        raise PolicyError(f"{file} lacks {', '.join(missing)}; convert the checkpoint again.")
    return RoboVlmsConfig(
        window=_count(values, "window", file),
        chunk=_count(values, "chunk", file),
        hand_camera=_flag(values, "hand_camera", file),
        action_range=_range(values["action_range"], file),
        head_size=_count(values, "head_size", file),
        image_tokens=_count(values, "image_tokens", file),
        precision=_precision(values["precision"]),
        text=_part(TextConfig, values["text"], "text", file),
        vision=_part(VisionConfig, values["vision"], "vision", file),
    )


def read_published(file: Path, backbone_file: Path) -> RoboVlmsConfig:
    """What upstream's configuration and the backbone's ``config.json`` say together.

    Args:
        file: The JSON file that is published beside a checkpoint.
        backbone_file: ``config.json`` of the Kosmos-2 that it was trained from.

    Raises:
        PolicyError: A file is missing or damaged, or contradicts itself.
        ConfigError: The network is another one than Kosmos-2 with an LSTM head.
    """
    values = read_json(file)
    for name, expected in (*_EXPECTED.items(), *_NOT_SUPPORTED.items()):
        found = _lookup(values, name)
        if found != expected and not (name in _NOT_SUPPORTED and found is None):
            raise ConfigError(
                f"{file} describes another network: {name} is {found!r}; policy robovlms reads a RoboKosMos with an LSTM policy "
                f"head, where it is {expected!r}."
            )
    window, chunk = _count(values, "window_size", file), _count(values, "fwd_pred_next_n", file)
    _check_names(values, file)
    text, vision, image_tokens = _backbone(backbone_file)
    return RoboVlmsConfig(
        window=window,
        chunk=chunk,
        hand_camera=_flag(values, "use_hand_rgb", file),
        action_range=_published_range(values, file),
        head_size=_count(values, "act_head.hidden_size", file) if _lookup(values, "act_head.hidden_size") is not None else 1024,
        image_tokens=image_tokens,
        precision=_precision(_lookup(values, "trainer.precision")),
        text=text,
        vision=vision,
    )


def _check_names(values: Mapping[str, Any], file: Path) -> None:
    """A window or chunk is nowhere in the weights (of a chunk there is a trace); but the files carry names that repeat them."""
    for setting, pattern in _SAID_BY_NAMES.items():
        for key in ("raw_config_path", "config", "exp_name"):
            said = pattern.search(str(values.get(key) or ""))
            if said and int(said[1]) != values[setting]:
                raise PolicyError(
                    f"{file} contradicts itself: {setting} is {values[setting]}, but its {key} says {said[0]!r}. It belongs to "
                    "another checkpoint, or was edited; take the one that was published with the weights."
                )


def _published_range(values: Mapping[str, Any], file: Path) -> tuple[float, float] | None:
    if not values.get("norm_action"):
        return None
    return _range([values.get("norm_min"), values.get("norm_max")], file)


def _backbone(file: Path) -> tuple[TextConfig, VisionConfig, int]:
    values = read_json(file)
    if values.get("model_type") != "kosmos-2":
        raise ConfigError(f"{file} is of a {values.get('model_type')!r}; the backbone must be a Kosmos-2 (model_type 'kosmos-2').")
    activations = (_lookup(values, "text_config.activation_function"), _lookup(values, "vision_config.hidden_act"))
    sizes = (_lookup(values, "vision_config.image_size"), _lookup(values, "vision_config.patch_size"))
    for found, expected in zip((*activations, *sizes), ("gelu", "quick_gelu", IMAGE_SIZE, PATCH_SIZE), strict=True):
        if found not in (None, expected):
            raise ConfigError(f"{file} describes another network than Kosmos-2: it says {found!r} where {expected!r} is expected.")
    text = _part(TextConfig, values.get("text_config") or {}, "text_config", file)
    vision = _part(VisionConfig, values.get("vision_config") or {}, "vision_config", file)
    return text, vision, _count({"latent_query_num": 64, **values}, "latent_query_num", file)


_Part = TypeVar("_Part", TextConfig, VisionConfig)


def _part(kind: type[_Part], values: Any, name: str, file: Path) -> _Part:
    """The fields that a part of the network has; a file of transformers holds many more, and leaves out what is a default."""
    if not isinstance(values, Mapping):
        raise PolicyError(f"{file}: {name} must be an object; got {values!r}.")
    known = {f.name: f.default for f in fields(kind)}
    wrong = [f"{key}={values[key]!r}" for key, default in known.items() if key in values and not _alike(values[key], default)]
    if wrong:
        raise PolicyError(f"{file}: {name} has values of the wrong kind: {', '.join(wrong)}.")
    return kind(**{key: values[key] for key in known if key in values})


def _alike(value: Any, default: Any) -> bool:
    if type(default) is float:
        return type(value) in (int, float) and value > 0
    return type(value) is type(default) and (type(value) is bool or value > 0)


def _lookup(values: Mapping[str, Any], dotted: str) -> Any:
    found: Any = values
    for key in dotted.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _count(values: Mapping[str, Any], name: str, file: Path) -> int:
    found = _lookup(values, name)
    if type(found) is not int or found < 1:
        raise PolicyError(f"{file}: {name} must be a number from 1; got {found!r}.")
    return found


def _flag(values: Mapping[str, Any], name: str, file: Path) -> bool:
    found = values.get(name)
    if type(found) is not bool:
        raise PolicyError(f"{file}: {name} must be true or false; got {found!r}.")
    return found


def _range(found: Any, file: Path) -> tuple[float, float] | None:
    if found is None:
        return None
    numbers = isinstance(found, list) and len(found) == 2 and all(type(value) in (int, float) for value in found)
    if not numbers or not found[0] < found[1]:
        raise PolicyError(f"{file}: the range of the actions (norm_min, norm_max) must be two rising numbers; got {found!r}.")
    return float(found[0]), float(found[1])


def _precision(found: Any) -> Precision:
    """Upstream's rule: anything but these names is float32, "16" included."""
    short: dict[Any, Precision] = {"bf16": "bfloat16", "fp16": "float16", "bfloat16": "bfloat16", "float16": "float16"}
    return short.get(found, "float32") if isinstance(found, str) else "float32"
