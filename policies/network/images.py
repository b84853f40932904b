"""From the images of a recipe to a network's pixel values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..transforms import BicubicResize

if TYPE_CHECKING:
    from numpy.typing import NDArray


def stack_images(observations: Sequence[Sequence[NDArray[np.uint8]]], size: int) -> NDArray[np.uint8]:
    """One array of all images.

    Args:
        observations: Per observation the same number N of images uint8[H, W, 3], each of any size.
        size: Height and width the network wants; images of another size are resized without regard to their aspect ratio, which is
            what the image processors of the checkpoints do.

    Returns:
        uint8[B, N, size, size, 3].
    """
    fit = BicubicResize(size, size)
    return np.stack([np.stack([fit(image) for image in images]) for images in observations])


def normalise(images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Pixel values: uint8[B, H, W, 3] -> float32[B, 3, H, W], scaled to [0, 1] and then by each channel's mean and deviation."""
    unit = images.permute(0, 3, 1, 2).to(torch.float32) / 255
    return (unit - constant(tuple(mean), unit.device)) / constant(tuple(std), unit.device)


@cache
def constant(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """A number per channel, float32[1, C, 1, 1], brought to the device once: a CUDA graph cannot bring it."""
    return torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1)
