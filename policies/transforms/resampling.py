"""The arithmetic of TensorFlow's resampling kernels, restated: float32 in the same order of operations, bit for bit."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .sine import sine

if TYPE_CHECKING:
    from numpy.typing import NDArray

LANCZOS_RADIUS = 3


def resample_rows(image: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Lanczos resampling of axis 0; summed in float32 tap by tap, which is what makes it equal to TensorFlow's."""
    taps, weights = _lanczos_taps(image.shape[0], size)
    total = np.zeros((size, *image.shape[1:]), np.float32)
    _compiled().add_taps(_flat(image), taps, weights, total.reshape(size, -1))
    return total


@lru_cache(maxsize=32)
def _lanczos_taps(before: int, after: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Source indices intp[after, N] and weights float32[after, N] of each output index, in TensorFlow's float32 arithmetic.

    Taps beyond the kernel weigh nothing.
    """
    f32 = np.float32
    inverse_scale = f32(1) / (f32(after) / f32(before))
    stretch = max(inverse_scale, f32(1))
    radius = f32(LANCZOS_RADIUS) * stretch
    centre = (np.arange(after, dtype=f32) + f32(0.5)) * inverse_scale
    first = np.maximum(0, np.ceil(centre - radius - f32(0.5))).astype(np.intp)
    last = np.minimum(before - 1, np.floor(centre + radius - f32(0.5))).astype(np.intp)
    taps = first[:, None] + np.arange(int((last - first).max()) + 1)
    t = np.abs(taps.astype(f32) + f32(0.5) - centre[:, None]) * (f32(1) / stretch)
    with np.errstate(divide="ignore", invalid="ignore"):
        sines = f32(LANCZOS_RADIUS) * sine(f32(np.pi) * t) * sine(f32(np.pi) * t / f32(LANCZOS_RADIUS))
        kernel = np.where(t <= f32(1e-3), f32(1), sines / (f32(np.pi) * f32(np.pi) * t * t))
    kernel = np.where(taps <= last[:, None], kernel, f32(0))
    total = np.zeros(after, f32)
    for tap in range(taps.shape[1]):
        total += kernel[:, tap]
    return np.minimum(taps, before - 1), kernel * (f32(1) / total)[:, None]


def bilinear_rows(
    image: NDArray[np.float32], lower: NDArray[np.intp], upper: NDArray[np.intp], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Interpolate axis 0 between two source rows per output row, in float32 (TensorFlow's kernels do the columns first)."""
    mixed = np.empty((len(lower), *image.shape[1:]), np.float32)
    _compiled().mix(_flat(image), lower, upper, share, mixed.reshape(len(lower), -1))
    return mixed


@lru_cache(maxsize=32)
def crop_grid(before: int, after: int, area: float) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Sample points of a centre crop along one axis, in the float32 arithmetic of ``tf.image.crop_and_resize``."""
    one, side = np.float32(1), np.sqrt(np.float32(area))
    begin = (one - side) / np.float32(2)
    end = begin + side
    step = (end - begin) * np.float32(before - 1) / np.float32(after - 1)
    at = begin * np.float32(before - 1) + np.arange(after, dtype=np.float32) * step
    lower = np.floor(at)
    return lower.astype(np.intp), np.ceil(at).astype(np.intp), at - lower


@lru_cache(maxsize=32)
def half_pixel_grid(before: int, after: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Sample points of a bilinear resize along one axis, pixel centres at half integers, without antialiasing."""
    scale = np.float32(before) / np.float32(after)
    at = (np.arange(after, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    lower = np.floor(at)
    share = (at - lower).astype(np.float32)
    return np.maximum(lower, 0).astype(np.intp), np.minimum(np.ceil(at), before - 1).astype(np.intp), share


def _flat(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, ...] -> [N, M], without gaps."""
    return np.ascontiguousarray(image, np.float32).reshape(len(image), -1)


class _Compiled(NamedTuple):
    add_taps: Any
    mix: Any


@cache
def _compiled() -> _Compiled:
    """The loops, compiled when first needed; numba keeps every operation and its order, and other threads run beside it."""
    from numba import njit

    compile_ = njit(nogil=True)
    return _Compiled(compile_(_add_taps), compile_(_mix))


def _add_taps(image: NDArray[np.float32], taps: NDArray[np.intp], weights: NDArray[np.float32], total: NDArray[np.float32]) -> None:
    for row in range(total.shape[0]):
        for tap in range(taps.shape[1]):
            source, weight = taps[row, tap], weights[row, tap]
            for column in range(total.shape[1]):
                total[row, column] += weight * image[source, column]


def _mix(
    image: NDArray[np.float32],
    lower: NDArray[np.intp],
    upper: NDArray[np.intp],
    share: NDArray[np.float32],
    mixed: NDArray[np.float32],
) -> None:
    for row in range(mixed.shape[0]):
        below, above, part = lower[row], upper[row], share[row]
        for column in range(mixed.shape[1]):
            low = image[below, column]
            mixed[row, column] = low + (image[above, column] - low) * part
