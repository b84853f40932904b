"""The least that a pass takes: operations of the matrix products and bytes that must be read, for `vla-eval bench`."""

from __future__ import annotations

from ..network.adapter import Stage
from .config import PATCHES, ModelConfig
from .platforms import OftConfig


def decoding_stages(config: ModelConfig, rows: int, width: int, tokens: int, itemsize: int) -> list[Stage]:
    """OpenVLA: the images, the prompts, and one token after the other.

    Args:
        config: Shapes.
        rows: Observations.
        width: Tokens of a prompt.
        tokens: That are decoded.
        itemsize: Bytes of a weight.
    """
    read = PATCHES + width
    head = config.language.vocab_size * config.language.hidden_size
    first = _llama(config, rows, read, 1, read, itemsize)
    first = Stage("prompt", first.flops + 2 * head * rows, first.bytes + head * itemsize)
    step = _llama(config, rows, 1, 1, read + tokens // 2, itemsize)
    cached = 2 * config.language.num_hidden_layers * rows * (read + tokens // 2) * _stored(config) * itemsize
    further = Stage("tokens", step.flops + 2 * head * rows, step.bytes + head * itemsize + cached)
    return [_vision(config, rows, itemsize), first, *[further] * (tokens - 1)]


def chunk_stages(config: ModelConfig, oft: OftConfig, rows: int, images: int, width: int, itemsize: int) -> list[Stage]:
    """OpenVLA-OFT: the images, and one pass over all, or one per denoising step.

    Args:
        config: Shapes.
        oft: Which inputs and which head; the head itself is small and not counted.
        rows: Observations.
        images: Of each.
        width: Tokens of a prompt with its placeholders.
        itemsize: Bytes of a weight.
    """
    read = images * PATCHES + width + int(oft.proprio) + int(oft.head == "diffusion")
    wanted = oft.platform.chunk * oft.platform.action_size
    step = _llama(config, rows, read, wanted, read, itemsize)
    return [_vision(config, rows * images, itemsize), *[step] * (oft.diffusion_steps if oft.head == "diffusion" else 1)]


def _vision(config: ModelConfig, images: int, itemsize: int) -> Stage:
    """The towers and the projector."""
    flops = weights = 0.0
    for tower in config.towers:
        tokens = PATCHES + (0 if tower.registers is None else 1 + tower.registers)
        block = tower.embed_dim * (4 * tower.embed_dim + 2 * tower.mlp_dim)
        flops += (tower.depth - 1) * (2 * block * tokens + 4 * tokens**2 * tower.embed_dim)
        weights += (tower.depth - 1) * block
    hidden, vision = config.language.hidden_size, config.vision_dim
    projector = vision * 4 * vision + 4 * vision * hidden + hidden**2 if len(config.towers) > 1 else vision * hidden + hidden**2
    return Stage("images", images * (flops + 2 * projector * PATCHES), (weights + projector) * itemsize)


def _llama(config: ModelConfig, rows: int, tokens: int, last: int, seen: int, itemsize: int) -> Stage:
    """All layers over `tokens` positions that see `seen` each; of the last layer, what `last` positions need."""
    language = config.language
    width, layers = language.hidden_size, language.num_hidden_layers
    stored = 2 * width * _stored(config)  # keys and values
    rest = 2 * width**2 + 3 * width * language.intermediate_size
    positions = (layers - 1) * tokens + last
    causal = 0.5 if tokens > 1 and last == 1 else 1.0
    attention = 4 * width * seen * positions * causal
    flops = rows * (2 * stored * layers * tokens + 2 * rest * positions + attention)
    return Stage("language", flops, layers * (stored + rest) * itemsize)


def _stored(config: ModelConfig) -> int:
    """Width of a position's keys, or of its values."""
    language = config.language
    heads = language.num_key_value_heads or language.num_attention_heads
    return language.hidden_size // language.num_attention_heads * heads
