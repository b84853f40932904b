"""HDF5 files from elsewhere: numbers and texts that lie in the file itself, of a size known before anything is read."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DependencyError
from .files import MEGABYTE, FileKind

MAX_ARRAY_BYTES = 512 * MEGABYTE
MAX_TEXT_BYTES = 16 * MEGABYTE
MAX_MEMBERS = 100_000
# Of HDF5's own library: any other filter is a library that it would look for and load.
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 6: "scaleoffset", 32000: "lzf"}
_DAMAGED = (OSError, LookupError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError, MemoryError)


class Hdf5File:
    """An open file, of which groups, arrays of numbers and texts can be asked for by path, e.g. ``data/demo_0/states``.

    Every link on the way must be a plain one: one that leads into another file, or to another place by name, is refused.

    Args:
        path: For messages.
        kind: What the file is.
        file: The open `h5py.File`.
    """

    def __init__(self, path: Path, kind: FileKind, file: Any) -> None:
        self._path, self._kind, self._file = path, kind, file

    def groups(self, path: str) -> list[str]:
        """Names of the groups in a group, in HDF5's order; empty where there is no such group."""
        return [name for name, member in self._members(path) if hasattr(member, "keys")]

    def arrays(self, path: str) -> list[str]:
        """Names of the arrays in a group; empty where there is no such group."""
        return [name for name, member in self._members(path) if not hasattr(member, "keys")]

    def _members(self, path: str) -> list[tuple[str, Any]]:
        """What is in a group, by name; empty where there is no such group."""
        group = self._member(path)
        if group is None or not hasattr(group, "keys"):
            return []
        if len(group) > MAX_MEMBERS:
            raise self.fault(f"{path} has more than {MAX_MEMBERS} members")
        return [(name, self._member(f"{path}/{name}")) for name in group]

    def shape(self, path: str) -> tuple[int, ...]:
        """The shape of an array of numbers; nothing of it is read.

        Raises:
            VlagymError: The kind's error: there is none, or it is of something else, or too large.
        """
        return tuple(self._checked(path).shape)

    def numbers(self, path: str) -> NDArray[Any]:
        """An array of finite numbers.

        Raises:
            VlagymError: The kind's error.
        """
        dataset = self._checked(path)
        try:
            array: NDArray[Any] = dataset[()]
        except _DAMAGED as error:
            raise self.fault(f"{path} cannot be read: {_in_a_line(error)}") from error
        if not np.isfinite(array).all():
            raise self.fault(f"{path}: it holds values that are not finite")
        return np.asarray(array)

    def text(self, path: str, attribute: str) -> str | None:
        """A text beside a group; None where there is none.

        Raises:
            VlagymError: The kind's error: it is something else, or too long.
        """
        h5py = _h5py()
        group = self._member(path)
        if group is None or attribute not in group.attrs:
            return None
        identity = group.attrs.get_id(attribute)
        if h5py.check_string_dtype(identity.dtype) is None or identity.shape != ():
            raise self.fault(f"{path}: {attribute} is not a text")
        if identity.get_storage_size() > MAX_TEXT_BYTES:
            raise self.fault(f"{path}: {attribute} has more than {MAX_TEXT_BYTES} bytes")
        try:
            value = group.attrs[attribute]
            text = value.decode("utf-8") if isinstance(value, bytes) else str(value)
        except (*_DAMAGED, UnicodeError) as error:
            raise self.fault(f"{path}: {attribute} cannot be read: {_in_a_line(error)}") from error
        if len(text) > MAX_TEXT_BYTES:
            raise self.fault(f"{path}: {attribute} has more than {MAX_TEXT_BYTES} characters")
        return text

    def fault(self, found: str) -> Exception:
        """The kind's error for this file."""
        return self._kind.fault(self._path, found)

    def _member(self, path: str) -> Any:
        """What lies at a path; None where nothing does."""
        h5py = _h5py()
        place = self._file
        at = ""
        try:
            for part in path.split("/"):
                at = f"{at}/{part}".lstrip("/")
                if not hasattr(place, "keys") or part not in place:
                    return None
                if not isinstance(place.get(part, getlink=True), h5py.HardLink):
                    raise self.fault(f"{at} is a link to another place, not data of the file")
                place = place[part]
        except _DAMAGED as error:
            raise self.fault(f"{at} cannot be opened: {_in_a_line(error)}") from error
        return place

    def _checked(self, path: str) -> Any:
        """A dataset whose content is numbers, in the file, in a form that HDF5's own library reads."""
        dataset = self._member(path)
        if dataset is None or hasattr(dataset, "keys"):
            raise self.fault(f"it has no array {path}")
        try:
            dtype, shape = dataset.dtype, dataset.shape
            outside, virtual = dataset.external, dataset.is_virtual
            plist = dataset.id.get_create_plist()
            filters = [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]
            chunk = math.prod(dataset.chunks or (1,)) * dtype.itemsize
        except _DAMAGED as error:
            raise self.fault(f"{path} cannot be opened: {_in_a_line(error)}") from error
        if outside or virtual:
            raise self.fault(f"{path} lies in other files, not in this one")
        if dtype.kind not in "fiu" or dtype.itemsize > 8 or shape is None:
            raise self.fault(f"{path}: expected numbers, got {dtype}")
        if unknown := [number for number in filters if number not in _FILTERS]:
            raise self.fault(f"{path} is packed with filter {unknown[0]}; {', '.join(_FILTERS.values())} are read")
        if max(math.prod(shape) * dtype.itemsize, chunk) > MAX_ARRAY_BYTES:
            raise self.fault(f"{path} has {dtype}{list(shape)}, more than {MAX_ARRAY_BYTES} bytes")
        return dataset


@contextmanager
def open_hdf5(path: Path, kind: FileKind) -> Iterator[Hdf5File]:
    """Open a file for reading.

    Raises:
        DependencyError: h5py is not installed.
        VlagymError: `kind`'s error: it is not there, or not HDF5.
    """
    h5py = _h5py()
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise kind.fault(path, "it is not a regular file")
        if status.st_size > kind.max_bytes:
            raise kind.fault(path, f"it has more than {kind.max_bytes} bytes")
        file = h5py.File(path, "r")
    except _DAMAGED as error:
        raise kind.fault(path, getattr(error, "strerror", None) or _in_a_line(error)) from error
    with file:
        yield Hdf5File(path, kind, file)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise DependencyError(f"HDF5 files need h5py ({error}): pip install 'vlagym[hdf5]'.") from error
    return h5py


def _in_a_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
