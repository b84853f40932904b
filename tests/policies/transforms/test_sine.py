"""The sine that TensorFlow's kernels call is the C library's, whatever the processor."""

import ctypes
import ctypes.util
import platform

import numpy as np
import pytest

from vlagym.policies.transforms.sine import sine


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library here is not the one that TensorFlow's wheels use")
def test_sine_is_the_c_librarys_bit_for_bit():
    sinf = ctypes.CDLL(ctypes.util.find_library("m")).sinf
    sinf.argtypes, sinf.restype = [ctypes.c_float], ctypes.c_float
    rng = np.random.default_rng(0)
    lanczos = np.float32(np.pi) * rng.uniform(0, 7, 300_000).astype(np.float32)  # pi t, t up to twice the kernel's radius
    small = np.exp2(rng.uniform(-40, 0, 50_000)).astype(np.float32)
    either_sign = rng.uniform(-32, 32, 50_000).astype(np.float32)
    at_the_quarters = (np.arange(-20, 21) * np.pi / 4).astype(np.float32)
    around = [np.nextafter(at_the_quarters, np.float32(side)) for side in (-np.inf, np.inf)]
    angles = np.concatenate([lanczos, small, either_sign, at_the_quarters, *around])
    expected = np.array([sinf(angle) for angle in angles.tolist()], np.float32)
    np.testing.assert_array_equal(sine(angles).view(np.int32), expected.view(np.int32))


@pytest.mark.parametrize("angle", [32.0, -1e9, np.nan, np.inf])
def test_angles_that_were_not_compared_are_refused(angle):
    with pytest.raises(ValueError, match=r"below 32 rad"):
        sine(np.float32([0.0, angle]))
