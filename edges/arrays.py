"""Archives of arrays (``.npz``) from elsewhere: no pickles, no more memory than the limit, every size and checksum looked at."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .files import MEGABYTE, FileKind

_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    RuntimeError,
    SyntaxError,
    OverflowError,
    MemoryError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_arrays(
    path: Path, kind: FileKind, max_unpacked: int = 512 * MEGABYTE, max_arrays: int = 10_000
) -> dict[str, NDArray[Any]]:
    """All arrays of an archive, by name.

    Args:
        path: The archive.
        kind: What the file is.
        max_unpacked: Bytes of all arrays together.
        max_arrays: How many there may be.

    Raises:
        VlagymError: `kind`'s error.
    """
    data = kind.read(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > max_arrays or sum(member.file_size for member in members) > max_unpacked:
                raise ValueError(f"it unpacks to more than {max_arrays} arrays or {max_unpacked} bytes")
            if any(member.compress_type not in _PACKED for member in members):
                raise ValueError("it is packed in a way that arrays never are")
            return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
    except _DAMAGED as error:
        raise kind.fault(path, " ".join(str(error).split())[:200] or type(error).__name__) from error


def finite(path: Path, kind: FileKind, name: str, array: NDArray[Any], dimensions: int) -> NDArray[np.floating[Any]]:
    """The array, if it holds finite numbers in so many dimensions.

    Raises:
        VlagymError: `kind`'s error.
    """
    if array.dtype.kind not in "fiu" or array.ndim != dimensions:
        raise kind.fault(path, f"{name}: expected numbers in {dimensions} dimensions, got {array.dtype}{list(array.shape)}")
    if not np.isfinite(array).all():
        raise kind.fault(path, f"{name}: it holds values that are not finite")
    return array


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """An array whose header promises exactly the bytes that are there."""
    with archive.open(member) as stream:
        data = stream.read(member.file_size + 1)  # to the end, where the checksum is compared
    if len(data) != member.file_size:
        raise ValueError(f"{member.filename} has another length than the archive says")
    head = io.BytesIO(data)
    version = npy.read_magic(head)
    readers: dict[tuple[int, int], Callable[..., Any]] = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    read_header = readers.get(version)
    if read_header is None:
        raise ValueError(f"{member.filename} has the unknown version {version} of numpy's format")
    shape, fortran, dtype = read_header(head)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds Python objects, which are not loaded")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size != len(data) - head.tell():
        raise ValueError(f"{member.filename} has {len(data) - head.tell()} bytes for {dtype}{list(shape)}")
    if not size:
        return np.empty(shape, dtype)
    return np.frombuffer(data, dtype, offset=head.tell()).reshape(shape, order="F" if fortran else "C").copy()
