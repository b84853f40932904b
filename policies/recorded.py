"""Where recorded actions come from: a run's trajectories, demonstrations (HDF5), or a LeRobot data set.

Source of the latter's layout: lerobot 0.4.4, src/lerobot/datasets/utils.py (v3.0: tables of many episodes, tasks.parquet), and
v2.1 before it (a table per episode, tasks.jsonl). Only the tables' actions and numbers are read, no image and no video.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..edges.files import MEGABYTE, FileKind
from ..envs.demonstrations import Demonstrated
from ..envs.suite import Suite
from ..episode import EpisodeSpec
from ..errors import ConfigError, DependencyError
from ..trajectory import load_trajectory

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GIVE = "Give the folder of a LeRobot data set (v2.1 or v3.0), whole."
LEROBOT_META = FileKind("of a LeRobot data set", ConfigError, _GIVE)
LEROBOT_TABLE = FileKind("a table of a LeRobot data set", ConfigError, _GIVE, max_bytes=4096 * MEGABYTE)
MOST_FRAMES = 10_000_000
EPISODES = "vlagym_episodes.json"  # of which episode each is, in a data set that `vla-eval export` wrote


class Played(NamedTuple):
    """What is played in an episode.

    Attributes:
        actions: float[T, A].
        declared_at: Steps before the chunks with which the task is declared accomplished.
    """

    actions: NDArray[np.floating[Any]]
    declared_at: list[int]


class Recording(ABC):
    """Actions by episode."""

    @abstractmethod
    def __len__(self) -> int:
        """How many episodes of the suite there are."""

    @abstractmethod
    def played(self, episode_id: str) -> Played | None:
        """What is played in an episode; None where it was not recorded."""

    @abstractmethod
    def provenance(self) -> dict[str, Any]:
        """What it is, as plain JSON values."""


class Trajectories(Recording):
    """Those of an earlier run, or of any folder of them.

    Raises:
        ConfigError: None is of the suite.
    """

    def __init__(self, folder: Path, suite: Suite) -> None:
        self._files: dict[str, Path] = {}
        for path in sorted([*folder.glob("*.npz"), *(folder / "trajectories").glob("*.npz")]):
            meta = load_trajectory(path)["meta"]
            spec = EpisodeSpec(meta["suite"], meta["task"], meta["trial"], meta["seed"])
            if spec.suite == suite.name:
                self._files[spec.id] = path
        if not self._files:
            raise ConfigError(f"policy.run={folder}: no recorded trajectory of suite {suite.name!r} there.")

    def __len__(self) -> int:
        return len(self._files)

    def played(self, episode_id: str) -> Played | None:
        if episode_id not in self._files:
            return None
        trajectory = load_trajectory(self._files[episode_id])
        return Played(trajectory["actions"], trajectory["meta"].get("done_declared_at", []))

    def provenance(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for episode_id in sorted(self._files):
            digest.update(self._files[episode_id].read_bytes())
        return {"trajectories": len(self._files), "trajectories_sha256": digest.hexdigest()}


class Demonstrations(Recording):
    """Those that the suite's trials begin as; each is over with its last action."""

    def __init__(self, suite: Demonstrated) -> None:
        self._suite = suite

    def __len__(self) -> int:
        return sum(task.trials for task in self._suite.tasks())

    def played(self, episode_id: str) -> Played | None:
        spec = EpisodeSpec.from_id(episode_id)
        actions = self._suite.demonstration(spec.task, spec.trial).actions
        return Played(actions, [len(actions) - 1])

    def provenance(self) -> dict[str, Any]:
        return {"demonstrations": len(self)}  # the suite's protocol has their hash


class LeRobotEpisodes(Recording):
    """Those of a LeRobot data set; each is over with its last action.

    The n-th episode with a task's sentence is the task's trial n; a data set that `vla-eval export` wrote says it itself.

    Args:
        folder: Of the data set.
        suite: Its tasks are found by their sentences.

    Raises:
        DependencyError: pyarrow is not installed.
        ConfigError: It is not such a data set, or no episode is of a task of the suite.
    """

    def __init__(self, folder: Path, suite: Suite) -> None:
        self._digest = hashlib.sha256()
        sentences = _sentences(folder)
        own = _own_episodes(folder)
        tasks = {_plain(task.instruction): task.name for task in suite.tasks()}
        trials: Counter[str] = Counter()
        self._actions: dict[tuple[str, int], NDArray[np.floating[Any]]] = {}
        self._specs: set[str] | None = None if own is None else set()
        for number, (task_index, actions) in enumerate(self._episodes(folder)):
            if own is not None and number < len(own):
                spec = EpisodeSpec.from_id(own[number])
                if spec.suite == suite.name and self._specs is not None:
                    self._actions[spec.task, spec.trial] = actions
                    self._specs.add(spec.id)
                continue
            task = tasks.get(_plain(sentences.get(task_index, "")))
            if task is not None:
                self._actions[task, trials[task]] = actions
                trials[task] += 1
        if not self._actions:
            told = ", ".join(repr(sentence) for sentence in list(sentences.values())[:3])
            raise ConfigError(f"policy.run={folder}: no episode is of a task of {suite.name}; its sentences are {told}, ...")
        size = suite.action_spec.size
        wide = next((a.shape[1] for a in self._actions.values() if a.shape[1] != size), None)
        if wide is not None:
            raise ConfigError(f"policy.run={folder}: its actions have {wide} entries, and those of {suite.name} {size}.")

    def __len__(self) -> int:
        return len(self._actions)

    def played(self, episode_id: str) -> Played | None:
        spec = EpisodeSpec.from_id(episode_id)
        if self._specs is not None and episode_id not in self._specs:
            return None
        actions = self._actions.get((spec.task, spec.trial))
        return None if actions is None else Played(actions, [len(actions) - 1])

    def provenance(self) -> dict[str, Any]:
        return {"episodes": len(self), "episodes_sha256": self._digest.hexdigest()}

    def _episodes(self, folder: Path) -> list[tuple[int, NDArray[np.floating[Any]]]]:
        """Task and actions of every episode, in the order of their numbers."""
        found: dict[int, tuple[int, list[NDArray[np.floating[Any]]]]] = {}
        frames = 0
        for file in sorted((folder / "data").glob("**/*.parquet")):
            columns = _table(file, ("action", "episode_index", "task_index"), MOST_FRAMES - frames)
            frames += len(columns["episode_index"])
            actions = columns["action"]
            if actions.dtype.kind != "f" or actions.ndim != 2 or not np.isfinite(actions).all():
                raise LEROBOT_TABLE.fault(file, "action: expected finite numbers, as many in every frame")
            for episode in np.unique(columns["episode_index"]).tolist():
                chosen = columns["episode_index"] == episode
                _, parts = found.setdefault(int(episode), (int(columns["task_index"][chosen][0]), []))
                parts.append(actions[chosen])
        for episode in sorted(found):
            for part in found[episode][1]:
                self._digest.update(np.ascontiguousarray(part).tobytes())
        return [(found[episode][0], np.concatenate(found[episode][1])) for episode in sorted(found)]


def is_lerobot(folder: Path) -> bool:
    """Whether a folder is that of a LeRobot data set."""
    return (folder / "meta" / "info.json").is_file()


def _sentences(folder: Path) -> dict[int, str]:
    """Task number -> sentence."""
    table, lines = folder / "meta" / "tasks.parquet", folder / "meta" / "tasks.jsonl"
    if table.is_file():
        columns = _table(table, None, MOST_FRAMES)
        named = next((name for name in ("task", "__index_level_0__") if name in columns), None)
        if named is None or "task_index" not in columns:
            raise LEROBOT_TABLE.fault(table, "it has no task and task_index")
        return {int(number): str(said) for number, said in zip(columns["task_index"], columns[named], strict=True)}
    found = {}
    for line in LEROBOT_META.text(lines).splitlines():
        try:
            record = json.loads(line)
            found[int(record["task_index"])] = str(record["task"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise LEROBOT_META.fault(lines, f"not lines with task_index and task: {error}") from error
    return found


def _own_episodes(folder: Path) -> list[str] | None:
    """The episodes' ids where `vla-eval export` wrote the data set."""
    file = folder / "meta" / EPISODES
    if not file.is_file():
        return None
    ids = LEROBOT_META.converted(file, LEROBOT_META.json(file), list[str])
    try:
        for episode_id in ids:
            EpisodeSpec.from_id(episode_id)
    except ValueError as error:
        raise LEROBOT_META.fault(file, str(error)) from error
    return ids


def _table(file: Path, names: tuple[str, ...] | None, most: int) -> dict[str, NDArray[Any]]:
    """Columns of a Parquet file; lists of one length become rows."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DependencyError(f"reading a LeRobot data set needs pyarrow ({error}): pip install 'vlagym[parquet]'.") from error
    try:
        if file.stat().st_size > LEROBOT_TABLE.max_bytes:
            raise LEROBOT_TABLE.fault(file, f"it has more than {LEROBOT_TABLE.max_bytes} bytes")
        opened = pq.ParquetFile(file)
        if opened.metadata.num_rows > most:
            raise LEROBOT_TABLE.fault(file, f"the data set has more than {MOST_FRAMES} frames")
        if missing := [name for name in names or () if name not in opened.schema_arrow.names]:
            raise LEROBOT_TABLE.fault(file, f"it has no column {missing[0]}")
        table = opened.read(columns=None if names is None else list(names))
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
        return {name: np.array(values, np.float32 if name == "action" else None) for name, values in columns.items()}
    except (OSError, ValueError, pa.ArrowException) as error:
        raise LEROBOT_TABLE.fault(file, " ".join(str(error).split())[:200]) from error


def _plain(sentence: str) -> str:
    return " ".join(sentence.lower().split()).rstrip(".")
