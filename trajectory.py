"""The file an episode's states and actions are kept in: enough to replay it, and to draw it again at any size.

A ``.npz`` without pickles: ``actions`` float[T, A], ``render_states`` float64[T+1, R] and ``physics_states`` float64[T+1, P] as
`VlaEnv` returned them, row 0 being where the policy took over, and ``meta`` (JSON): suite, task, trial, seed, instruction, steps,
success, and ``done_declared_at``: steps before the chunks with which the policy declared the task accomplished. Where the scene was
drawn from a seed and is in no file of initial states, ``drawn_state`` float64[S] is what was drawn.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import numpy as np
from msgspec import Meta, Struct

from ._durable import put_in_place
from .edges.arrays import finite, read_arrays
from .edges.files import FileKind
from .errors import RunError, StorageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


TRAJECTORY_FILE = FileKind("a trajectory", RunError, "Run the episode again to record it.")
_Number = Annotated[int, Meta(ge=0, lt=2**53)]


class _Meta(Struct):
    suite: str
    task: str
    trial: _Number
    seed: _Number
    instruction: str
    steps: _Number
    success: bool | None
    done_declared_at: list[_Number] = []


class Trajectory(TypedDict):
    """What `load_trajectory` returns."""

    actions: NDArray[np.floating[Any]]
    render_states: NDArray[np.float64]
    physics_states: NDArray[np.float64]
    meta: dict[str, Any]
    drawn_state: NDArray[np.float64] | None


def save_trajectory(
    path: Path,
    actions: NDArray[np.floating[Any]],
    render_states: NDArray[np.float64],
    physics_states: NDArray[np.float64],
    meta: dict[str, Any],
    drawn_state: NDArray[np.float64] | None = None,
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
        **({} if drawn_state is None else {"drawn_state": drawn_state}),
    }
    archive = io.BytesIO()  # numpy leaves a file that finds the disk full half open
    np.savez_compressed(archive, **arrays)
    try:
        part.write_bytes(archive.getvalue())
        put_in_place(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"{path} could not be written: {error.strerror}. See to the disk, then resume the run.") from error


def load_trajectory(path: Path) -> Trajectory:
    """Read a trajectory file.

    Raises:
        RunError: The file is missing, cut or not a trajectory.
    """
    arrays = read_arrays(path, TRAJECTORY_FILE)
    missing = [name for name in ("actions", "render_states", "physics_states", "meta") if name not in arrays]
    if missing:
        raise TRAJECTORY_FILE.fault(path, f"it has no {' and no '.join(missing)}")
    meta = _meta(path, arrays["meta"])
    actions = arrays["actions"]
    actions = finite(path, TRAJECTORY_FILE, "actions", actions.reshape(0, 0) if actions.shape == (0,) else actions, 2)
    states = [finite(path, TRAJECTORY_FILE, name, arrays[name], 2) for name in ("render_states", "physics_states")]
    if not len(actions) + 1 == len(states[0]) == len(states[1]) == meta["steps"] + 1:
        lengths = f"{len(actions)} actions, {len(states[0])} and {len(states[1])} states for {meta['steps']} steps"
        raise TRAJECTORY_FILE.fault(path, f"expected one state more than actions, got {lengths}")
    drawn = finite(path, TRAJECTORY_FILE, "drawn_state", arrays["drawn_state"], 1) if "drawn_state" in arrays else None
    return {"actions": actions, "render_states": states[0], "physics_states": states[1], "meta": meta, "drawn_state": drawn}


def _meta(path: Path, array: NDArray[Any]) -> dict[str, Any]:
    """The checked record beside the arrays."""
    if array.dtype.kind != "U" or array.size != 1:
        raise TRAJECTORY_FILE.fault(path, f"meta: expected one text, got {array.dtype}{list(array.shape)}")
    try:
        meta = json.loads(str(array))
        TRAJECTORY_FILE.converted(path, meta, _Meta)
    except (ValueError, RecursionError) as error:
        raise TRAJECTORY_FILE.fault(path, f"meta: not JSON ({error})") from error
    checked: dict[str, Any] = meta
    return checked
