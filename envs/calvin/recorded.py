"""CALVIN's own data: a folder of frames (``episode_NNNNNNN.npz``) and the stretches of them that annotators have named.

Source: mees/calvin@fa03f01, dataset/README.md: ``rel_actions`` and ``actions`` float[7] of a frame are given in its ``robot_obs``
float[15] and ``scene_obs`` float[24]; ``lang_annotations/auto_lang_ann.npy`` holds ``info.indx``, first and last frame of each
stretch, and ``language.task``, which of the 34 subtasks it is; ``ep_start_end_ids.npy`` the recordings that the frames are of.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from ...edges.arrays import finite, read_arrays
from ...edges.files import FileKind
from ...edges.pickles import MALFORMED, ForbiddenError, PickledArray, unpickled
from ...errors import ConfigError
from ..demonstrations import Demonstration

ANNOTATIONS = "lang_annotations/auto_lang_ann.npy"
RECORDINGS = "ep_start_end_ids.npy"
_GIVE = "Give a folder of CALVIN's data (training or validation), whole."
_KIND = FileKind("of CALVIN's data", ConfigError, _GIVE, max_bytes=1 << 30)
MOST_STEPS = 10_000


class Stretch(NamedTuple):
    """First and last frame of one demonstration of a subtask."""

    first: int
    last: int

    @property
    def steps(self) -> int:
        """Actions of it: the last frame is where it has led."""
        return self.last - self.first


def is_calvin_data(folder: Path) -> bool:
    """Whether a folder is one of CALVIN's data."""
    return (folder / RECORDINGS).is_file() or (folder / ANNOTATIONS).is_file()


def read_stretches(folder: str) -> Mapping[str, tuple[Stretch, ...]]:
    """Subtask -> its demonstrations, in the order of the annotations.

    Raises:
        ConfigError: There are none, or the file that names them is damaged.
    """
    file = Path(folder).expanduser() / ANNOTATIONS
    try:
        status = file.stat()
    except OSError as error:
        raise _KIND.fault(file, error.strerror or str(error)) from error
    return _read(file, (status.st_mtime_ns, status.st_size))


def read_demonstration(folder: str, stretch: Stretch, key: str) -> Demonstration:
    """The frames of a demonstration; `Demonstration.start` has ``robot_obs`` [15] and ``scene_obs`` [24], and there are no states.

    Args:
        folder: Of the data.
        stretch: Which frames.
        key: ``rel_actions`` or ``actions``.

    Raises:
        ConfigError: A frame is missing or damaged.
    """
    rows = []
    for number in range(stretch.first, stretch.last):
        file = frame_file(folder, number)
        arrays = read_arrays(file, _KIND)
        for name, size in (("robot_obs", 15), ("scene_obs", 24), (key, 7)):
            if name not in arrays or finite(file, _KIND, name, arrays[name], 1).shape != (size,):
                raise _KIND.fault(file, f"expected {name} with {size} numbers")
        rows.append(arrays)
    actions = np.stack([row[key] for row in rows])
    start = {name: rows[0][name].astype(np.float64) for name in ("robot_obs", "scene_obs")}
    return Demonstration(f"frame_{stretch.first}", actions, np.zeros((len(rows), 0)), None, start)


def frame_file(folder: str, number: int) -> Path:
    """Where a frame is."""
    return Path(folder).expanduser() / f"episode_{number:07d}.npz"


def data_sha256(folder: str) -> str:
    """Hash of which stretches there are, and of the sizes of their frames: reading all of them would take minutes.

    Raises:
        ConfigError: A frame is missing.
    """
    digest = hashlib.sha256()
    for task, stretches in sorted(read_stretches(folder).items()):
        for stretch in stretches:
            digest.update(f"{task} {stretch.first} {stretch.last}".encode())
            for number in range(stretch.first, stretch.last):
                file = frame_file(folder, number)
                try:
                    digest.update(f" {file.stat().st_size}".encode())
                except OSError as error:
                    raise _KIND.fault(file, error.strerror or str(error)) from error
    return digest.hexdigest()


@lru_cache(maxsize=16)
def _read(file: Path, stamp: tuple[int, int]) -> Mapping[str, tuple[Stretch, ...]]:
    tasks, bounds = _annotations(file)
    found: dict[str, list[Stretch]] = {}
    for task, bound in zip(tasks, bounds, strict=True):
        pair = tuple(bound) if isinstance(bound, tuple | list) else ()
        if not isinstance(task, str) or len(pair) != 2 or not all(type(n) is int and 0 <= n < 10**7 for n in pair):
            raise _KIND.fault(file, f"{str(task)[:60]!r} is not a subtask from one frame to another")
        stretch = Stretch(*pair)
        if not 1 <= stretch.steps <= MOST_STEPS:
            raise _KIND.fault(file, f"{task} from frame {stretch.first} to {stretch.last} is no stretch of frames")
        found.setdefault(task, []).append(stretch)
    return {task: tuple(stretches) for task, stretches in found.items()}


def _annotations(file: Path) -> tuple[list[Any], list[Any]]:
    """Names of subtasks, and first and last frame of each."""
    data = io.BytesIO(_KIND.read(file))
    try:
        version = npy.read_magic(data)
        shape, _, dtype = npy.read_array_header_1_0(data) if version == (1, 0) else npy.read_array_header_2_0(data)
        held = unpickled(data.read()) if dtype.hasobject and shape == () else None
    except ForbiddenError as error:
        raise _KIND.fault(file, f"its pickle names {error}, which no annotations need; nothing was executed") from error
    except MALFORMED as error:
        raise _KIND.fault(file, f"it is no array of annotations: {' '.join(str(error).split())[:200]}") from error
    match held:
        case PickledArray(state=(int(), (), _, _, [{"language": {"task": list(tasks)}, "info": {"indx": list(bounds)}}])):
            pass
        case _:
            raise _KIND.fault(file, "it has no language.task and info.indx")
    if len(tasks) != len(bounds) or not tasks:
        raise _KIND.fault(file, f"it has {len(tasks)} subtasks for {len(bounds)} stretches of frames")
    return tasks, bounds
