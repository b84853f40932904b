"""OpenVLA and OpenVLA-OFT in passes of one fixed shape, each the whole way from images to answers; on a GPU, one CUDA graph.

Nothing waits for the device on the way: the best token is chosen there and fed back there, and what a row says after its ``</s>``
is dropped at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..network.graphs import FixedFunction
from ..network.passes import fill_up, right_padded
from .config import IMAGE_SIZE, PATCHES
from .llama import LlamaLayers, Wanted
from .model import OpenVla, hiding_mask, last_ids
from .tokens import EOS_ID

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .oft import OpenVlaOft

_ALIGNMENT = 8  # columns of the cache: what attention kernels like of a mask


@dataclass(frozen=True)
class Shape:
    """Of every pass.

    Attributes:
        rows: Observations.
        images: Of each.
        width: Tokens of a prompt.
    """

    rows: int
    images: int
    width: int

    @property
    def patches(self) -> int:
        """Positions that images take."""
        return self.images * PATCHES

    def buffers(self, device: torch.device) -> list[torch.Tensor]:
        """Images uint8[B, N, 224, 224, 3], ids int64[B, L] and lengths int64[B]."""
        return [
            torch.zeros((self.rows, self.images, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=torch.uint8, device=device),
            torch.full((self.rows, self.width), EOS_ID, device=device),
            torch.full((self.rows,), self.width, device=device),
        ]

    def fill(self, images: NDArray[np.uint8], prompts: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """At most `rows` observations, as the buffers take them."""
        lengths = np.array([len(prompt) for prompt in prompts])
        arrays: list[NDArray[Any]] = [images, right_padded(prompts, self.width, EOS_ID), lengths]
        return [torch.from_numpy(fill_up(array, self.rows)) for array in arrays]


class FixedDecoding:
    """`OpenVla.generate` in passes of one shape.

    Args:
        model: The network.
        shape: Of the passes.
        count: Tokens to decode.
        allowed: Ids among which the best is chosen; None for all.
        graphs: Replay CUDA graphs and use fused kernels.
    """

    def __init__(self, model: OpenVla, shape: Shape, count: int, allowed: range | None, graphs: bool) -> None:
        self._model, self._shape, self._count = model, shape, count
        self._first = allowed.start if allowed else 0
        self._wanted = slice(allowed.start, allowed.stop) if allowed else slice(None)
        self._layers: LlamaLayers = model.layers(graphs)
        self._prefix = shape.patches + shape.width
        self._columns = -(-(self._prefix + count - 1) // _ALIGNMENT) * _ALIGNMENT
        self._cache = self._layers.cache(shape.rows, self._columns)
        self._pass = FixedFunction(self._run, shape.buffers(model.device), graphs)

    def generate(self, images: NDArray[np.uint8], prompts: Sequence[Sequence[int]]) -> NDArray[np.int64]:
        """See `OpenVla.generate`; at most as many observations as the shape has rows."""
        tokens, _ = self._pass(*self._shape.fill(images, prompts))
        return last_ids(prompts, tokens[: len(prompts)].cpu().tolist(), self._count)

    def logits(self, images: NDArray[np.uint8], prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens int64[B, count] that were chosen, and the logits [B, count, V] that they were chosen by."""
        tokens, logits = self._pass(*self._shape.fill(images, prompts))
        return tokens[: len(prompts)].clone(), logits[: len(prompts)].clone()

    def _run(self, images: torch.Tensor, ids: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        model = self._model
        embed = model.language_model.model.embed_tokens
        text = embed(ids)
        x = torch.cat([text[:, :1], model.embed_pixels(images), text[:, 1:]], dim=1)
        lengths = lengths + self._shape.patches
        column = torch.arange(self._columns, device=ids.device)
        read = column < lengths[:, None]
        last = Wanted(lengths[:, None] - 1, hiding_mask(read[:, : self._prefix], x.dtype))
        states = self._layers(x, column[None, : self._prefix], cache=self._cache, wanted=last)
        logits, tokens = [self._logits(states)], []
        for step in range(self._count):
            tokens.append(logits[-1].argmax(dim=1) + self._first)
            if step == self._count - 1:
                break
            decoded = (column >= self._prefix) & (column <= self._prefix + step)
            mask = hiding_mask(read | decoded, x.dtype)
            states = self._layers(
                embed(tokens[-1])[:, None], lengths[:, None] + step, mask, self._cache, column=self._prefix + step
            )
            logits.append(self._logits(states))
        return torch.stack(tokens, dim=1), torch.stack(logits, dim=1)

    def _logits(self, states: torch.Tensor) -> torch.Tensor:
        """[B, 1, D] -> [B, V]."""
        logits: torch.Tensor = self._model.language_model.lm_head(states[:, -1])
        return logits[:, self._wanted]


class FixedChunks:
    """`OpenVlaOft.predict` in passes of one shape.

    Args:
        model: The network.
        shape: Of the passes; its width is that of prompts with their placeholders.
        graphs: Replay CUDA graphs and use fused kernels.
    """

    def __init__(self, model: OpenVlaOft, shape: Shape, graphs: bool) -> None:
        self._model, self._shape = model, shape
        platform, device = model.oft.platform, model.vla.device
        self._layers: LlamaLayers = model.vla.layers(graphs)
        buffers = shape.buffers(device)
        if model.oft.proprio:
            buffers.append(torch.zeros(shape.rows, platform.proprio_size, device=device))
        if model.oft.head == "diffusion":
            buffers.append(torch.zeros((shape.rows, platform.chunk, platform.action_size), dtype=torch.float64, device=device))
        self._pass = FixedFunction(self._run, buffers, graphs)

    def predict(
        self,
        images: NDArray[np.uint8],
        prompts: Sequence[Sequence[int]],
        proprio: NDArray[np.floating[Any]] | None,
        noise: NDArray[np.floating[Any]],
    ) -> NDArray[np.floating[Any]]:
        """See `OpenVlaOft.predict`; at most as many observations as the shape has rows."""
        values = self._shape.fill(images, [self._model.with_placeholders(prompt) for prompt in prompts])
        if proprio is not None:
            values.append(torch.from_numpy(fill_up(proprio, self._shape.rows)))
        if self._model.oft.head == "diffusion":
            values.append(torch.from_numpy(fill_up(noise, self._shape.rows)))
        (answer,) = self._pass(*values)
        return self._model.read(answer[: len(prompts)])

    def _run(self, images: torch.Tensor, ids: torch.Tensor, lengths: torch.Tensor, *further: torch.Tensor) -> tuple[torch.Tensor]:
        rest = list(further)
        proprio = rest.pop(0) if self._model.oft.proprio else None
        return (self._model.answer(images, ids, lengths, proprio, rest[0] if rest else None, self._layers),)
