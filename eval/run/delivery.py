"""Files of workers that do not share a disk with the main process: they come with the messages and are put into the run's folder.

A worker elsewhere records into a folder of its own as if that were the run's; when an episode is over, what the result names is
sent with it. The main process puts it on its disk before anyone hears of the result, so that a line in episodes.jsonl still means
that its files are there.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..._durable import make_folder, write_durably
from ...edges.text import differences
from ...envs.suite import Suite
from ...episode import EpisodeResult
from ...errors import ConfigError, StorageError
from .messages import Begin, Ended
from .rollout import RecordSettings

_KINDS = ("trajectory", "video")  # entries of `EpisodeResult.execution` that name files


class Outbox:
    """The worker's side: a folder that is gone when the worker leaves."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vlagym-worker-"))

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *exception: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def unpack(self, files: Mapping[str, bytes]) -> None:
        """Have what the main process sent beside an episode to draw again."""
        for name, content in files.items():
            (self.folder / name).write_bytes(content)

    def pack(self, result: EpisodeResult) -> dict[str, bytes]:
        """Take the files of an episode out of the folder."""
        files = {}
        for name in _names(result):
            file = self.folder / name
            files[name] = file.read_bytes()
            file.unlink()
        return files


def check_same_suite(suite: Suite, provenance: Mapping[str, Any]) -> None:
    """Make sure that packages, data and renderer of a suite are here what they are where the run is kept.

    Raises:
        ConfigError: They are not: episodes could come out differently here.
    """
    if found := differences(provenance, suite.provenance()):
        raise ConfigError(
            f"{suite.name} is not the same here as on the machine that the run was started on ({found}); make them the same, or "
            "start the run on a machine like this one."
        )


def make_folders(record: RecordSettings) -> None:
    """Make the folders that workers of this machine would make.

    Raises:
        StorageError: They cannot be.
    """
    for name in ("trajectories", *([] if record.video == "none" else ["videos"])):
        try:
            make_folder(record.run_dir / name)
        except OSError as error:
            raise StorageError(f"{record.run_dir / name} cannot be made: {error.strerror}.") from error


def with_trajectory(command: Begin, run: Path) -> Begin:
    """The command, with the trajectory from which an episode is to be drawn again."""
    if command.undrawn is None:
        return command
    name = command.undrawn.execution["trajectory"]
    return replace(command, files={name: (run / name).read_bytes()})


def put_in_run(ended: Ended, run: Path) -> Ended:
    """Put what came with a result into the run's folder, durably; what is left is the result.

    Raises:
        StorageError: A trajectory cannot be written. A video that cannot is said in the result, as of a worker of this machine.
    """
    execution = dict(ended.result.execution)
    for kind in _KINDS:
        name = execution.get(kind)
        if name is None or name not in ended.files:
            continue
        try:
            _put(run, name, ended.files[name])
        except OSError as error:
            said = f"{run / name} could not be written: {error.strerror}. See to the disk, then resume the run."
            if kind == "trajectory":
                raise StorageError(said) from error
            execution |= {kind: None, f"{kind}_error": said}
    return Ended(replace(ended.result, execution=execution))


def _put(run: Path, name: str, content: bytes) -> None:
    final = (run / name).resolve()
    if not final.is_relative_to(run.resolve()):
        raise StorageError(f"a worker sent a file for {name!r}, which is not in the run's folder.")
    write_durably(final, content)


def _names(result: EpisodeResult) -> list[str]:
    return [name for kind in _KINDS if (name := result.execution.get(kind)) is not None]
