"""Networks of known sizes with random weights: for measuring speed and memory without a download. They solve nothing.

``openvla-7b`` has the shapes of the official checkpoints; ``openvla-200m`` has the same structure at a size that a laptop runs.
"""

from __future__ import annotations

from ..._registry import unknown_name
from ..network.tokenizer import stand_in_ids
from .config import TOWERS, LanguageConfig, ModelConfig, TowerConfig
from .statistics import Statistics
from .tokens import BOS_ID, EMPTY_WORD_ID

PREFIX = "random:"
DATA_SET = "random"
_PADDED_VOCABULARY = 32064
_DINO, _SIGLIP = TOWERS["vit_large_patch14_reg4_dinov2.lvd142m"], TOWERS["vit_so400m_patch14_siglip_224"]
_SIZES: dict[str, tuple[tuple[TowerConfig, ...], LanguageConfig]] = {
    "openvla-7b": ((_DINO, _SIGLIP), LanguageConfig(vocab_size=_PADDED_VOCABULARY)),
    "openvla-200m": (
        (
            TowerConfig(192, 7, 3, registers=4, layer_scale=True),
            TowerConfig(216, 7, 3, mlp_ratio=_SIGLIP.mlp_ratio),
        ),
        LanguageConfig(_PADDED_VOCABULARY, 1024, 2752, num_hidden_layers=10, num_attention_heads=8),
    ),
}


def random_config(name: str, action_size: int) -> ModelConfig:
    """The configuration of a named size, with statistics that leave actions in [-1, 1].

    Args:
        name: ``random:`` and a size, e.g. ``random:openvla-7b``.
        action_size: Entries of an action, and of a state.

    Raises:
        ConfigError: Unknown size.
    """
    size = name.removeprefix(PREFIX)
    if size not in _SIZES:
        raise unknown_name("size of random weights", size, _SIZES)
    towers, language = _SIZES[size]
    ends = {"q01": [-1.0] * action_size, "q99": [1.0] * action_size, "min": [-1.0] * action_size, "max": [1.0] * action_size}
    return ModelConfig(
        towers=towers,
        language=language,
        pad_to_multiple_of=64,
        action_bins=256,
        image_means=((0.484375, 0.455078125, 0.40625), (0.5, 0.5, 0.5)),
        image_stds=((0.228515625, 0.2236328125, 0.224609375), (0.5, 0.5, 0.5)),
        statistics=Statistics({DATA_SET: {"action": ends}}, name),
        prompt="openvla",
    )


def encode_words(prompt: str) -> tuple[int, ...]:
    """Token ids that stand in for a tokenizer's: one per word, as many as Llama's would roughly be."""
    return (BOS_ID, *stand_in_ids(prompt, 3, EMPTY_WORD_ID), EMPTY_WORD_ID)
