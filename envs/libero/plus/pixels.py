"""The loops over pixels of LIBERO-plus's noise, in the order in which upstream's libraries compute."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...spec import Float64Array, Image


class Compiled(NamedTuple):
    """The loops of LIBERO-plus's noise."""

    smear: Any
    smooth: Any
    add_enlarged: Any
    scatter: Any


@cache
def compiled() -> Compiled:
    """The loops over pixels, compiled when first needed; numba keeps the order of every sum."""
    from numba import njit

    compile_ = njit(cache=True, nogil=True)
    return Compiled(compile_(_smear), compile_(_smooth), compile_(_add_enlarged), compile_(_scatter))


def _smear(picture: Image, kernel: Float64Array, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Image:
    height, width, channels = picture.shape
    result = np.empty_like(picture)
    total = np.empty(channels)
    for y in range(height):
        for x in range(width):
            total[:] = 0.0
            for i in range(kernel.size):
                source_y = min(max(y + rows[i], 0), height - 1)
                source_x = min(max(x + columns[i], 0), width - 1)
                for c in range(channels):
                    total[c] += kernel[i] * (257.0 * picture[source_y, source_x, c])
            for c in range(channels):
                result[y, x, c] = np.uint8(int(min(max(total[c], 0.0) + 0.5, 65535.0)) // 257)
    return result


def _smooth(image: Float64Array, kernel: Float64Array) -> Float64Array:
    """Correlate the rows and then the columns with a symmetric kernel, edge pixels repeated.

    As scipy.ndimage.correlate1d sums: the middle first, then the pairs around it from the outermost inwards.
    """
    height, width, channels = image.shape
    radius = kernel.size // 2
    result = np.empty_like(image)
    line = np.empty((width + 2 * radius) * channels)
    end = width * channels
    for y in range(height):
        upright = line[radius * channels : radius * channels + end]
        middle = image[y].reshape(end)
        for i in range(end):
            upright[i] = middle[i] * kernel[radius]
        for j in range(radius, 0, -1):
            above, below = image[max(y - j, 0)].reshape(end), image[min(y + j, height - 1)].reshape(end)
            for i in range(end):
                upright[i] += (above[i] + below[i]) * kernel[radius - j]
        for i in range(radius * channels):
            line[i] = upright[i % channels]
            line[radius * channels + end + i] = upright[end - channels + i % channels]
        row = result[y].reshape(end)
        for i in range(end):
            row[i] = upright[i] * kernel[radius]
        for j in range(radius, 0, -1):
            left, right = line[(radius - j) * channels :], line[(radius + j) * channels :]
            for i in range(end):
                row[i] += (left[i] + right[i]) * kernel[radius - j]
    return result


def _add_enlarged(
    total: NDArray[np.float32],
    picture: NDArray[np.float32],
    begin: int,
    first: NDArray[np.int64],
    lower: Float64Array,
    upper: Float64Array,
) -> None:
    last = picture.shape[0] - 1
    for y in range(total.shape[0]):
        top = begin + first[y]
        bottom = min(top + 1, last)
        for x in range(total.shape[1]):
            left = begin + first[x]
            right = min(left + 1, last)
            for c in range(total.shape[2]):
                value = picture[top, left, c] * lower[y] * lower[x]
                value += picture[top, right, c] * lower[y] * upper[x]
                value += picture[bottom, left, c] * upper[y] * lower[x]
                value += picture[bottom, right, c] * upper[y] * upper[x]
                total[y, x, c] += np.float32(value)


def _scatter(pixels: Image, shifts: NDArray[np.int64], shift: int, rounds: int, size: int) -> None:
    drawn = 0
    for _ in range(rounds):
        for y in range(size - shift, shift, -1):
            for x in range(size - shift, shift, -1):
                from_x, from_y = x + shifts[drawn, 0], y + shifts[drawn, 1]
                drawn += 1
                for c in range(pixels.shape[2]):
                    pixels[y, x, c] = pixels[from_y, from_x, c]
