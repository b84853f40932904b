"""vlagym: exact, fast and honest evaluation of vision-language-action policies on robot-manipulation benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .episode import EpisodeResult, EpisodeSpec, SubtaskResult
from .errors import VlagymError

if TYPE_CHECKING:
    from pathlib import Path

    from .eval.tables.runs import Run

__version__ = "0.1.0"

__all__ = ["EpisodeResult", "EpisodeSpec", "SubtaskResult", "VlagymError", "__version__", "load_run"]


def load_run(path: str | Path) -> Run:
    """Read a run's folder: ``vlagym.load_run("results/...").table()`` is its success table as a pandas DataFrame.

    Raises:
        RunError: The folder holds no run, or one of its files is damaged.
    """
    from .eval.tables.runs import load_run as load

    return load(path)
