"""Pickles of NumPy's arrays, read without executing what they name.

The few names that a pickled array or number needs are answered by inert recorders, every other name is refused before anything is
called. Plain containers, texts and numbers come out as they are.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np

# The unpickler allocates as many memo slots as the largest index says; an honest pickle has fewer of them than bytes.
MAX_MEMO_INDEX = 1 << 16
MALFORMED = (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError, MemoryError, RecursionError)


class ForbiddenError(Exception):
    """A pickle names something that an array does not need."""


class PickledDtype:
    """What a pickle says about a dtype: its code (``f8``) and, in its state, its byte order."""

    def __init__(self, code: Any) -> None:
        self.code = code
        self.byte_order = "="

    def __setstate__(self, state: Any) -> None:
        self.byte_order = state[1]

    def __str__(self) -> str:
        return f"{self.byte_order}{self.code}"


class PickledArray:
    """What a pickle says about an array, nothing of it interpreted yet."""

    def __init__(self) -> None:
        self.state: tuple[Any, ...] | None = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _ArrayUnpickler(pickle.Unpickler):
    """Admits exactly the names by which numpy pickles arrays and whole numbers, and none of numpy's own code."""

    def find_class(self, module: str, name: str) -> Any:
        # numpy 2 moved `core` to `_core`; both spellings mean the same.
        match f"{module}.{name}":
            case "numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct":
                return self._new_array
            case "numpy.core.multiarray.scalar" | "numpy._core.multiarray.scalar":
                return self._new_number
            case "numpy.dtype":
                return self._new_dtype
            case "_codecs.encode":
                return self._encode
            case "numpy.ndarray":
                return "numpy.ndarray"
            case other:
                raise ForbiddenError(other)

    def persistent_load(self, pid: Any) -> Any:
        raise ForbiddenError(f"persistent id {pid!r}")

    def _new_array(self, cls: Any, shape: Any, dtype: Any) -> PickledArray:
        return PickledArray()

    def _new_dtype(self, code: Any, align: Any, copy: Any) -> PickledDtype:
        return PickledDtype(code)

    def _new_number(self, dtype: Any, data: Any) -> int:
        if not isinstance(dtype, PickledDtype) or dtype.code not in ("i4", "i8") or not isinstance(data, bytes):
            raise ForbiddenError(f"a number of dtype {dtype}")
        return int(np.frombuffer(data, f"<{dtype.code}", 1)[0])

    def _encode(self, text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise ForbiddenError(f"_codecs.encode to {encoding!r}")
        return text.encode("latin1")


def unpickled(data: bytes) -> Any:
    """What a pickle holds, arrays as `PickledArray`.

    Raises:
        ForbiddenError: It names anything beyond NumPy's arrays and whole numbers; nothing was executed.
        Exception: One of `MALFORMED`.
    """
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("PUT", "LONG_BINPUT") and isinstance(argument, int) and argument > max(MAX_MEMO_INDEX, len(data)):
            raise ValueError(f"it uses memo index {argument}")
    return _ArrayUnpickler(io.BytesIO(data)).load()
