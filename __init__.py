"""vlagym: exact, fast and honest evaluation of vision-language-action policies on robot-manipulation benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import VlagymError

if TYPE_CHECKING:
    from pathlib import Path

    from .episode import EpisodeResult, EpisodeSpec, SubtaskResult
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


def __getattr__(name: str) -> Any:
    # Imported when it is used: a policy server of one's own runs where vlagym's own requirements are not installed.
    if name not in ("EpisodeResult", "EpisodeSpec", "SubtaskResult"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import episode

    return getattr(episode, name)
