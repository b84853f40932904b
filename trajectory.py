"""The file an episode's states and actions are kept in: enough to replay it, and to draw it again at any size.

A ``.npz`` without pickles: ``actions`` float[T, A], ``render_states`` float64[T+1, R] and ``physics_states`` float64[T+1, P] as
`VlaEnv` returned them, row 0 being where the policy took over, and ``meta`` (JSON): suite, task, trial, seed, instruction, steps,
success, and ``done_declared_at``: steps before the chunks with which the policy declared the task accomplished.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from ._durable import put_in_place
from .errors import RunError, StorageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Trajectory(TypedDict):
    """What `load_trajectory` returns."""

    actions: NDArray[np.floating[Any]]
    render_states: NDArray[np.float64]
    physics_states: NDArray[np.float64]
    meta: dict[str, Any]


def save_trajectory(
    path: Path,
    actions: NDArray[np.floating[Any]],
    render_states: NDArray[np.float64],
    physics_states: NDArray[np.float64],
    meta: dict[str, Any],
) -> None:
    """Write a trajectory file; it is on the disk and complete when this returns, or not there at all.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    arrays = {
        "actions": actions,
        "render_states": render_states,
        "physics_states": physics_states,
        "meta": np.array(json.dumps(meta)),
    }
    try:
        with part.open("wb") as file:
            np.savez_compressed(file, **arrays)
        put_in_place(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"{path} could not be written: {error.strerror}. See to the disk, then resume the run.") from error


def load_trajectory(path: Path) -> Trajectory:
    """Read a trajectory file.

    Raises:
        RunError: The file is missing, cut or not a trajectory.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {
                "actions": file["actions"],
                "render_states": file["render_states"],
                "physics_states": file["physics_states"],
                "meta": json.loads(str(file["meta"])),
            }
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} is not a readable trajectory ({error}); run the episode again to record it.") from error
