"""vlagym: exact, fast and honest evaluation of vision-language-action policies on robot-manipulation benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import VlagymError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .episode import EpisodeResult, EpisodeSpec, SubtaskResult
    from .eval.compare.comparison import Comparison
    from .eval.tables.runs import Run

__version__ = "0.1.0"

__all__ = [
    "EpisodeResult",
    "EpisodeSpec",
    "SubtaskResult",
    "VlagymError",
    "__version__",
    "close_workers",
    "compare",
    "evaluate",
    "load_run",
]


def evaluate(policy: Any, suite: str | Sequence[str] = "robosuite", **settings: Any) -> Run:
    """Evaluate a policy: ``vlagym.evaluate(my_policy, "libero_goal", episodes_per_task=2).table()`` is its success table.

    See `vlagym.eval.python.evaluate`, which it calls, for what a policy can be, and for the settings.

    Raises:
        VlagymError: A setting has no meaning, the policy does not fit the suite, something is missing on this machine.
    """
    from .eval.python import evaluate as run

    return run(policy, suite, **settings)


def close_workers() -> None:
    """End the worker processes that `evaluate` keeps for its next call."""
    from .eval.python import close_workers as close

    close()


def compare(baseline: str | Path, current: str | Path, margin: float = 5.0, alpha: float = 0.05, **choices: bool) -> Comparison:
    """Is one run worse than another? ``vlagym.compare("results/before", "results/after").verdict``.

    Args:
        baseline: Folder of a run, ``published:POLICY``, or a result file, as ``vla-eval compare`` takes them.
        current: Folder of a run, or a result file.
        margin: Drop that is still acceptable, in percentage points.
        alpha: Highest probability of either claim being wrong.
        choices: Further fields of `vlagym.eval.compare.comparison.Question`, e.g. ``allow_incomplete=True``.

    Raises:
        VlagymError: Input that cannot be compared.
    """
    from .eval.cli.compare import compare as compared
    from .eval.compare.comparison import Question

    return compared(str(baseline), str(current), Question(margin=margin / 100, alpha=alpha, **choices))


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
