"""RT-1: a FiLM EfficientNet and TokenLearner per frame, and a transformer over the last frames.

Two facts keep it fast. The embeddings of past actions are multiplied by zero in the published code, so one pass gives all tokens of
an action; and a frame's image tokens do not depend on other frames, so they are computed once and kept. Source:
google-research/robotics_transformer 4569641b (transformer_network.py, transformer.py, film_efficientnet/, tokenizers/).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from ..network.passes import row_by_row
from .config import Rt1Config

ENCODER_SIZE = 300  # pixels, the input size of EfficientNet-B3
STEM_CHANNELS = 32
TOP_CHANNELS = 1280
BOTTLENECK = 64
SQUEEZE_RATIO = 0.25
BATCH_NORM_EPS = 1e-3
LAYER_NORM_EPS = 1e-6
# The published encoder divides by the square root of ImageNet's standard deviations after a normalisation by their squares.
IMAGENET_STDS = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Stage:
    """A run of blocks of EfficientNet-B0, before scaling."""

    kernel: int
    repeats: int
    channels: int
    expansion: int
    stride: int


STAGES = (
    Stage(3, 1, 16, 1, 1),
    Stage(3, 2, 24, 6, 2),
    Stage(5, 2, 40, 6, 2),
    Stage(3, 3, 80, 6, 2),
    Stage(5, 3, 112, 6, 1),
    Stage(5, 4, 192, 6, 2),
    Stage(3, 1, 320, 6, 1),
)


def scale_channels(channels: int, width: float) -> int:
    """Channels of a scaled EfficientNet: a multiple of 8 that is at most a tenth too small."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


class Norm(nn.Module):
    """Batch normalisation with fixed statistics."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.empty(channels)), nn.Parameter(torch.empty(channels))
        self.mean, self.variance = nn.Parameter(torch.empty(channels)), nn.Parameter(torch.empty(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        return F.batch_norm(x, self.mean, self.variance, self.gamma, self.beta, training=False, eps=BATCH_NORM_EPS)


class Film(nn.Module):
    """Scales and shifts channels by what the instruction says."""

    def __init__(self, instruction_size: int, channels: int) -> None:
        super().__init__()
        self.add = nn.Linear(instruction_size, channels)
        self.mult = nn.Linear(instruction_size, channels)

    def forward(self, x: torch.Tensor, instruction: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] and [B, I] -> [B, C, H, W]."""
        mult: torch.Tensor = self.mult(instruction)[..., None, None]
        add: torch.Tensor = self.add(instruction)[..., None, None]
        return (1 + mult) * x + add


class Block(nn.Module):
    """An inverted-residual block with squeeze-and-excitation, followed by FiLM."""

    def __init__(self, stage: Stage, before: int, after: int, stride: int, instruction_size: int) -> None:
        super().__init__()
        inner = before * stage.expansion
        squeezed = max(1, int(before * SQUEEZE_RATIO))
        self.kernel, self.stride = stage.kernel, stride
        self.residual = stride == 1 and before == after
        if stage.expansion != 1:
            self.expand = nn.Conv2d(before, inner, 1, bias=False)
            self.expand_norm = Norm(inner)
        self.depthwise = nn.Conv2d(inner, inner, stage.kernel, stride, groups=inner, bias=False)
        self.depthwise_norm = Norm(inner)
        self.squeeze = nn.Conv2d(inner, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, inner, 1)
        self.project = nn.Conv2d(inner, after, 1, bias=False)
        self.project_norm = Norm(after)
        self.film = Film(instruction_size, after)

    def forward(self, x: torch.Tensor, instruction: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] and [B, I] -> [B, C', H', W']."""
        inner = row_by_row(F.silu, self.expand_norm(self.expand(x))) if hasattr(self, "expand") else x
        inner = row_by_row(F.silu, self.depthwise_norm(self.depthwise(pad(inner, self.kernel, self.stride))))
        squeezed = row_by_row(F.silu, self.squeeze(inner.mean(dim=(2, 3), keepdim=True)))
        weights = row_by_row(torch.sigmoid, self.excite(squeezed))
        out = self.project_norm(self.project(inner * weights))
        filmed: torch.Tensor = self.film(out + x if self.residual else out, instruction)
        return filmed


def pad(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Zeros around an image: symmetric at stride 1; at stride 2 one less before, whatever the size, as in the exported graph."""
    half = kernel // 2
    before = half if stride == 1 else half - 1
    return F.pad(x, (before, half, before, half))


class ImageTokenizer(nn.Module):
    """One frame and the instruction to a few tokens."""

    def __init__(self, config: Rt1Config) -> None:
        super().__init__()
        size = config.token_size
        channels = scale_channels(STEM_CHANNELS, config.encoder_width)
        self.mean, self.variance = nn.Parameter(torch.empty(3)), nn.Parameter(torch.empty(3))
        self.stem = nn.Conv2d(3, channels, 3, 2, bias=False)
        self.stem_norm = Norm(channels)
        blocks = []
        for stage in STAGES:
            after = scale_channels(stage.channels, config.encoder_width)
            for index in range(math.ceil(config.encoder_depth * stage.repeats)):
                blocks.append(Block(stage, channels, after, stage.stride if index == 0 else 1, size))
                channels = after
        self.blocks = nn.ModuleList(blocks)
        top = scale_channels(TOP_CHANNELS, config.encoder_width)
        self.top = nn.Conv2d(channels, top, 1, bias=False)
        self.top_norm = Norm(top)
        self.to_tokens = nn.Conv2d(top, size, 1, bias=False)
        self.film = Film(size, size)
        self.select_norm = nn.LayerNorm(size, eps=LAYER_NORM_EPS)
        self.select_hidden = nn.Linear(size, BOTTLENECK)
        self.select = nn.Linear(BOTTLENECK, config.image_tokens)

    def forward(self, images: torch.Tensor, instruction: torch.Tensor) -> torch.Tensor:
        """uint8[B, H, W, 3] and float[B, I] -> tokens [B, image_tokens, token_size]."""
        features = self.encode(self.prepare(images), instruction)
        filmed = self.film(self.to_tokens(features), instruction)
        return self.learn_tokens(filmed.flatten(2).transpose(1, 2))

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Values in [0, 255], resized without regard to the aspect ratio: uint8[B, H, W, 3] -> [B, 3, 300, 300]."""
        unit = images.permute(0, 3, 1, 2).to(self.mean.dtype) / 255
        return F.interpolate(unit, (ENCODER_SIZE, ENCODER_SIZE), mode="bilinear", align_corners=False) * 255

    def encode(self, prepared: torch.Tensor, instruction: torch.Tensor) -> torch.Tensor:
        """The EfficientNet: [B, 3, 300, 300] -> [B, C, 9, 9]."""
        stds = prepared.new_tensor(IMAGENET_STDS)
        shape = (1, 3, 1, 1)
        x = (prepared / 255 - self.mean.view(shape)) / (self.variance * stds).sqrt().view(shape)
        x = row_by_row(F.silu, self.stem_norm(self.stem(pad(x, 3, 2))))
        for block in self.blocks:
            x = block(x, instruction)
        return row_by_row(F.silu, self.top_norm(self.top(x)))

    def learn_tokens(self, features: torch.Tensor) -> torch.Tensor:
        """TokenLearner: weighted means over positions, [B, 81, D] -> [B, image_tokens, D]."""
        hidden = F.gelu(self.select_hidden(self.select_norm(features)), approximate="tanh")
        weights = self.select(hidden).transpose(1, 2).softmax(dim=-1)
        tokens: torch.Tensor = weights @ features
        return tokens


class Layer(nn.Module):
    """A pre-norm transformer layer whose feed-forward part is a single linear map."""

    def __init__(self, config: Rt1Config) -> None:
        super().__init__()
        width, inner = config.model_size, config.heads * config.key_size
        self.heads = config.heads
        self.norm1 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(width, inner)
        self.value = nn.Linear(width, inner)
        self.output = nn.Linear(inner, width)
        self.norm2 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.feed_forward = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """[B, N, D] and bool[N, N] (True: may be attended to) -> [B, N, D]."""
        batch, tokens, _ = x.shape
        normed = self.norm1(x)
        q, k, v = (
            linear(normed).view(batch, tokens, self.heads, -1).transpose(1, 2) for linear in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.output(attended.transpose(1, 2).reshape(batch, tokens, -1))
        out: torch.Tensor = x + self.feed_forward(self.norm2(x))
        return out


class Rt1(nn.Module):
    """The whole network.

    Args:
        config: Its shape.
    """

    def __init__(self, config: Rt1Config) -> None:
        super().__init__()
        self.config = config
        self.image_tokenizer = ImageTokenizer(config)
        self.token_embedding = nn.Linear(config.token_size, config.model_size)
        self.position_embedding = nn.Linear(config.positions, config.model_size)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.layers)])
        self.output = nn.Linear(config.model_size, config.vocabulary)

    def finish_loading(self, device: torch.device) -> None:
        """Compute what no checkpoint holds: the attention mask."""
        self._mask = attention_mask(self.config).to(device)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.output.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The parameters' dtype."""
        return self.output.weight.dtype

    @torch.inference_mode()
    def tokenize_images(self, images: torch.Tensor, instructions: torch.Tensor) -> torch.Tensor:
        """Tokens of frames: uint8[B, 256, 320, 3] and float[B, 512] -> [B, image_tokens, token_size]."""
        tokens: torch.Tensor = self.image_tokenizer(images, instructions)
        return tokens

    @torch.inference_mode()
    def action_logits(self, frames: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Logits of the action that follows each episode's last frame.

        Args:
            frames: Tokens [B, window, image_tokens, token_size], filled from the left; what comes after the last frame is ignored.
            counts: Frames of each episode, int64[B], from 1.

        Returns:
            [B, action_tokens, vocabulary].
        """
        config = self.config
        logits = self.all_logits(frames)
        start = (counts - 1) * config.frame_tokens + config.image_tokens - 1
        positions = start[:, None] + torch.arange(config.action_tokens, device=logits.device)
        return logits[torch.arange(len(frames), device=logits.device)[:, None], positions]

    @torch.inference_mode()
    def all_logits(self, frames: torch.Tensor) -> torch.Tensor:
        """Logits at every position: [B, window, image_tokens, token_size] -> [B, positions, vocabulary]."""
        config = self.config
        actions = frames.new_zeros(len(frames), config.window, config.action_tokens, config.token_size)
        x = self.token_embedding(torch.cat([frames, actions], dim=2).flatten(1, 2))
        x = x + self.position_embedding.weight.T + self.position_embedding.bias
        for layer in self.layers:
            x = layer(x, self._mask)
        out: torch.Tensor = self.output(x)
        return out


def attention_mask(config: Rt1Config) -> torch.Tensor:
    """bool[positions, positions], True where a row may look: backwards, except from an action to an action."""
    index = torch.arange(config.positions)
    is_action = index % config.frame_tokens >= config.image_tokens
    return (index[:, None] >= index) & ~(is_action[:, None] & is_action)
