"""Decoding in passes of a fixed shape against transformers' own forward pass, token by token after the same tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from ..network.adapter import Agreement
from .fixed import FixedDecoding
from .model import Decoder, OpenVla

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@torch.inference_mode()
def compare_decoding(
    model: OpenVla,
    passes: Callable[[int], FixedDecoding],
    groups: Iterable[tuple[int, list[int]]],
    images: NDArray[np.uint8],
    prompts: Sequence[Sequence[int]],
    allowed: range | None,
) -> Agreement:
    """Compare both ways on observations.

    Args:
        model: The network.
        passes: For prompts of a width.
        groups: A width, and who goes together in a pass.
        images: uint8[B, N, 224, 224, 3].
        prompts: Token ids of each observation.
        allowed: See `OpenVla.generate`.
    """
    equal = total = 0
    squares = differences = 0.0
    for width, members in groups:
        own = [prompts[member] for member in members]
        tokens, logits = passes(width).logits(images[members], own)
        decoder = Decoder(model, model.embed_images(images[members]), own, tokens.shape[1], allowed)
        steps = [decoder.start(), *(decoder.step(column.tolist()) for column in tokens.T[:-1])]
        plain = torch.stack(steps, dim=1)
        equal += int((plain.argmax(dim=2) == logits.argmax(dim=2)).sum())
        total += tokens.numel()
        squares += float(plain.float().square().sum())
        differences += float((plain.float() - logits.float()).square().sum())
    return Agreement(equal / total, (differences / squares) ** 0.5)
