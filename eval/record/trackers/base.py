"""What an experiment tracker is told of a run; how it keeps it is its own affair."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TrackedRun:
    """The run that is tracked.

    Attributes:
        folder: Where it is kept; a tracker may keep files of its own in a folder of its own below it.
        id: The same for every session of the run, different for any two runs.
        settings: What was asked for and what it runs on: the run's config.yaml (as ``config``) and run.json as plain values. What
            the policies are made of is added as they are built.
    """

    folder: Path
    id: str
    settings: Mapping[str, Any]


class Tracker(ABC):
    """Keeps a run's figures. An exception it raises after `start` leaves it out of the rest of the run, which goes on.

    Figures are named by path, e.g. ``success/libero_goal/open_the_drawer``; the step is the number of episodes that are done.
    """

    @classmethod
    @abstractmethod
    def check_ready(cls) -> None:
        """Make sure that the packages it needs are there.

        Raises:
            DependencyError: One is not.
        """

    @abstractmethod
    def start(self, run: TrackedRun) -> None:
        """Begin, or go on with a run that an earlier session began."""

    @abstractmethod
    def log(self, episodes: int, figures: Mapping[str, float]) -> None:
        """One more episode is done: its own figures and the rates so far."""

    def log_failure(self, episodes: int, name: str, video: Path) -> None:
        """The episode that was just logged failed, and this is its video."""

    @abstractmethod
    def finish(self, episodes: int, table: pd.DataFrame, figures: Mapping[str, float], interrupted: bool) -> None:
        """The session is over.

        Args:
            episodes: How many are done.
            table: The success table (see `vlagym.eval.tables.success.success_table`).
            figures: Averages over tasks and lengths of chains, each with its interval (``.../low``, ``.../high``).
            interrupted: Whether the run was stopped before its plan was done.
        """
