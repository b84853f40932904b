"""Reads TensorFlow checkpoints (tensor bundles) without TensorFlow: an index of names, shapes and offsets, and plain data files.

The index is a LevelDB table whose values are protocol buffers; TensorFlow writes it uncompressed. Formats: LevelDB's
``doc/table_format.md``; TensorFlow's ``tensor_bundle.proto``, ``tensor_shape.proto``, ``types.proto`` and
``trackable_object_graph.proto``. Files are untrusted: everything is checked against the length of what it is read from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...edges.files import FileKind
from ...errors import PolicyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TABLE_MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_DTYPES: dict[int, type[Any]] = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64, 14: np.uint16, 19: np.float16}
_STRING = 7
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


_INDEX_FILE = FileKind("the index of a TensorFlow checkpoint", PolicyError, "Get a fresh copy.")


class _DamagedError(Exception):
    """The bytes are not what the format says."""


@dataclass(frozen=True)
class Entry:
    """Where a tensor is.

    Attributes:
        dtype: TensorFlow's number of the dtype.
        shape: Its shape.
        shard: Index of the data file.
        offset: First byte in it.
        size: Number of bytes.
        crc32c: Masked checksum of the bytes.
    """

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc32c: int


class TensorBundle:
    """A TensorFlow checkpoint.

    Args:
        index: The file ``PREFIX.index``; its data files ``PREFIX.data-K-of-N`` are beside it.

    Raises:
        PolicyError: A file is missing or damaged.
    """

    def __init__(self, index: Path) -> None:
        self.index = index
        try:
            self.entries = dict(_read_index(_INDEX_FILE.read(index)))
        except (_DamagedError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise PolicyError(f"{index} is not the index of a TensorFlow checkpoint, or is cut short ({error}).") from error
        self._shards = sorted(index.parent.glob(f"{index.stem}.data-?????-of-?????"))
        for name, entry in self.entries.items():
            if entry.shard >= len(self._shards) or entry.offset + entry.size > self._shards[entry.shard].stat().st_size:
                raise PolicyError(f"the data of {name} lies beyond the data files beside {index}: one is missing or cut short.")

    def read(self, name: str) -> NDArray[Any]:
        """A numeric tensor.

        Raises:
            PolicyError: Its size or dtype is not what the index says.
        """
        entry = self.entries[name]
        if entry.dtype not in _DTYPES:
            raise PolicyError(f"{self.index}: {name} has TensorFlow's dtype {entry.dtype}, which is not a number known here.")
        dtype = np.dtype(_DTYPES[entry.dtype])
        if math.prod(entry.shape) * dtype.itemsize != entry.size:
            raise PolicyError(f"{self.index}: {name} has {entry.size} bytes, which do not fit {dtype}{list(entry.shape)}.")
        return np.frombuffer(self._bytes(name), dtype).reshape(entry.shape)

    def variable_names(self) -> dict[str, str]:
        """Key in the checkpoint -> name the variable had in its program, from the object graph; empty if there is none.

        Raises:
            PolicyError: The graph is damaged.
        """
        if OBJECT_GRAPH not in self.entries:
            return {}
        try:
            return dict(_names_in_graph(_scalar_string(self._bytes(OBJECT_GRAPH))))
        except (_DamagedError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise PolicyError(f"{self.index}: the object graph is damaged ({error}).") from error

    def _bytes(self, name: str) -> bytes:
        entry = self.entries[name]
        with self._shards[entry.shard].open("rb") as file:
            file.seek(entry.offset)
            data = file.read(entry.size)
        # Of a string tensor the checksum covers its lengths too, each as a number of four bytes; its own checksum is inside.
        if entry.dtype != _STRING and _masked_crc32c(data) != entry.crc32c:
            raise PolicyError(
                f"{self._shards[entry.shard]} is damaged: the bytes of {name} do not have the checksum that {self.index.name} "
                "gives. Get a fresh copy."
            )
        return data


def _read_index(table: bytes) -> Iterator[tuple[str, Entry]]:
    """Names and entries of a bundle's index."""
    if len(table) < FOOTER_BYTES or int.from_bytes(table[-8:], "little") != TABLE_MAGIC:
        raise _DamagedError("no table footer")
    footer = table[-FOOTER_BYTES:]
    _, at = _varint(footer, 0)
    _, at = _varint(footer, at)
    for _, handle in _block(table, *_handle(footer, at)):
        for key, value in _block(table, *_handle(handle, 0)):
            if key:  # the empty key holds the bundle's header
                yield key.decode(), _entry(value)


def _handle(data: bytes, at: int) -> tuple[int, int]:
    """Offset and size of a block."""
    offset, at = _varint(data, at)
    size, _ = _varint(data, at)
    return offset, size


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; keys share prefixes with their predecessors."""
    if offset + size + 5 > len(table):
        raise _DamagedError("a block lies beyond the end")
    if table[offset + size] != 0:
        raise _DamagedError("compressed blocks are not supported")
    if int.from_bytes(table[offset + size + 1 : offset + size + 5], "little") != _masked_crc32c(table[offset : offset + size + 1]):
        raise _DamagedError("a block does not have its checksum")
    block = table[offset : offset + size]
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    key, at = b"", 0
    while at < end:
        shared, at = _varint(block, at)
        unshared, at = _varint(block, at)
        length, at = _varint(block, at)
        if at + unshared + length > end or shared > len(key):
            raise _DamagedError("an entry lies beyond its block")
        key = key[:shared] + block[at : at + unshared]
        at += unshared
        yield key, block[at : at + length]
        at += length


def _entry(message: bytes) -> Entry:
    fields: dict[int, Any] = dict(_fields(message))
    shape = tuple(
        next((size for field, size in _fields(dim) if field == 1), 0) for field, dim in _fields(fields.get(2, b"")) if field == 2
    )
    return Entry(
        fields.get(1, 0), shape, fields.get(3, 0), fields.get(4, 0), fields.get(5, 0), int.from_bytes(fields.get(6, b""), "little")
    )


def _scalar_string(data: bytes) -> bytes:
    """A scalar string tensor: its length, a checksum of 4 bytes, its bytes."""
    length, at = _varint(data, 0)
    if at + 4 + length != len(data):
        raise _DamagedError("a string of another length than it says")
    return data[at + 4 :]


def _names_in_graph(graph: bytes) -> Iterator[tuple[str, str]]:
    for field, node in _fields(graph):
        if field == 1:
            for number, attribute in _fields(node):
                if number == 2:
                    parts = {n: value.decode() for n, value in _fields(attribute) if n in (2, 3)}
                    if parts.get(3):
                        yield parts[3], parts.get(2, "")


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and raw values of a protocol buffer."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        value: Any
        if kind == _VARINT:
            value, at = _varint(message, at)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(kind, -1)
            if kind == _BYTES:
                size, at = _varint(message, at)
            if size < 0 or at + size > len(message):
                raise _DamagedError("a field lies beyond its message")
            value, at = message[at : at + size], at + size
        yield tag >> 3, value


def _masked_crc32c(data: bytes) -> int:
    """LevelDB's and TensorFlow's checksum: CRC-32C, rotated and shifted so that it can be stored beside what it covers."""
    import google_crc32c

    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise _DamagedError("a number of more than 64 bits")
