"""The folder of a run: what was asked for, what it ran on, and one line per finished episode, safe against crashes.

Layout::

    config.yaml        the resolved settings of every leg
    run.json           versions, machine, protocols and their hashes, policies, notices, hash of the plan
    episodes.jsonl     one `EpisodeResult` per line, appended and fsynced; of several lines of one episode the last counts, but
                       never an error over a result; the others are dropped when a run ends. Whoever writes to the run has this
                       file locked.
    episodes.shard-N-of-M.jsonl, run.shard-N-of-M.json
                       the same of each shard of a run that several processes share, until ``vla-eval merge`` joins them
    trajectories/      states and actions of every episode, on the disk before its line is
    videos/            one MP4 per episode, as far as asked for, likewise
    summary.csv, summary.md

A folder is a run from the moment it is there: it is filled under another name and then renamed. Only where the folder was there
before, empty, it is filled in place; run.json comes last, and without it there is no run yet.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..._durable import make_folder, put_in_place, write_durably
from ...episode import EpisodeResult, EpisodeSpec
from ...errors import ConfigError, RunError, StorageError
from ..plan.config import RunConfig
from ..plan.shard import Shard
from .log import EpisodeLog, is_open
from .schema import CONFIG_FILE, EPISODES_FILE, checked_header
from .shards import episode_files, episodes_name, with_sheets

_STAGING = ".vla-eval.*.part"
_PATIENCE_S, _POLL_S = 5.0, 0.05  # far longer than it takes to fill one
_STALE_S = 60.0  # far longer than it takes to fill one
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
# What a start that was killed leaves in a folder that was there before, today or in earlier versions.
_LEFTOVERS = {".lock", "episodes.jsonl", "config.yaml", ".config.yaml.part", ".run.json.part"}


class FolderTakenError(RunError):
    """There is something where a new run was to be kept."""


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

    def create(self, config: RunConfig, header: dict[str, Any]) -> EpisodeLog:
        """Make the folder of a new run, all of it at once; of two that try, one gets it.

        Returns:
            Its episodes.jsonl, which nobody else can open until it is closed.

        Raises:
            FolderTakenError: It exists and is not empty.
            StorageError: It cannot be written.
        """
        from omegaconf import OmegaConf

        settings = OmegaConf.to_yaml(OmegaConf.create(config.to_json()))
        try:
            if self.path.is_dir():
                return self._move_in(settings, header)
            return self._make(settings, header)
        except OSError as error:
            if error.errno in _TAKEN:
                raise self._taken() from error
            raise StorageError(f"the run's folder {self.path} cannot be written: {error.strerror}.") from error

    def open_log(self) -> EpisodeLog:
        """The run's episodes.jsonl, which nobody else can open until it is closed: before anything is read in order to go on.

        Raises:
            RunError: The folder holds no run, or another process has it open.
            StorageError: It cannot be written to.
        """
        self._check_is_run()
        return EpisodeLog(self.episodes_file)

    def create_or_find(self, config: RunConfig, header: dict[str, Any]) -> bool:
        """Make the folder that the shards of a run share, unless another one has; whether it was made.

        Raises:
            FolderTakenError: It exists and is neither empty nor a run.
            StorageError: It cannot be written.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not self.is_run():
            try:
                self.create(config, header).close()
                return True
            except StorageError:
                raise
            except RunError:  # another one is filling it, or has just done so
                if time.monotonic() >= deadline and not self.is_run():
                    raise
            time.sleep(_POLL_S)
        return False

    def is_run(self) -> bool:
        """Whether the folder holds a run, with all that belongs to it."""
        return self.header_file.is_file()

    def open_shard(self, shard: Shard) -> EpisodeLog:
        """A shard's file of episodes, which nobody else can open until it is closed; other shards are none of its business.

        Raises:
            RunError: The folder holds no run, or another process runs the same shard, other shards, or the run as a whole.
            StorageError: It cannot be written to.
        """
        self._check_is_run()
        for other, file in episode_files(self.path).items():
            if other.count != shard.count and is_open(file):
                raise RunError(
                    f"{self.path} is being run in {other.count} shards; shard {shard} has to wait until they are done, or to be "
                    f"one of the {other.count}."
                )
        return EpisodeLog(self.path / episodes_name(shard), beside=self.episodes_file)

    def write_header(self, header: dict[str, Any]) -> None:
        """Replace run.json; for whoever has the log open.

        Raises:
            StorageError: It cannot be written; the old one is still there.
        """
        try:
            write_durably(self.header_file, json.dumps(header, indent=2) + "\n")
        except OSError as error:
            raise StorageError(f"{self.header_file} cannot be written: {error.strerror}.") from error

    def config(self) -> RunConfig:
        """The settings the run was started with.

        Raises:
            RunError: The folder holds no run, or its configuration is damaged.
        """
        self._check_is_run()
        values = CONFIG_FILE.yaml(self.config_file)
        try:
            if not isinstance(values, dict):
                raise ConfigError("a mapping of settings is expected")
            return RunConfig.from_json({str(key): value for key, value in values.items()})
        except ConfigError as error:
            raise CONFIG_FILE.fault(self.config_file, str(error).rstrip(".")) from error

    def header(self) -> dict[str, Any]:
        """What the run ran on.

        Raises:
            RunError: run.json is missing or damaged, or shards of the run measured different things.
        """
        return with_sheets(self.path, checked_header(self.header_file))

    def results(self) -> list[EpisodeResult]:
        """One result per episode, in the order in which they came; a last line that a crash cut short is left out.

        Of several lines of one episode the last counts, but no error over a result. Nothing is modified.

        Raises:
            RunError: A line in the middle is damaged, or a file cannot be read.
        """
        return list(joined(self.results_by_file()).values())

    def results_by_file(self) -> dict[Path, dict[EpisodeSpec, EpisodeResult]]:
        """What each file of episodes has, by episode: those of shards, then the run's own.

        Raises:
            RunError: As `results`.
        """
        own = [self.episodes_file] if os.path.lexists(self.episodes_file) else []
        with _no_garbage_collection():
            return {file: _read(file) for file in [*episode_files(self.path).values(), *own]}

    def _check_is_run(self) -> None:
        try:
            if self.config_file.is_file():
                return
        except OSError as error:
            raise RunError(f"{self.path} cannot be read: {error.strerror}.") from error
        raise RunError(f"{self.path} is not a run: it has no config.yaml.")

    def _make(self, settings: str, header: dict[str, Any]) -> EpisodeLog:
        """Fill a folder beside the one to be, then rename it."""
        make_folder(self.path.parent)
        _sweep(self.path.parent)
        staging = RunFolder(self.path.with_name(_STAGING.replace("*", uuid.uuid4().hex)))
        staging.path.mkdir()
        log: EpisodeLog | None = None
        try:
            log = EpisodeLog(staging.episodes_file)
            staging._fill(settings, header)
            put_in_place(staging.path, self.path)
        except BaseException:  # raised again: whatever it was, nothing stays behind
            if log is not None:
                log.close()
            shutil.rmtree(staging.path, ignore_errors=True)
            raise
        log.path = self.episodes_file
        return log

    def _move_in(self, settings: str, header: dict[str, Any]) -> EpisodeLog:
        """Fill a folder that is there and holds nothing, or only what a start that was killed has left."""
        if not self._is_free():
            raise self._taken()
        log = EpisodeLog(self.episodes_file)
        try:
            if not self._is_free():  # now that nobody else can move in
                raise self._taken()
            self._fill(settings, header)
        except BaseException:  # raised again: the next one can have the folder
            log.close()
            raise
        return log

    def _fill(self, settings: str, header: dict[str, Any]) -> None:
        write_durably(self.config_file, settings)
        write_durably(self.header_file, json.dumps(header, indent=2) + "\n")

    def _is_free(self) -> bool:
        there = {entry.name for entry in self.path.iterdir()}
        if not there <= _LEFTOVERS or (self.episodes_file.name in there and self.episodes_file.stat().st_size):
            return False
        if self.config_file.name not in there:
            return True
        try:
            self.config()
        except RunError:
            return False  # somebody else's config.yaml
        return True

    def _taken(self) -> FolderTakenError:
        what = "is not empty" if self.path.is_dir() else "is not a folder"
        return FolderTakenError(f"{self.path} {what}; choose another run_dir, or finish the run in it with resume={self.path}.")


def _read(file: Path) -> dict[EpisodeSpec, EpisodeResult]:
    """What a file of episodes has."""
    found: dict[EpisodeSpec, EpisodeResult] = {}
    for _, result in _lines(file):
        _add(found, (result,))
    return found


def _lines(file: Path) -> Iterator[tuple[bytes, EpisodeResult]]:
    """The lines of a file of episodes, and what they say."""
    complete = EPISODES_FILE.read(file).split(b"\n")[:-1]  # the text ends with a newline unless the last line was cut
    for number, line in enumerate(complete, 1):
        try:
            yield line, EpisodeResult.from_line(line)
        except ValueError as error:
            raise RunError(
                f"{file}, line {number} is damaged: {error}. Remove the line, then resume the run: its episode is run again."
            ) from error


def drop_what_counts_no_more(log: EpisodeLog) -> None:
    """Leave one line per episode in a log: whoever counts lines, counts episodes.

    Raises:
        RunError: The file cannot be read.
        StorageError: It cannot be written; nothing has changed.
    """
    with _no_garbage_collection():
        lines = [*_lines(log.path)]
        counting: dict[EpisodeSpec, EpisodeResult] = {}
        _add(counting, (result for _, result in lines))
        if len(counting) < len(lines):
            texts = {id(result): line for line, result in lines}
            log.keep(texts[id(result)] for result in counting.values())


def joined(by_file: Mapping[Path, Mapping[EpisodeSpec, EpisodeResult]]) -> dict[EpisodeSpec, EpisodeResult]:
    """One result per episode of what `RunFolder.results_by_file` found, in the order in which they came."""
    found: dict[EpisodeSpec, EpisodeResult] = {}
    for results in by_file.values():
        if found:
            _add(found, results.values())
        else:
            found.update(results)
    return found


def _add(found: dict[EpisodeSpec, EpisodeResult], results: Iterable[EpisodeResult]) -> None:
    """Add later results, where they count."""
    for result in results:
        if result.error is None or result.spec not in found or found[result.spec].error is not None:
            found[result.spec] = result


def _sweep(parent: Path) -> None:
    """Remove folders whose making was ended by a kill or a power loss: nobody has their log open any more."""
    for staging in parent.glob(_STAGING):
        try:
            if time.time() - staging.stat().st_mtime > _STALE_S:
                EpisodeLog(staging / "episodes.jsonl").close()
                shutil.rmtree(staging, ignore_errors=True)
        except (RunError, OSError):
            continue  # it is being filled, or another one has just removed it


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
