"""Recorded episodes as demonstrations: an HDF5 file in the layout of LIBERO's and robomimic's data sets.

Source: LIBERO, scripts/create_dataset.py (names, attributes, images with MuJoCo's rows, from the bottom up), and robomimic,
robomimic/scripts/dataset_states_to_obs.py: row i of everything is of the moment in which action i was given. (In LIBERO's own files
images and the robot's readings are of the moment after it.) `vlagym.envs.demonstrations` plays such a file.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._durable import put_in_place
from ...envs.demonstrations import START, DemonstrableEnv
from ...envs.suite import Suite
from ...episode import EpisodeResult
from ...errors import DependencyError, StorageError
from ...trajectory import Trajectory
from ..run.again import live_again

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CAMERAS = {"primary": "agentview_rgb", "wrist": "eye_in_hand_rgb"}  # as LIBERO's training reads them
_ROBOSUITE_TYPE = 1  # robomimic/envs/env_base.py, EnvType


class DemonstrationFile:
    """A file of one task that is being written, an episode at a time, within a ``with``; it is there when all are in it.

    Args:
        path: A new file.
        suite: Whose episodes.
        task: Name of its task.
        env: Where they are lived through again.

    Raises:
        DependencyError: h5py is not installed.
        StorageError: The file exists, or cannot be made.
    """

    def __init__(self, path: Path, suite: Suite, task: str, env: DemonstrableEnv) -> None:
        try:
            import h5py
        except ImportError as error:
            raise DependencyError(f"writing HDF5 needs h5py ({error}): pip install 'vlagym[hdf5]'.") from error
        self._path, self._part = path, path.with_name(f".{path.name}.part")
        try:
            path.touch(exist_ok=False)  # the name is ours from now on
            self._file = h5py.File(self._part, "w")
        except OSError as error:
            raise StorageError(f"{path} cannot be made: {error}. Name a new file, in a folder that there is.") from error
        self._env = env
        told = next(known.instruction for known in suite.tasks() if known.name == task)
        named = env.demonstrates(task)
        arguments = {"env_name": named["env"], "type": _ROBOSUITE_TYPE, "env_kwargs": {}}
        self._data = self._file.create_group("data")
        self._data.attrs.update(
            {
                **named,
                "env_args": json.dumps(arguments),
                "problem_info": json.dumps({"problem_name": named["env"], "language_instruction": told}),
                "macros_image_convention": "opengl",
            }
        )
        self._written = self._total = 0

    def add(self, result: EpisodeResult, trajectory: Trajectory, size: tuple[int, int] | None) -> None:
        """Execute a recorded episode again, and write it.

        Args:
            result: The episode.
            trajectory: Its own.
            size: (height, width) of every camera's image in pixels; None for the protocol's.

        Raises:
            EnvError: The episode comes out differently on this machine.
        """
        rows: dict[str, list[Any]] = defaultdict(list)
        first: dict[str, Any] = {}

        def moment(env: Any) -> dict[str, Any]:
            if not first:
                first.update(start=self._env.get_state(), model=self._env.model_xml())
            images = {_CAMERAS.get(c, c): self._env.render(c, *(size or (None, None)))[::-1] for c in env.suite.cameras}
            return {**self._env.readings(), **{f"obs/{name}": image for name, image in images.items()}}

        def take(seen: Mapping[str, Any], action: NDArray[np.floating[Any]], success: bool) -> None:
            row = {**seen, "actions": action.astype(np.float64), "rewards": np.float64(success), "dones": np.uint8(0)}
            for name, value in row.items():
                rows[name].append(value)

        live_again(self._env, result, trajectory, moment, take)
        rows["dones"][-1] = np.uint8(1)
        demo = self._data.create_group(f"demo_{self._written}")
        for name, values in rows.items():
            packed = {"compression": "gzip", "chunks": (1, *values[0].shape)} if values[0].ndim == 3 else {}
            demo.create_dataset(name, data=np.stack(values), **packed)
        for name, value in first["start"].items():
            if name != "episode":
                demo[f"{START}/{name}"] = value.astype(np.uint8) if value.dtype == np.bool_ else value
        told = {"num_samples": len(rows["actions"]), "model_file": first["model"], "init_state": rows["states"][0]}
        demo.attrs.update({**told, "episode": result.spec.id})
        self._written, self._total = self._written + 1, self._total + len(rows["actions"])

    def __enter__(self) -> DemonstrationFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Write what the file says of the whole; nothing stays of one that was not finished."""
        if kind is None:
            self._data.attrs.update({"num_demos": self._written, "total": self._total, "tag": "vlagym"})
        self._file.close()
        if kind is None:
            put_in_place(self._part, self._path)
            return
        for file in (self._part, self._path):
            file.unlink(missing_ok=True)
