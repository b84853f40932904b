"""The subscriber that keeps a run: one line per finished episode, safe against crashes."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ...episode import EpisodeResult, EpisodeSpec
from ...errors import RunError
from ..tables.folder import RunFolder, write_atomically
from .events import Subscriber


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
            write_atomically(self._folder.episodes_file, text)


def _remove_parts(path: Path) -> None:
    """Remove what workers that were killed left unfinished."""
    shutil.rmtree(path / "videos" / ".partial", ignore_errors=True)
    for part in (path / "trajectories").glob(".*.part"):
        part.unlink(missing_ok=True)
