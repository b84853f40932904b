"""What a checkpoint's image processor does to images of another size than the network's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PilImage

from .config import IMAGE_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray


def stack_images(observations: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """One array of all images.

    Args:
        observations: Per observation the same number N of images uint8[H, W, 3], each of any size.

    Returns:
        uint8[B, N, 224, 224, 3]; images of another size are resized (Pillow, bicubic) without regard to their aspect ratio.
    """
    return np.stack([np.stack([_fit(image) for image in images]) for images in observations])


def _fit(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = (IMAGE_SIZE, IMAGE_SIZE)
    if image.shape[:2] == size:
        return image
    resized = PilImage.fromarray(np.ascontiguousarray(image)).resize(size, PilImage.Resampling.BICUBIC)
    return np.asarray(resized, np.uint8)
