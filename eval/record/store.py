"""The subscriber that keeps a run: one line per finished episode, safe against crashes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ...episode import EpisodeResult, EpisodeSpec
from ...errors import RunError
from ..tables.folder import drop_what_counts_no_more
from ..tables.log import EpisodeLog
from .events import Subscriber


class Store(Subscriber):
    """Appends every result to a log; a line that was written stays written whatever happens next.

    Args:
        log: Opened by whoever owns the run; its folder is the run's.
        alone: Whether nobody else writes to the folder, so that what is unfinished there is left over.
    """

    def __init__(self, log: EpisodeLog, alone: bool = True) -> None:
        self._log = log
        self._alone = alone

    def run_started(self, plan: Sequence[EpisodeSpec], finished: Sequence[EpisodeResult]) -> None:
        self._log.repair()
        self._clear_up()

    def episode_ended(self, result: EpisodeResult) -> None:
        self._log.append(result)

    def run_ended(self, interrupted: bool) -> None:
        with suppress(RunError):  # lines too many do no harm; whatever is wrong is said by whoever reads the file next
            drop_what_counts_no_more(self._log)
        self._clear_up()

    def _clear_up(self) -> None:
        if self._alone:
            remove_parts(self._log.path.parent)


def remove_parts(path: Path) -> None:
    """Remove what workers that were killed left unfinished in a run's folder; for whoever has it to himself."""
    shutil.rmtree(path / "videos" / ".partial", ignore_errors=True)
    for part in (path / "trajectories").glob(".*.part"):
        part.unlink(missing_ok=True)
