"""Transforms of images: uint8[H, W, 3] -> uint8[H', W', 3].

Sources: the reference LIBERO evaluation of OpenVLA (openvla/openvla c8f03f48, experiments/robot/openvla_utils.py and
libero/libero_utils.py), whose image operations are TensorFlow's; SimplerEnv's RT-1 (simpler-env/SimplerEnv 4ab7178e,
policies/rt1/rt1_model.py) and its OpenVLA adapter (DelinQu/SimplerEnv-OpenVLA ccfe380, policies/openvla/openvla_model.py).
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DependencyError, PolicyError
from .base import ImageTransform
from .resampling import bilinear_rows, crop_grid, half_pixel_grid, resample_rows

if TYPE_CHECKING:
    from .base import Image


@dataclass(frozen=True)
class MirrorHorizontally(ImageTransform):
    """Left becomes right.

    LIBERO's stock images are upside down. Upstream turns them by 180 degrees, which leaves them upright but mirrored, and trained
    on that. vlagym's images are the stock ones turned upright, so upstream's input is the mirror image of ours.
    """

    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[H, W, 3]."""
        return mirrored(image)


def mirrored(image: Image) -> Image:
    """Left and right exchanged, contiguous; taking columns costs half of copying a view with a negative stride."""
    return np.take(image, np.arange(image.shape[1] - 1, -1, -1), axis=1, mode="clip")


@dataclass(frozen=True)
class FlipVertically(ImageTransform):
    """Top becomes bottom: LIBERO's stock image, which is upside down, for whoever trained on that."""

    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[H, W, 3]."""
        return image[::-1]


@dataclass(frozen=True)
class JpegRoundTrip(ImageTransform):
    """Encode as JPEG with 4:2:0 chroma and decode again, as ``tf.io.decode_image(tf.image.encode_jpeg(image))`` does.

    TensorFlow decodes with the integer-fast inverse DCT, from which Pillow's accurate one differs in two thirds of all values.
    """

    quality: int = 95

    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[H, W, 3]."""
        try:
            import simplejpeg  # type: ignore[import-untyped]
            from PIL import Image as PilImage
        except ImportError as error:
            raise DependencyError(
                f"jpeg_round_trip needs {error.name}; install it with `pip install 'vlagym[openvla]'`."
            ) from error
        encoded = io.BytesIO()
        PilImage.fromarray(np.ascontiguousarray(image)).save(encoded, format="JPEG", quality=self.quality, subsampling="4:2:0")
        return np.asarray(simplejpeg.decode_jpeg(encoded.getvalue(), "RGB", fastdct=True, fastupsample=False), np.uint8)


@dataclass(frozen=True)
class Lanczos3Resize(ImageTransform):
    """Resize as ``tf.image.resize(image, (height, width), method="lanczos3", antialias=True)`` does, rounded half to even."""

    height: int = 224
    width: int = 224

    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[height, width, 3]."""
        if image.shape[:2] == (self.height, self.width):
            return image
        rows = resample_rows(image.astype(np.float32), self.height)
        columns = resample_rows(rows.swapaxes(0, 1), self.width)
        resized: Image = np.clip(np.rint(columns.swapaxes(0, 1)), 0, 255).astype(np.uint8)
        return resized


@dataclass(frozen=True)
class CenterCrop(ImageTransform):
    """Cut out the centre and stretch it, as ``tf.image.crop_and_resize`` on values in [0, 1] and TensorFlow's cast to uint8 do.

    Attributes:
        area: Share of the image's area that is kept; its sides shrink by the square root.
        height: Pixels.
        width: Pixels.
    """

    area: float = 0.9
    height: int = 224
    width: int = 224

    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[height, width, 3]."""
        scaled = image.astype(np.float32) * np.float32(1 / 255)
        columns = bilinear_rows(scaled.swapaxes(0, 1), *crop_grid(image.shape[1], self.width, self.area))
        rows = bilinear_rows(columns.swapaxes(0, 1), *crop_grid(image.shape[0], self.height, self.area))
        clipped = np.clip(rows, 0, 1)
        return (clipped * np.float32(255.5)).astype(np.uint8)  # TensorFlow truncates here; it does not round.


@dataclass(frozen=True)
class ResizeWithPad(ImageTransform):
    """Fit into a frame with black borders, as ``tf.image.resize_with_pad`` (bilinear) and TensorFlow's truncating cast do."""

    height: int = 256
    width: int = 320

    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[height, width, 3]."""
        ratio = max(image.shape[1] / self.width, image.shape[0] / self.height)
        inner_height, inner_width = math.floor(image.shape[0] / ratio), math.floor(image.shape[1] / ratio)
        inner = image
        if image.shape[:2] != (inner_height, inner_width):
            grid = [half_pixel_grid(*sides) for sides in zip(image.shape, (inner_height, inner_width), strict=False)]
            columns = bilinear_rows(image.astype(np.float32).swapaxes(0, 1), *grid[1]).swapaxes(0, 1)
            inner = bilinear_rows(columns, *grid[0]).astype(np.uint8)
        top, left = (self.height - inner_height) // 2, (self.width - inner_width) // 2
        framed = np.zeros((self.height, self.width, 3), np.uint8)
        framed[top : top + inner_height, left : left + inner_width] = inner
        return framed


@dataclass(frozen=True)
class PilResizeWithPad(ImageTransform):
    """Fit into a frame with black borders by Pillow's bilinear filter, which averages where it shrinks.

    openpi's ``openpi_client.image_tools.resize_with_pad``; with a square image, starVLA's plain resize. An image of the frame's
    size is left as it is.
    """

    height: int = 224
    width: int = 224

    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[height, width, 3]."""
        if image.shape[:2] == (self.height, self.width):
            return image
        try:
            from PIL import Image as PilImage
        except ImportError as error:
            raise DependencyError("pil_resize_with_pad needs Pillow; install it with `pip install 'vlagym[remote]'`.") from error
        ratio = max(image.shape[1] / self.width, image.shape[0] / self.height)
        inner_height, inner_width = int(image.shape[0] / ratio), int(image.shape[1] / ratio)
        opened = PilImage.fromarray(np.ascontiguousarray(image))
        inner = np.asarray(opened.resize((inner_width, inner_height), resample=PilImage.Resampling.BILINEAR))
        top, left = int((self.height - inner_height) / 2), int((self.width - inner_width) / 2)
        framed = np.zeros((self.height, self.width, 3), np.uint8)
        framed[top : top + inner_height, left : left + inner_width] = inner
        return framed


@dataclass(frozen=True)
class LinearResize(ImageTransform):
    """Resize by linear interpolation without averaging, as ``cv2.resize`` does unless told otherwise."""

    height: int = 256
    width: int = 256

    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[height, width, 3]."""
        return _opencv_resize("linear_resize", image, self.height, self.width)


@dataclass(frozen=True)
class AreaResize(ImageTransform):
    """Resize by averaging over areas, as ``cv2.resize(..., interpolation=cv2.INTER_AREA)``."""

    height: int = 224
    width: int = 224

    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[height, width, 3]."""
        return _opencv_resize("area_resize", image, self.height, self.width)


def _opencv_resize(name: str, image: Image, height: int, width: int) -> Image:
    try:
        import cv2
    except ImportError as error:
        raise DependencyError(f"{name} needs OpenCV; install it with `pip install opencv-python-headless`.") from error
    how = cv2.INTER_AREA if name == "area_resize" else cv2.INTER_LINEAR
    resized: Image = np.asarray(cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=how), np.uint8)
    return resized


@dataclass(frozen=True)
class BicubicResize(ImageTransform):
    """Resize without regard to the aspect ratio, as Pillow's ``Image.resize(..., BICUBIC)``, which antialiases in integers."""

    height: int = 224
    width: int = 224

    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[height, width, 3]."""
        if image.shape[:2] == (self.height, self.width):
            return image
        try:
            from PIL import Image as PilImage
        except ImportError as error:
            raise DependencyError("bicubic_resize needs Pillow; install it with `pip install pillow`.") from error
        picture = PilImage.fromarray(np.ascontiguousarray(image))
        return np.asarray(picture.resize((self.width, self.height), PilImage.Resampling.BICUBIC), np.uint8)


def check_image(image: Any, camera: str) -> Image:
    """The image of a camera, if it is one.

    Raises:
        PolicyError: It is not uint8[H, W, 3] with at least one pixel.
    """
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise PolicyError(
            f"image {camera!r} must be uint8[height, width, 3] with at least one pixel; got {array.dtype}{list(array.shape)}."
        )
    return array
