"""Arrays in JSON as the json-numpy package writes them (base64 of the data, dtype, shape), for OpenVLA's and X-VLA's servers."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import numpy as np

from .arrays import array_of, plain
from .errors import WireError
from .packing import in_short


def dumps(value: Any) -> str:
    """The JSON of a value that may hold arrays."""
    try:
        return json.dumps(value, default=_write)
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"the request cannot be written as JSON: {error}.") from error


def loads(text: bytes | str) -> Any:
    """Inverse of `dumps`; arrays are read-only.

    Raises:
        WireError: It cannot be read.
    """
    try:
        return json.loads(text, object_hook=_read)
    except (ValueError, RecursionError) as error:
        raise WireError(f"what the server sent is not JSON ({error}): {in_short(text, 200)}") from error


def _write(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        array = plain(value)
        data = base64.b64encode(array.data).decode()
        return {"__numpy__": data, "dtype": array.dtype.str, "shape": list(array.shape)}
    raise TypeError(f"a {type(value).__name__} cannot be sent")


def _read(found: dict[str, Any]) -> Any:
    if "__numpy__" not in found:
        return found
    data = found["__numpy__"]
    if not isinstance(data, str):
        raise WireError(f"the data of an array must be base64; got {type(data).__name__}.")
    try:
        decoded = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise WireError(f"the data of an array is not base64 ({error}).") from error
    return array_of(decoded, found.get("dtype"), found.get("shape"))
