"""Shape of an RT-1 and the meaning of its action tokens, as stored beside converted weights.

Sources: google-research/robotics_transformer 4569641b (transformer_network.py, tokenizers/action_tokenizer.py, configs/); the order
of the actions, which the configuration leaves open, is that of google-deepmind/open_x_embodiment 9eeb68b9 (models/rt1.py).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import numpy as np
from msgspec import Meta

from ...errors import PolicyError
from ..network.json_files import CHECKPOINT_JSON, read_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float32Array = NDArray[np.float32]

MODEL_TYPE = "rt1"


Size: TypeAlias = Annotated[int, Meta(ge=1, le=16384)]
Coefficient: TypeAlias = Annotated[float, Meta(gt=0, le=16)]


@dataclass(frozen=True)
class ActionPart:
    """A named part of an action.

    Attributes:
        name: E.g. ``world_vector``.
        size: Entries; of a discrete part, its classes.
        low: Smallest value of an entry.
        high: Largest.
        discrete: One token names a class, instead of one token per entry.
    """

    name: str
    size: Size
    low: float
    high: float
    discrete: bool = False

    @property
    def tokens(self) -> int:
        """Tokens that the part takes."""
        return 1 if self.discrete else self.size


ACTION_PARTS = (
    ActionPart("terminate_episode", 3, 0.0, 1.0, discrete=True),
    ActionPart("world_vector", 3, -1.0, 1.0),
    ActionPart("rotation_delta", 3, -math.pi / 2, math.pi / 2),
    ActionPart("gripper_closedness_action", 1, -1.0, 1.0),
    ActionPart("base_displacement_vertical_rotation", 1, -math.pi, math.pi),
    ActionPart("base_displacement_vector", 2, -1.0, 1.0),
)


@dataclass(frozen=True)
class Rt1Config:
    """Shape of the network; the defaults are those of the published ``rt1main``.

    Attributes:
        encoder_width: Width coefficient of the EfficientNet (B3: 1.2).
        encoder_depth: Depth coefficient (B3: 1.4).
        layers: Transformer layers.
        heads: Attention heads.
        key_size: Entries of a head's keys.
        model_size: Width of the transformer.
        window: Frames it looks back on, the present one included.
        vocabulary: Classes of an action token.
        token_size: Width of an image token, and of the instruction's embedding.
        image_tokens: Tokens per frame.
        action: Parts of an action, in the order of their tokens.
    """

    encoder_width: Coefficient = 1.2
    encoder_depth: Coefficient = 1.4
    layers: Size = 8
    heads: Size = 8
    key_size: Size = 128
    model_size: Size = 512
    window: Size = 6
    vocabulary: Size = 256
    token_size: Size = 512
    image_tokens: Size = 8
    action: tuple[ActionPart, ...] = ACTION_PARTS

    @property
    def action_tokens(self) -> int:
        """Tokens of an action."""
        return sum(part.tokens for part in self.action)

    @property
    def frame_tokens(self) -> int:
        """Positions that a frame and its action take."""
        return self.image_tokens + self.action_tokens

    @property
    def positions(self) -> int:
        """Length of the transformer's sequence."""
        return self.window * self.frame_tokens

    def detokenize(self, tokens: NDArray[np.integer[Any]]) -> dict[str, NDArray[Any]]:
        """Parts of an action from its tokens int[..., action_tokens].

        Returns:
            float32[..., size] per part; int32[..., size], one-hot, for a discrete one, where an unknown class counts as class 0.
        """
        parts: dict[str, NDArray[Any]] = {}
        start = 0
        for part in self.action:
            own = tokens[..., start : start + part.tokens]
            start += part.tokens
            if part.discrete:
                chosen = np.where(own[..., 0] >= part.size, 0, own[..., 0])
                parts[part.name] = np.eye(part.size, dtype=np.int32)[chosen]
            else:
                low, high = np.float32(part.low), np.float32(part.high)
                share = own.astype(np.float32) / np.float32(self.vocabulary - 1)
                parts[part.name] = share * (high - low) + low
        return parts

    def tokenize(self, parts: Mapping[str, NDArray[Any]]) -> NDArray[np.int32]:
        """Inverse of `detokenize` up to the width of a bin: values are clipped and rounded down."""
        tokens = []
        for part in self.action:
            values = np.asarray(parts[part.name])
            if part.discrete:
                tokens.append(values.argmax(axis=-1)[..., None].astype(np.int32))
            else:
                low, high = np.float32(part.low), np.float32(part.high)
                share = (np.clip(values.astype(np.float32), low, high) - low) / (high - low)
                tokens.append((share * np.float32(self.vocabulary - 1)).astype(np.int32))
        return np.concatenate(tokens, axis=-1)

    def write(self, file: Path) -> None:
        """Store as JSON."""
        file.write_text(json.dumps({"model_type": MODEL_TYPE, **asdict(self)}, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> Rt1Config:
        """Inverse of `write`.

        Raises:
            PolicyError: The file is missing, damaged or of another kind of network.
        """
        values = read_json(file)
        if values.get("model_type") != MODEL_TYPE:
            raise PolicyError(f"{file} does not describe an RT-1; `vla-eval convert rt1 SAVED_MODEL OUT` writes one that does.")
        missing = sorted({field.name for field in fields(cls)} - set(values))
        if missing:
            raise CHECKPOINT_JSON.fault(file, f"{missing[0]} is missing")
        config = CHECKPOINT_JSON.converted(file, values, cls)
        if any(not math.isfinite(bound) for part in config.action for bound in (part.low, part.high)):
            raise CHECKPOINT_JSON.fault(file, "action: a bound is not finite")
        return config
