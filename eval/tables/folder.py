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

import gc
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...episode import EpisodeResult
from ...errors import ConfigError, RunError
from ..plan.config import RunConfig


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
            write_atomically(self.config_file, OmegaConf.to_yaml(OmegaConf.create(config.to_json())))
            self.write_header(header)
        except OSError as error:
            raise RunError(f"the run's folder {self.path} cannot be written: {error}.") from error

    def write_header(self, header: dict[str, Any]) -> None:
        """Replace run.json."""
        write_atomically(self.header_file, json.dumps(header, indent=2) + "\n")

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


def write_atomically(path: Path, text: str) -> None:
    """Replace a file so that it is the old or the new one, whole, whenever the process ends."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
