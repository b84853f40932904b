"""msgpack with limits: what arrives becomes plain values and arrays, or a `WireError`, whatever it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .errors import WireError

# Room for lists is made before their entries are read, so a short message must not be able to claim long ones, least of all nested.
_MAX_ENTRIES = 2**14
_kept = threading.local()


def unpack(frame: object, read_map: Callable[[dict[Any, Any]], Any]) -> Any:
    """The value in a message.

    Args:
        frame: Bytes as received.
        read_map: Given every map from the inside out; returns what it stands for, e.g. an array.

    Raises:
        WireError: The bytes are not one msgpack value within the limits, or `read_map` refused a map.
    """
    import msgpack

    if not isinstance(frame, bytes | bytearray | memoryview):
        raise WireError(f"a binary message was expected; got {type(frame).__name__}: {in_short(frame)}")
    try:
        return msgpack.unpackb(
            frame,
            object_hook=read_map,
            raw=False,
            strict_map_key=True,
            max_array_len=_MAX_ENTRIES,
            max_map_len=_MAX_ENTRIES,
            max_ext_len=0,
        )
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError, OverflowError) as error:
        raise WireError(f"a message of {len(frame)} bytes cannot be read as msgpack ({type(error).__name__}: {error}).") from error


def pack(value: Any, write: Callable[[Any], Any]) -> bytes:
    """The message for a value.

    Args:
        value: Plain values, lists, dicts and what `write` knows.
        write: Given what msgpack does not know, such as arrays; returns what stands for it.

    Raises:
        WireError: It holds something that cannot be sent.
    """
    import msgpack

    packers: dict[Callable[[Any], Any], Any] = _kept.__dict__.setdefault("packers", {})
    # A packer keeps its buffer, which images have made large: making room anew costs more than filling it.
    packer = packers.pop(write, None) or msgpack.Packer(default=write, use_bin_type=True)
    try:
        packed: bytes = packer.pack(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"the request cannot be packed: {error}.") from error
    packers[write] = packer  # one that failed in the middle is not used again
    return packed


def in_short(value: object, limit: int = 600) -> str:
    """What was received, for a message: the end of a long text, where a traceback says what happened."""
    text = value if isinstance(value, str) else repr(value)
    text = text.strip()
    return text if len(text) <= limit else "..." + text[-limit:]
