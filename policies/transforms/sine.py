"""The C library's ``sinf``, which TensorFlow's kernels call, the same to the last bit on every processor.

NumPy's own float32 sine is vectorised in ways that depend on the processor and misses the C library's value about once in seven;
a float64 sine rounded to float32 misses it about once in seventy. Since version 2.28 glibc evaluates ``sinf`` as a polynomial in
double precision (sysdeps/ieee754/flt-32/s_sinf.c, from Arm's optimized routines), whose coefficients stand below. Each operation
here is one IEEE double operation; glibc fuses some of them where the processor can, which moves no float32 result below 32 rad.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HALF_PI = float.fromhex("0x1.921FB54442D18p0")
QUARTERS_PER_RADIAN = float.fromhex("0x1.45F306DC9C883p-1")
SINE = tuple(map(float.fromhex, ("-0x1.555545995a603p-3", "0x1.1107605230bc4p-7", "-0x1.994eb3774cf24p-13")))
COSINE = tuple(
    map(float.fromhex, ("-0x1.ffffffd0c621cp-2", "0x1.55553e1068f19p-5", "-0x1.6c087e89a359dp-10", "0x1.99343027bf8c3p-16"))
)
LARGEST = 32.0
"""Every float32 up to here was compared with glibc's value, with and without fused operations; nothing here needs more."""


def sine(angle: NDArray[np.float32]) -> NDArray[np.float32]:
    """The C library's sine of angles in radians, float32[...] -> float32[...].

    Raises:
        ValueError: An angle is not a number below 32 in size.
    """
    if not (np.abs(angle) < LARGEST).all():
        raise ValueError(f"sine is defined here for angles below {LARGEST:g} rad.")
    wide = angle.astype(np.float64)
    quarter = np.rint(wide * QUARTERS_PER_RADIAN)
    rest = wide - quarter * HALF_PI
    square = rest * rest
    sines, cosines = _sine_near_zero(rest, square), _cosine_near_zero(square)
    turn = quarter.astype(np.int64) & 3
    value = np.where(turn & 1, cosines, sines)
    return np.where(turn & 2, -value, value).astype(np.float32)


def _sine_near_zero(x: NDArray[Any], square: NDArray[Any]) -> NDArray[Any]:
    cube = x * square
    tail = SINE[1] + square * SINE[2]
    seventh = cube * square
    value: NDArray[Any] = (x + cube * SINE[0]) + seventh * tail
    return value


def _cosine_near_zero(square: NDArray[Any]) -> NDArray[Any]:
    fourth = square * square
    tail = COSINE[2] + square * COSINE[3]
    head = 1.0 + square * COSINE[0]
    sixth = fourth * square
    value: NDArray[Any] = (head + fourth * COSINE[1]) + sixth * tail
    return value
