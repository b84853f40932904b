"""TensorBoard: event files in RUN/tensorboard, one per session, which TensorBoard shows as one run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ....errors import DependencyError
from ...tables.success import as_markdown, success_sheet
from .base import TrackedRun, Tracker

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "tensorboard"


class TensorBoardTracker(Tracker):
    """Keeps a run's figures as scalars, and settings and table as text; videos stay where they are."""

    @classmethod
    def check_ready(cls) -> None:
        try:
            import tensorboard.summary.writer.event_file_writer  # noqa: F401
        except ImportError as error:
            raise DependencyError(
                f"trackers=[tensorboard] needs tensorboard ({error}): pip install 'vlagym[tensorboard]'."
            ) from error

    def start(self, run: TrackedRun) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._settings = run.settings
        self._writer = EventFileWriter(str(run.folder / FOLDER))
        self._add_text("settings", _as_code(run.settings), 0)

    def log(self, episodes: int, figures: Mapping[str, float]) -> None:
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        for name, value in figures.items():
            self._add(scalar_pb(name, value), episodes)

    def finish(self, episodes: int, table: pd.DataFrame, figures: Mapping[str, float], interrupted: bool) -> None:
        self.log(episodes, figures)
        self._add_text("settings", _as_code(self._settings), episodes)
        self._add_text("success", as_markdown(success_sheet(table)), episodes)
        self._writer.close()

    def _add_text(self, name: str, markdown: str, step: int) -> None:
        from tensorboard.plugins.text.summary_v2 import text_pb

        self._add(text_pb(name, markdown), step)

    def _add(self, summary: Any, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))


def _as_code(settings: Mapping[str, Any]) -> str:
    """JSON as an indented block of Markdown."""
    return "".join(f"    {line}\n" for line in json.dumps(settings, indent=2).splitlines())
