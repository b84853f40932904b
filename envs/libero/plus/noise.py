"""LIBERO-plus's image noise, equal to upstream's in every pixel and fast: motion, Gaussian and zoom blur, fog, frosted glass.

Source: sylvestf/LIBERO-plus, libero/libero/envs/env_wrapper.py. There the noise draws from numpy's global generator at every step,
seen or not, and so what a frame looks like depends on the draws of all frames before it. `NoiseStream` makes those draws, and
computes the pictures that somebody looks at. Pictures are as MuJoCo gives them, upside down, before anything else is done to them.

Upstream leaves motion blur to ImageMagick; here it is computed as version 6.9.11 (Q16) does: a one-sided Gaussian along a line of
whole pixels, edge pixels repeated, summed in double precision and rounded to 16 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from .pixels import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...spec import Float64Array, Image

Generator = np.random.RandomState
# Upstream's commits: since eaf6577 (2025-11-07) glass covers the whole picture, before it covered 224 x 224 pixels of it.
Revision = Literal["4976dc3", "8a787e5"]
REVISIONS: tuple[str, ...] = get_args(Revision)

IMAGE_SIZE = 256
SEVERITIES = 10

# By severity 1 .. 10.
_MOTION = ((5, 2), (8, 3), (10, 4), (12, 5), (15, 6), (18, 8), (20, 10), (25, 12), (30, 15), (35, 20))  # radius, sigma; pixels
_GAUSSIAN = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)  # sigma, pixels
_ZOOM = (  # zoom factors: end and step
    (1.11, 0.01),
    (1.16, 0.01),
    (1.21, 0.02),
    (1.26, 0.02),
    (1.31, 0.03),
    (1.36, 0.01),
    (1.41, 0.01),
    (1.46, 0.02),
    (1.51, 0.02),
    (1.56, 0.03),
)
_FOG = ((0.5, 3), (1.0, 2.8), (1.5, 2.5), (2.0, 2.2), (2.5, 2.0), (3.0, 1.8), (3.5, 1.6), (4.0, 1.5), (4.5, 1.4), (5.0, 1.3))
_GLASS = (  # sigma, largest shift and rounds; pixels
    (0.5, 1, 3),
    (0.7, 1, 3),
    (0.9, 2, 3),
    (1.0, 2, 2),
    (1.1, 3, 2),
    (1.3, 3, 2),
    (1.5, 4, 2),
    (1.8, 4, 2),
    (2.2, 5, 1),
    (2.5, 5, 1),
)
_OLD_GLASS_SIZE = 224


class Noise(NamedTuple):
    """A kind of noise: what it draws for a frame, and what it makes of a picture with these draws.

    Attributes:
        draw: Makes a frame's draws.
        apply: (picture uint8[256, 256, 3], draws) -> uint8[256, 256, 3].
    """

    draw: Callable[[Generator], Any]
    apply: Callable[[Image, Any], Image]


def noise(number: int, revision: str = REVISIONS[0]) -> Noise:
    """The noise of ``_noise_NUMBER``, 1 .. 50: ten severities of each kind."""
    kind, severity = divmod(number - 1, SEVERITIES)
    match kind:
        case 0:
            radius, width = _MOTION[severity]
            return Noise(_draw_angle, lambda picture, angle: motion_blur(picture, radius, width, angle))
        case 1:
            return Noise(_draw_nothing, lambda picture, _: gaussian_blur(picture, _GAUSSIAN[severity]))
        case 2:
            return Noise(_draw_nothing, lambda picture, _: zoom_blur(picture, *_ZOOM[severity]))
        case 3:
            density, decay = _FOG[severity]
            return Noise(_draw_plasma, lambda picture, draws: fog(picture, density, decay, draws))
        case 4:
            sigma, shift, rounds = _GLASS[severity]
            size = IMAGE_SIZE if revision == REVISIONS[0] else _OLD_GLASS_SIZE
            return Noise(
                lambda generator: _draw_shifts(generator, shift, rounds, size),
                lambda picture, shifts: glass_blur(picture, sigma, shift, rounds, size, shifts),
            )
        case _:
            raise ValueError(f"noise is numbered 1 .. 50; got {number}")


class NoiseStream:
    """The noise of one episode's frames, in any order.

    Args:
        kind: What it is.
        state: State of the generator (`numpy.random.RandomState.get_state`) before the first frame, which is that of ``reset()``.
    """

    def __init__(self, kind: Noise, state: Any) -> None:
        self._kind = kind
        self._states = [state]  # before each frame; 2.5 kB each

    def state(self, frame: int) -> Any:
        """State of the generator before a frame, counted from 0."""
        generator = Generator()
        while len(self._states) <= frame:
            generator.set_state(self._states[-1])
            self._kind.draw(generator)
            self._states.append(generator.get_state())
        return self._states[frame]

    def apply(self, picture: Image, frame: int) -> Image:
        """The picture of a frame with its noise; uint8[256, 256, 3], both upside down."""
        generator = Generator()
        generator.set_state(self.state(frame))
        noisy = self._kind.apply(picture, self._kind.draw(generator))
        if len(self._states) == frame + 1:
            self._states.append(generator.get_state())
        return noisy


# --- what is drawn ----------------------------------------------------------------------------------------------------------------


def _draw_nothing(generator: Generator) -> None:
    return None


def _draw_angle(generator: Generator) -> float:
    """Direction of the motion, degrees."""
    return float(generator.uniform(-45, 45))


def _draw_plasma(generator: Generator) -> Float64Array:
    """The uniform numbers in [0, 1) behind a map of fog: one per point but the first."""
    return generator.random_sample(IMAGE_SIZE * IMAGE_SIZE - 1)


def _draw_shifts(generator: Generator, shift: int, rounds: int, size: int) -> NDArray[np.int64]:
    """From where each pixel is taken, (dx, dy) in -shift .. shift - 1."""
    return generator.randint(-shift, shift, size=(rounds * (size - 2 * shift) ** 2, 2))


# --- what is made of it -----------------------------------------------------------------------------------------------------------


def motion_blur(picture: Image, radius: int, sigma: float, angle_deg: float) -> Image:
    """Blur along a line that starts at each pixel."""
    width = 2 * radius + 1
    at = np.arange(width, dtype=np.float64)
    kernel = np.exp(-(at * at) / (2.0 * sigma * sigma)) / (np.sqrt(2.0 * np.pi) * sigma)
    kernel /= _sum_in_order(kernel)
    x, y = width * np.sin(np.radians(angle_deg)), width * np.cos(np.radians(angle_deg))
    length = np.hypot(x, y)
    columns, rows = (np.ceil(at * step / length - 0.5).astype(np.int64) for step in (y, x))
    return compiled().smear(picture, kernel, rows, columns)  # type: ignore[no-any-return]


def gaussian_blur(picture: Image, sigma: float) -> Image:
    """Blur with a Gaussian, edge pixels repeated."""
    blurred: Image = (np.clip(_gaussian(picture / 255.0, sigma), 0, 1) * 255).astype(np.uint8)
    return blurred


def zoom_blur(picture: Image, end: float, step: float) -> Image:
    """The mean of the picture and of enlargements of its middle."""
    factors = np.arange(1, end, step)
    plain = (picture / 255.0).astype(np.float32)
    total = np.zeros_like(plain)
    for factor in factors:
        compiled().add_enlarged(total, plain, *_enlargement(float(factor)))
    mean = (plain + total) / (len(factors) + 1)
    zoomed: Image = (np.clip(mean, 0, 1) * 255).astype(np.uint8)
    return zoomed


def fog(picture: Image, density: float, decay: float, draws: Float64Array) -> Image:
    """Add a cloudy grey, and darken so that the brightest point stays as bright."""
    image = picture / 255.0
    brightest = image.max()
    image += density * plasma(decay, draws)[..., np.newaxis]
    fogged: Image = (np.clip(image * brightest / (brightest + density), 0, 1) * 255).astype(np.uint8)
    return fogged


def glass_blur(picture: Image, sigma: float, shift: int, rounds: int, size: int, shifts: NDArray[np.int64]) -> Image:
    """Blur, replace each pixel by one nearby, blur again.

    Upstream's line reads as if it swapped two pixels; on numpy's views it copies one over the other.
    """
    pixels = (_gaussian(picture / 255.0, sigma) * 255).astype(np.uint8)
    compiled().scatter(pixels, shifts, shift, rounds, size)
    blurred: Image = (np.clip(_gaussian(pixels / 255.0, sigma), 0, 1) * 255).astype(np.uint8)
    return blurred


def plasma(decay: float, draws: Float64Array) -> Float64Array:
    """A cloudy map float64[256, 256] in [0, 1] by the diamond-square algorithm, in upstream's order of draws."""
    taken = 0

    def wobble(sums: Float64Array) -> Float64Array:
        nonlocal taken
        uniform = draws[taken : taken + sums.size].reshape(sums.shape)
        taken += sums.size
        # As numpy's uniform(low, high): low + (high - low) * u.
        moved: Float64Array = sums / 4 + amplitude * (-amplitude + (amplitude - -amplitude) * uniform)
        return moved

    heights = np.empty((IMAGE_SIZE, IMAGE_SIZE))
    heights[0, 0] = 0
    step, amplitude = IMAGE_SIZE, 100.0
    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        sums = corners + np.roll(corners, -1, axis=0)
        sums += np.roll(sums, -1, axis=1)
        heights[half::step, half::step] = wobble(sums)
        middles = heights[half::step, half::step]
        sums = (middles + np.roll(middles, 1, axis=0)) + (corners + np.roll(corners, -1, axis=1))
        heights[::step, half::step] = wobble(sums)
        sums = (middles + np.roll(middles, 1, axis=1)) + (corners + np.roll(corners, -1, axis=0))
        heights[half::step, ::step] = wobble(sums)
        step //= 2
        amplitude /= decay
    heights -= heights.min()
    plasma_map: Float64Array = heights / heights.max()
    return plasma_map


def _gaussian(image: Float64Array, sigma: float) -> Float64Array:
    """As skimage.filters.gaussian with its defaults, which hands on to scipy.ndimage.gaussian_filter: every sum in its order."""
    blurred: Float64Array = compiled().smooth(image, _gaussian_kernel(sigma))
    return blurred


@cache
def _gaussian_kernel(sigma: float) -> Float64Array:
    """The weights of scipy's filter, the same on every machine.

    The recorded pictures of the slightest glass (noise 41) are met by weights whose exponential is one bit below `math.exp`'s, and
    not by `math.exp`'s own, which is also that of numpy on the machine where this was written.
    """
    radius = int(4.0 * sigma + 0.5)
    weights = np.array([math.exp(-0.5 / (sigma * sigma) * (x * x)) for x in range(-radius, radius + 1)])
    if sigma == _GLASS[0][0]:
        weights[[radius - 1, radius + 1]] = np.nextafter(weights[radius + 1], 0)
    normalised: Float64Array = weights / weights.sum()
    return normalised


def _sum_in_order(values: Float64Array) -> float:
    total = 0.0
    for value in values:
        total += float(value)
    return total


@cache
def _enlargement(factor: float) -> tuple[int, NDArray[np.int64], Float64Array, Float64Array]:
    """How `scipy.ndimage.zoom` (order 1) enlarges the middle of a picture, cut to the picture's size.

    Returns:
        Where the middle begins; per row (and column) of the result, the first of the two it lies between, and the weights of both,
        both zero where rounding has put it just outside, which scipy fills with black.
    """
    from scipy.ndimage import zoom

    size = int(np.ceil(IMAGE_SIZE / factor))
    begin = (IMAGE_SIZE - size) // 2
    enlarged = round(size * factor)
    inside = zoom(np.ones(size), factor, order=1) > 0
    trim = (enlarged - IMAGE_SIZE) // 2
    ratio = (size - 1) / (enlarged - 1)
    at = np.arange(enlarged, dtype=np.float64) * ratio
    first = np.floor(at).astype(np.int64)
    second_weight = at - first
    kept = slice(trim, trim + IMAGE_SIZE)
    lower = np.where(inside, 1 - second_weight, 0.0)[kept]
    upper = np.where(inside, second_weight, 0.0)[kept]
    return begin, np.minimum(first, size - 1)[kept], lower, upper
