"""Arrays out of what arrives: dtype, shape and bytes, each checked, so that no message can name an object, a size or a file.

Only booleans, integers and floating-point numbers are arrays here. No part of NumPy that parses strings or unpickles is reached.
"""

from __future__ import annotations

import math
import re
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import WireError

Array: TypeAlias = NDArray[Any]

_DTYPE = re.compile(r"[<>|=](?:b1|[iu][1248]|f[248])")
_MAX_DIMENSIONS = 8
_NPY_HEADER = re.compile(r"\{'descr': '([^']{2,4})', 'fortran_order': (True|False), 'shape': \(((?:\d+, ?)*\d*,?)\), \} *\n")
_NPY_START = b"\x93NUMPY\x01\x00"


def array_of(data: object, dtype: object, shape: object) -> Array:
    """A read-only view of received bytes as an array.

    Args:
        data: bytes in C order.
        dtype: NumPy's string for it, e.g. ``<f4``.
        shape: List of sizes.

    Raises:
        WireError: One of them is not what it must be, or they do not fit together.
    """
    if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
        raise WireError(f"an array of dtype {_short(dtype)} was received; only plain numbers are taken.")
    if not isinstance(shape, list | tuple) or len(shape) > _MAX_DIMENSIONS or not all(_is_size(side) for side in shape):
        raise WireError(f"an array of shape {_short(shape)} was received; at most {_MAX_DIMENSIONS} sizes from 0 are expected.")
    if not isinstance(data, bytes | bytearray | memoryview):
        raise WireError(f"the data of an array must be bytes; got {type(data).__name__}.")
    kind = np.dtype(dtype)
    needed = math.prod(shape) * kind.itemsize
    if len(data) != needed:
        raise WireError(f"an array {dtype}{list(shape)} has {needed} bytes; {len(data)} were received.")
    return np.frombuffer(data, kind).reshape(tuple(shape))


def npy_bytes(array: Array) -> bytes:
    """The array as ``numpy.save`` writes it (format 1.0)."""
    array = plain(array)
    header = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape}, }}"
    padding = -(len(_NPY_START) + 2 + len(header) + 1) % 64
    head = (header + " " * padding + "\n").encode()
    return _NPY_START + len(head).to_bytes(2, "little") + head + array.tobytes()


def from_npy(data: object) -> Array:
    """Inverse of `npy_bytes`; not ``numpy.load``, which makes room for whatever size a header claims.

    Raises:
        WireError: It is not such a file.
    """
    if not isinstance(data, bytes) or not data.startswith(_NPY_START) or len(data) < 10:
        raise WireError("an array in NumPy's file format was expected; what was received does not begin like one.")
    end = 10 + int.from_bytes(data[8:10], "little")
    match = _NPY_HEADER.fullmatch(data[10:end].decode("latin-1"))
    if match is None:
        raise WireError(f"the header of an array in NumPy's file format cannot be read: {_short(data[10:end])}.")
    dtype, fortran, sizes = match.groups()
    if len(sizes) > 200:
        raise WireError("the header of an array names too many sizes.")
    shape = [int(size) for size in sizes.split(",") if size.strip()]
    if fortran == "True":
        return array_of(data[end:], dtype, shape[::-1]).transpose()
    return array_of(data[end:], dtype, shape)


def plain(value: Any) -> Array:
    """What is about to be sent, as an array of plain numbers in C order, whose `data` can be sent without a copy.

    Raises:
        WireError: It holds something else.
    """
    array = np.asarray(value)
    if not _DTYPE.fullmatch(array.dtype.str):
        raise WireError(f"an array of dtype {array.dtype} cannot be sent; only plain numbers can.")
    return array if array.flags.c_contiguous else array.copy()


def _is_size(side: object) -> bool:
    return isinstance(side, int) and not isinstance(side, bool) and 0 <= side < 2**40


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
