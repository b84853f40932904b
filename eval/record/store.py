"""The folder of a run: what was asked for, what it ran on, and one line per finished episode, safe against crashes.

Layout::

    config.yaml        the resolved settings of every leg
    run.json           versions, machine, protocols and their hashes, policies, notices, hash of the plan
    episodes.jsonl     one `EpisodeResult` per line, flushed and fsynced as it is written
    trajectories/      states and actions of every episode
    videos/            one MP4 per episode, as far as asked for
    summary.csv, summary.md
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..episode import EpisodeResult, EpisodeSpec
from ..errors import ConfigError, RunError
from .config import RunConfig
from .events import Subscriber


class RunFolder:
    """A run's files by name.

    Args:
        path: The folder; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.header_file = path / "run.json"
        self.episodes_file = path / "episodes.jsonl"

    def create(self, config: RunConfig, header: dict[str, Any]) -> None:
        """Make the folder of a new run.

        Raises:
            RunError: It exists and is not empty, or cannot be written.
        """
        from omegaconf import OmegaConf

        if self.path.exists() and any(self.path.iterdir()):
            raise RunError(f"{self.path} is not empty; choose another run_dir, or finish the run in it with resume={self.path}.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _write_atomically(self.config_file, OmegaConf.to_yaml(OmegaConf.create(config.to_json())))
            self.write_header(header)
        except OSError as error:
            raise RunError(f"the run's folder {self.path} cannot be written: {error}.") from error

    def write_header(self, header: dict[str, Any]) -> None:
        """Replace run.json."""
        _write_atomically(self.header_file, json.dumps(header, indent=2) + "\n")

    def config(self) -> RunConfig:
        """The settings the run was started with.

        Raises:
            RunError: The folder holds no run, or its configuration is damaged.
        """
        from omegaconf import OmegaConf
        from yaml import YAMLError

        if not self.config_file.is_file():
            raise RunError(f"{self.path} is not a run: it has no config.yaml.")
        try:
            values = OmegaConf.to_container(OmegaConf.load(self.config_file), resolve=False)
            if not isinstance(values, dict):
                raise ConfigError("not a mapping")
            return RunConfig.from_json({str(key): value for key, value in values.items()})
        except (ConfigError, YAMLError, OSError) as error:
            raise RunError(f"{self.config_file} is damaged: {error}") from error

    def header(self) -> dict[str, Any]:
        """What the run ran on.

        Raises:
            RunError: run.json is missing or damaged.
        """
        try:
            header: dict[str, Any] = json.loads(self.header_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.header_file} is missing or damaged: {error}.") from error
        return header

    def results(self) -> list[EpisodeResult]:
        """Results in the order of writing; a last line that a crash cut short is left out. Nothing is modified.

        Raises:
            RunError: A line in the middle is damaged.
        """
        if not self.episodes_file.exists():
            return []
        lines = self.episodes_file.read_text(encoding="utf-8").split("\n")
        complete = lines[:-1]  # the text ends with a newline unless the last line was cut
        results = []
        with _no_garbage_collection():
            for number, line in enumerate(complete, 1):
                try:
                    results.append(EpisodeResult.from_json(json.loads(line)))
                except (ValueError, TypeError, RunError) as error:
                    raise RunError(f"{self.episodes_file}, line {number} is damaged: {error}.") from error
        return results


class Store(Subscriber):
    """Appends every result to episodes.jsonl; a line that was written stays written whatever happens next.

    Args:
        folder: Where the run is kept.

    Raises:
        RunError: Another process is writing to this run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._lock = (folder.path / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"another process is running {folder.path}; wait for it or stop it first.") from error
        self._file: IO[str] | None = None

    def run_started(self, plan: Sequence[EpisodeSpec], finished: Sequence[EpisodeResult]) -> None:
        self._rewrite(finished)
        _remove_parts(self._folder.path)
        self._file = self._folder.episodes_file.open("a", encoding="utf-8")

    def episode_ended(self, result: EpisodeResult) -> None:
        assert self._file is not None
        try:
            self._file.write(json.dumps(result.to_json()) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            remedy = f"Free some space, then `vla-eval resume={self._folder.path}`."
            raise RunError(f"{self._folder.episodes_file} cannot be written: {error}. {remedy}") from error

    def run_ended(self, interrupted: bool) -> None:
        if self._file is not None:
            self._file.close()
        _remove_parts(self._folder.path)
        self._lock.close()

    def _rewrite(self, finished: Sequence[EpisodeResult]) -> None:
        """Keep what counts of earlier sessions: a cut last line and errors, which are tried again, go."""
        if self._folder.episodes_file.exists():
            text = "".join(json.dumps(result.to_json()) + "\n" for result in finished)
            _write_atomically(self._folder.episodes_file, text)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Records form no cycles, and looking for cycles among many thousands of them takes as long as reading them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _write_atomically(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _remove_parts(path: Path) -> None:
    """Remove what workers that were killed left unfinished."""
    shutil.rmtree(path / "videos" / ".partial", ignore_errors=True)
    for part in (path / "trajectories").glob(".*.part"):
        part.unlink(missing_ok=True)
