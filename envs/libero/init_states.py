"""Loads LIBERO's initial states without torch and without executing a pickle.

The 130 ``.pruned_init`` files of hf-libero, and those of LIBERO-plus, are torch archives (a zip with a member ``archive/data.pkl``)
that hold one pickled numpy array float64[trials, 1 + nq + nv] (time, qpos, qvel of MuJoCo). Upstream reads them with
``torch.load``, which runs whatever code the pickle names. Here nothing that it names is called (see `vlagym.edges.pickles`), and
the array is built from the recorded bytes.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...edges.pickles import MALFORMED, ForbiddenError, PickledArray, PickledDtype, unpickled
from ...errors import AssetError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The largest file of hf-libero 0.1.4 is 59 kB; the bounds keep a crafted one from exhausting memory.
MAX_PICKLE_BYTES = 16 << 20

OF_PACKAGE = "Put hf-libero's own file back: vla-eval install libero --force"


class _DamagedError(Exception):
    """A file does not hold initial states; says why."""


def load_init_states(path: str | Path, remedy: str = OF_PACKAGE) -> NDArray[np.float64]:
    """Read the initial states of one LIBERO task.

    Args:
        path: A ``.pruned_init`` file, or a ``.npz`` file with an array ``states``; a single state may lie flat.
        remedy: What to do about a damaged file, a sentence.

    Returns:
        float64[trials, 1 + nq + nv]: time in s, then qpos and qvel of the task's MuJoCo model. One row per trial, writable.

    Raises:
        AssetError: The file is missing, truncated or not such an array, or its pickle names anything beyond a numpy array. Nothing
            that the file names is called.
    """
    path = Path(path)
    try:
        states = _read_npz(path) if path.suffix == ".npz" else _to_array(_unpickle(_read_pickle(path)))
        if not np.isfinite(states).all():
            raise _DamagedError("holds values that are not finite")
    except _DamagedError as error:
        raise AssetError(f"{path}: {error}. {remedy}") from error
    return np.array(states, np.float64, order="C")


def _read_npz(path: Path) -> NDArray[np.float64]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            states: NDArray[np.float64] = archive["states"]
    except FileNotFoundError as error:
        raise _DamagedError("no such file of initial states") from error
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise _DamagedError(f"not an archive with an array `states` ({error})") from error
    if states.dtype != np.float64 or states.ndim != 2 or not states.size:
        raise _DamagedError(f"holds {states.dtype}{list(states.shape)} instead of float64[trials, 1 + nq + nv]")
    return states


def _read_pickle(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.split("/")[1:] == ["data.pkl"]]
            if len(members) != 1:
                raise _DamagedError(f"not a file of initial states: {len(members)} members */data.pkl instead of one")
            with archive.open(members[0]) as stream:
                data = stream.read(MAX_PICKLE_BYTES + 1)
    except FileNotFoundError as error:
        raise _DamagedError("no such file of initial states") from error
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise _DamagedError(f"cannot be read as a zip archive, it may be truncated ({error})") from error
    if len(data) > MAX_PICKLE_BYTES:
        raise _DamagedError(f"its data.pkl is larger than {MAX_PICKLE_BYTES} bytes")
    return data


def _unpickle(data: bytes) -> Any:
    try:
        return unpickled(data)
    except ForbiddenError as error:
        raise _DamagedError(f"its pickle names {error}, which no array of initial states needs; nothing was executed") from error
    except MALFORMED as error:
        raise _DamagedError(f"its pickle is malformed ({error})") from error


def _to_array(pickled: Any) -> NDArray[np.float64]:
    match pickled:
        case PickledArray(state=(int(), tuple(shape), PickledDtype() as dtype, bool(fortran), bytes(buffer))):
            pass
        case _:
            raise _DamagedError("its pickle does not hold one numpy array")
    if str(dtype) not in ("<f8", "=f8"):
        raise _DamagedError(f"holds {dtype} instead of float64 (<f8)")
    if len(shape) not in (1, 2) or not all(isinstance(n, int) and n > 0 for n in shape) or math.prod(shape) * 8 != len(buffer):
        raise _DamagedError(f"holds {len(buffer)} bytes for an array of shape {shape} instead of float64[trials, 1 + nq + nv]")
    states: NDArray[np.float64] = np.frombuffer(buffer, "<f8").reshape(shape, order="F" if fortran else "C")
    return np.atleast_2d(states)
