"""The network of `policy=small` in torch, for training; `vlagym.policies.small.network` computes the same in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

CHANNELS = (24, 32)  # of the images' features, after each convolution
KERNELS = (5, 3)
STRIDES = (4, 1)
WORD_SIZE = 32
HIDDEN = 256


class Eye(nn.Module):
    """Where in the image of one camera things are: FiLM-conditioned convolutions, then each channel's centre of mass."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel, stride, kernel // 2)
            for before, after, kernel, stride in zip((3, *CHANNELS), CHANNELS, KERNELS, STRIDES, strict=False)
        )
        self.film = nn.Linear(WORD_SIZE, 2 * CHANNELS[-2])

    def forward(self, images: Any, sentence: Any) -> Any:
        """float32[B, 3, 64, 64] and float32[B, WORD_SIZE] -> float32[B, 2 * channels], in [-1, 1]."""
        features = images
        for number, convolution in enumerate(self.convolutions):
            features = convolution(features)
            if number == len(CHANNELS) - 2:
                scale, shift = self.film(sentence)[:, :, None, None].chunk(2, 1)
                features = features * (1 + scale) + shift
            if number < len(CHANNELS) - 1:
                features = functional.relu(features)
        size = features.shape[-1]
        share = features.flatten(2).softmax(-1)
        places = torch.linspace(-1, 1, size)
        across, down = places.repeat(size), places.repeat_interleave(size)
        return torch.cat([share @ across, share @ down], 1)


class SmallNetwork(nn.Module):
    """Two images, a state and a sentence -> a chunk.

    Args:
        words: Those it knows.
        state_size: Entries of a state.
        chunk: Actions of a chunk.
        cameras: How many.
    """

    def __init__(self, words: Sequence[str], state_size: int, chunk: int, cameras: int = 2) -> None:
        super().__init__()
        self.words, self.chunk = list(words), chunk
        self.embedding = nn.Linear(len(words), WORD_SIZE, bias=False)
        self.eyes = nn.ModuleList(Eye() for _ in range(cameras))
        self.register_buffer("state_mean", torch.zeros(state_size))
        self.register_buffer("state_std", torch.ones(state_size))
        self.first = nn.Linear(cameras * 2 * CHANNELS[-1] + state_size + WORD_SIZE, HIDDEN)
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.head = nn.Linear(HIDDEN, chunk * 7)

    def forward(self, images: Any, states: Any, bags: Any) -> Any:
        """uint8[B, cameras, H, W, 3], float32[B, S], float32[B, words] (share of each word) -> float32[B, chunk, 7].

        The first six entries are the action's, the last is the logit of an open gripper.
        """
        sentence = self.embedding(bags)
        scaled = images.permute(0, 1, 4, 2, 3).float() / 127.5 - 1
        seen = [eye(scaled[:, camera], sentence) for camera, eye in enumerate(self.eyes)]
        felt = (states - self.state_mean) / self.state_std
        hidden = functional.relu(self.first(torch.cat([*seen, felt, sentence], 1)))
        hidden = functional.relu(self.second(hidden))
        return self.head(hidden).unflatten(1, (self.chunk, 7))
