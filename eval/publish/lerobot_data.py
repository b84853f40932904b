"""Episodes as a LeRobot data set of version 3.0.

The layout is that of lerobot 0.4.4 (src/lerobot/datasets/utils.py and lerobot_dataset.py). Images are PNG files in the tables
(LeRobot's dtype ``image``), so that not a bit of them is lost; a file of the data holds one episode.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...envs.spec import SuiteSettings
from ...episode import EpisodeSpec
from ...policies.recorded import EPISODES
from .episodes import Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = "v3.0"
FILES_PER_CHUNK = 1000
_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_PIXELS_APART = 4  # of an image, along each axis, those that the statistics look at


class LeRobotDataset:
    """A data set that is being written, an episode at a time; it is whole after `close`.

    Args:
        folder: An empty one.
        suite: Whose episodes.
        sizes: Camera -> (height, width) of its images in pixels.
    """

    def __init__(self, folder: Path, suite: SuiteSettings, sizes: Mapping[str, tuple[int, int]]) -> None:
        self._folder, self._suite = folder, suite
        self._features = _features(suite, sizes)
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict[str, Any]] = []
        self._frames: list[dict[str, Any]] = []
        self._written = 0
        self._ids: list[str] = []
        self._statistics = {name: _Statistics() for name in self._features}

    def take(self, frame: Frame) -> None:
        """Add a frame to the episode under way."""
        number = len(self._frames)
        row: dict[str, Any] = {
            "observation.state": np.asarray(frame.state, np.float32),
            "action": np.asarray(frame.action, np.float32),
            "next.reward": np.float32(frame.success),
            "next.success": frame.success,
            "timestamp": np.float32(number / self._suite.action_spec.control_hz),
            "frame_index": number,
            "episode_index": len(self._episodes),
            "index": self._written + number,
            "task_index": self._tasks.setdefault(frame.instruction, len(self._tasks)),
        }
        for name, value in row.items():
            self._statistics[name].add(np.atleast_1d(np.asarray(value, np.float64))[None])
        for camera, image in frame.images.items():
            name = f"observation.images.{camera}"
            self._statistics[name].add(image[::_PIXELS_APART, ::_PIXELS_APART].reshape(-1, 3) / 255, frames=1)
            row[name] = {"bytes": _png(image), "path": None}
        self._frames.append(row)

    def end_episode(self, spec: EpisodeSpec) -> None:
        """Write the episode under way, which is the one of a run."""
        self._ids.append(spec.id)
        chunk, file = divmod(len(self._episodes), FILES_PER_CHUNK)
        where = _DATA.format(chunk_index=chunk, file_index=file)
        _write_table(self._folder / where, self._frames, self._features)
        told = {number: sentence for sentence, number in self._tasks.items()}
        self._episodes.append(
            {
                "episode_index": len(self._episodes),
                "tasks": list(dict.fromkeys(told[frame["task_index"]] for frame in self._frames)),
                "length": len(self._frames),
                "data/chunk_index": chunk,
                "data/file_index": file,
                "dataset_from_index": self._written,
                "dataset_to_index": self._written + len(self._frames),
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
            }
        )
        self._written += len(self._frames)
        self._frames = []

    def close(self) -> None:
        """Write what LeRobot has to know of the whole."""
        import pandas as pd

        meta = self._folder / "meta"
        (meta / "episodes" / "chunk-000").mkdir(parents=True, exist_ok=True)
        pd.DataFrame(self._episodes).to_parquet(meta / "episodes" / "chunk-000" / "file-000.parquet")
        pd.DataFrame({"task_index": list(self._tasks.values())}, index=list(self._tasks)).to_parquet(meta / "tasks.parquet")
        info = {
            "codebase_version": VERSION,
            "robot_type": None,
            "total_episodes": len(self._episodes),
            "total_frames": self._written,
            "total_tasks": len(self._tasks),
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 500,
            "fps": self._suite.action_spec.control_hz,
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": _DATA,
            "video_path": _VIDEO,
            "features": self._features,
        }
        statistics = {name: found.of(self._features[name]) for name, found in self._statistics.items()}
        for name, content in (("info.json", info), ("stats.json", statistics), (EPISODES, self._ids)):
            (meta / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


class _Statistics:
    """Smallest, largest, mean and standard deviation per entry of rows float64[N, D], added up as they come."""

    def __init__(self) -> None:
        self.frames = self.count = 0
        self.low = self.high = self.total = self.squares = np.zeros(0)

    def add(self, rows: NDArray[np.float64], frames: int | None = None) -> None:
        low, high = rows.min(axis=0), rows.max(axis=0)
        first = self.count == 0
        self.low = low if first else np.minimum(self.low, low)
        self.high = high if first else np.maximum(self.high, high)
        self.total = rows.sum(axis=0) + (0 if first else self.total)
        self.squares = (rows**2).sum(axis=0) + (0 if first else self.squares)
        self.count += len(rows)
        self.frames += len(rows) if frames is None else frames

    def of(self, feature: Mapping[str, Any]) -> dict[str, Any]:
        """As stats.json has it; of an image per channel, float64[3, 1, 1] of values from 0 to 1."""
        mean = self.total / self.count
        deviation = np.sqrt(np.maximum(self.squares / self.count - mean**2, 0))
        found = {"min": self.low, "max": self.high, "mean": mean, "std": deviation}
        shape = (3, 1, 1) if feature["dtype"] == "image" else (-1,)
        return {**{name: value.reshape(shape).tolist() for name, value in found.items()}, "count": [self.frames]}


def _features(suite: SuiteSettings, sizes: Mapping[str, tuple[int, int]]) -> dict[str, dict[str, Any]]:
    state, action = suite.state_spec, suite.action_spec
    names = [f.name if f.size == 1 else f"{f.name}_{number}" for f in state.fields for number in range(f.size)]
    images = {
        f"observation.images.{camera}": {"dtype": "image", "shape": [*size, 3], "names": ["height", "width", "channels"]}
        for camera, size in sizes.items()
    }
    return {
        "observation.state": {"dtype": "float32", "shape": [state.size], "names": names},
        "action": {"dtype": "float32", "shape": [action.size], "names": list(action.names)},
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
        "next.success": {"dtype": "bool", "shape": [1], "names": None},
        **images,
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        **{name: {"dtype": "int64", "shape": [1], "names": None} for name in _NUMBERS},
    }


_NUMBERS = ("frame_index", "episode_index", "index", "task_index")


def _write_table(path: Path, rows: list[dict[str, Any]], features: Mapping[str, Mapping[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}

    def kind(feature: Mapping[str, Any]) -> Any:
        if feature["dtype"] == "image":
            return pa.struct({"bytes": pa.binary(), "path": pa.string()})
        (length,) = feature["shape"]
        return kinds[feature["dtype"]] if length == 1 else pa.list_(kinds[feature["dtype"]], length)

    schema = pa.schema([(name, kind(feature)) for name, feature in features.items()])
    columns = {
        name: [row[name] if features[name]["shape"] != [1] else np.atleast_1d(row[name])[0] for row in rows] for name in features
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns, schema=schema), path)


def _png(image: NDArray[np.uint8]) -> bytes:
    import imageio.v3 as imageio

    buffer = io.BytesIO()
    imageio.imwrite(buffer, image, extension=".png")
    return buffer.getvalue()
