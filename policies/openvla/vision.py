"""The vision towers: DINOv2 with registers and SigLIP, as the Prismatic models use them, with OFT's optional FiLM.

What reaches the language model is the output of the last block but one, patch tokens only and without a final norm; so the last
block, the final norm and SigLIP's pooling are not built at all. Parameters carry timm 0.9's names, which are the checkpoints'.
Sources: timm 0.9.10 ``vision_transformer.py`` as called by openvla/openvla c8f03f48 (prismatic/extern/hf/modeling_prismatic.py);
FiLM: moojink/openvla-oft 213c5ff8 (prismatic/models/film_vit_wrapper.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from ..network.images import normalise
from .config import IMAGE_SIZE, PATCH_SIZE, PATCHES, TowerConfig

LAYER_NORM_EPS = 1e-6


class PatchEmbedding(nn.Module):
    """Cuts an image into patches and embeds each."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, PATCH_SIZE, stride=PATCH_SIZE)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """[B, 3, H, W] -> [B, patches, D], row by row."""
        embedded: torch.Tensor = self.proj(pixels)
        return embedded.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention over all tokens."""

    def __init__(self, embed_dim: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.heads = heads
        self.fused = fused
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, N, D] -> [B, N, D]."""
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            attended = F.scaled_dot_product_attention(q, k, v)
        else:
            scores = (q * (width // self.heads) ** -0.5) @ k.transpose(-2, -1)
            attended = scores.softmax(dim=-1) @ v
        projected: torch.Tensor = self.proj(attended.transpose(1, 2).reshape(batch, tokens, width))
        return projected


class Mlp(nn.Module):
    """Two linear layers with the exact (erf) GELU between them."""

    def __init__(self, embed_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, embed_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, N, D] -> [B, N, D]."""
        hidden: torch.Tensor = self.fc2(F.gelu(self.fc1(x)))
        return hidden


class LayerScale(nn.Module):
    """A learned factor per channel."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.scale_factor = nn.Parameter(torch.empty(embed_dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, N, D] -> [B, N, D]."""
        return x * self.scale_factor


class Block(nn.Module):
    """A pre-norm transformer block; with `film_dim`, the sentence scales and shifts the features between its two halves."""

    def __init__(self, config: TowerConfig, film_dim: int | None, fused_attention: bool) -> None:
        super().__init__()
        width = config.embed_dim
        self.norm1 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.attn = Attention(width, config.heads, fused_attention)
        self.ls1 = LayerScale(width) if config.layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(width, config.mlp_dim)
        self.ls2 = LayerScale(width) if config.layer_scale else nn.Identity()
        if film_dim is not None:
            self.scale = nn.Linear(film_dim, width)
            self.shift = nn.Linear(film_dim, width)

    def forward(self, x: torch.Tensor, sentence: torch.Tensor | None) -> torch.Tensor:
        """[B, N, D] and, with FiLM, [B, film_dim] -> [B, N, D]."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        if sentence is not None:
            x = x * (1 + self.scale(sentence)[:, None]) + self.shift(sentence)[:, None]
        out: torch.Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out


class Tower(nn.Module):
    """One vision transformer up to its last block but one."""

    def __init__(self, config: TowerConfig, film_dim: int | None = None, fused_attention: bool = True) -> None:
        super().__init__()
        width = config.embed_dim
        self.prefix_tokens = 0 if config.registers is None else 1 + config.registers
        self.patch_embed = PatchEmbedding(width)
        self.pos_embed = nn.Parameter(torch.empty(1, PATCHES, width))
        if config.registers is not None:
            self.cls_token = nn.Parameter(torch.empty(1, 1, width))
            self.reg_token = nn.Parameter(torch.empty(1, config.registers, width))
        self.blocks = nn.ModuleList([Block(config, film_dim, fused_attention) for _ in range(config.depth - 1)])

    def forward(self, pixels: torch.Tensor, sentence: torch.Tensor | None = None) -> torch.Tensor:
        """Normalised pixels [B, 3, 224, 224] -> patch features [B, 256, D]."""
        x = self.patch_embed(pixels) + self.pos_embed
        if self.prefix_tokens:
            batch = len(x)
            x = torch.cat([self.cls_token.expand(batch, -1, -1), self.reg_token.expand(batch, -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x, sentence)
        patches: torch.Tensor = x[:, self.prefix_tokens :]
        return patches


class VisionBackbone(nn.Module):
    """One or two towers that see the same images, each with its own normalisation.

    Args:
        towers: Their shapes.
        means: Per tower, per channel, in [0, 1].
        stds: Likewise.
        film_dim: Width of the sentence embedding that modulates the features; None without FiLM.
        fused_attention: Use torch's fused attention kernels.
    """

    def __init__(
        self,
        towers: Sequence[TowerConfig],
        means: Sequence[Sequence[float]],
        stds: Sequence[Sequence[float]],
        film_dim: int | None = None,
        fused_attention: bool = True,
    ) -> None:
        super().__init__()
        self.featurizer = Tower(towers[0], film_dim, fused_attention)
        if len(towers) > 1:
            self.fused_featurizer = Tower(towers[1], film_dim, fused_attention)
        self._means, self._stds = means, stds

    @property
    def towers(self) -> list[Tower]:
        """The towers in the order of their features."""
        return [self.featurizer, self.fused_featurizer] if hasattr(self, "fused_featurizer") else [self.featurizer]

    def normalise(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Pixel values for each tower: uint8[B, 224, 224, 3] -> float32[B, 3, 224, 224]."""
        return [normalise(images, mean, std) for mean, std in zip(self._means, self._stds, strict=True)]

    def forward(self, images: torch.Tensor, sentence: torch.Tensor | None = None) -> torch.Tensor:
        """Patch features of all images of an observation, one image after the other.

        Args:
            images: uint8[B, N, 224, 224, 3].
            sentence: [B, film_dim] with FiLM, else None.

        Returns:
            [B, N * 256, D], D the sum of the towers' widths.
        """
        batch, count = images.shape[:2]
        if images.shape[2:4] != (IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(f"images must be {IMAGE_SIZE} x {IMAGE_SIZE}; got {tuple(images.shape)}")
        per_image = None if sentence is None else sentence.repeat_interleave(count, dim=0)
        pixels = self.normalise(images.flatten(0, 1))
        dtype = self.featurizer.pos_embed.dtype
        features = [tower(values.to(dtype), per_image) for tower, values in zip(self.towers, pixels, strict=True)]
        return torch.cat(features, dim=2).reshape(batch, count * PATCHES, -1)


def unused_weights(towers: Sequence[TowerConfig], prefix: str = "") -> re.Pattern[str]:
    """Matches what a checkpoint's towers have beyond what `VisionBackbone` needs: last blocks, final norms, SigLIP's pooling."""
    parts = []
    for name, tower in zip(("featurizer", "fused_featurizer"), towers, strict=False):
        parts.append(rf"{name}\.(norm|attn_pool|blocks\.{tower.depth - 1})\.")
    return re.compile(re.escape(prefix) + "(" + "|".join(parts) + ")")
