"""Tables of what happens within episodes: how often each subtask is done that was asked for, and how many steps a success takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ...episode import EpisodeResult, SubtaskResult
from .statistics import IntervalMethod
from .success import Sheet, rate_function

if TYPE_CHECKING:
    import pandas as pd


def subtask_table(results: Iterable[EpisodeResult], confidence: float = 0.95, interval: IntervalMethod = "mid-p") -> pd.DataFrame:
    """How often each subtask was asked for and done, in all positions of a chain (CALVIN's 34), by name.

    Args:
        results: Episodes of any suites; errors are left out.
        confidence: Coverage of the intervals, to which every time that it was asked for counts as a trial of its own.
        interval: How they are computed.

    Returns:
        Columns suite, subtask, asked (a subtask that its chain did not reach was not), done, success_rate, low, high, median_steps
        (of those done; NaN where none was).
    """
    import pandas as pd

    found: dict[tuple[str, str], list[SubtaskResult]] = defaultdict(list)
    for result in results:
        for link in result.subtasks if result.error is None else ():
            found[result.spec.suite, link.name].append(link)
    rate = rate_function(confidence, interval)
    rows = []
    for (suite, name), links in sorted(found.items()):
        done = [float(link.success) for link in links]
        steps = pd.Series([link.steps for link in links if link.success], dtype=float)
        rows.append((suite, name, len(links), int(sum(done)), *rate([done], None), steps.median()))
    columns = ["suite", "subtask", "asked", "done", "success_rate", "low", "high", "median_steps"]
    return pd.DataFrame(rows, columns=columns)


def steps_table(results: Iterable[EpisodeResult]) -> pd.DataFrame:
    """How many policy steps it takes until the success condition first holds, over the successes of each task.

    Args:
        results: Episodes of any suites; errors and failures are left out.

    Returns:
        Columns suite, task, episodes (that ran), successes, fastest, quartile_1, median, quartile_3, slowest (NaN without a
        success), in the order in which tasks come.
    """
    import pandas as pd

    ran: dict[tuple[str, str], list[EpisodeResult]] = defaultdict(list)
    for result in results:
        if result.error is None:
            ran[result.spec.suite, result.spec.task].append(result)
    rows = []
    for (suite, task), of_task in ran.items():
        solved = [result.first_success_step for result in of_task if result.success]
        steps = [step for step in solved if step is not None]
        spread = np.percentile(steps, (0, 25, 50, 75, 100)) if steps else np.full(5, np.nan)
        rows.append((suite, task, len(of_task), len(solved), *spread.tolist()))
    columns = ["suite", "task", "episodes", "successes", "fastest", "quartile_1", "median", "quartile_3", "slowest"]
    return pd.DataFrame(rows, columns=columns)


def subtask_sheet(table: pd.DataFrame, confidence: float = 0.95) -> Sheet:
    """A `subtask_table` for people."""
    extra = ["run"] if "run" in table else []
    columns = [*extra, "suite", "subtask", "success", f"{100 * confidence:g} % interval", "done\n/ asked", "median steps"]
    rows = [
        [
            *(str(row[key]) for key in (*extra, "suite", "subtask")),
            f"{100 * row['success_rate']:.1f} %",
            f"{100 * row['low']:.1f} - {100 * row['high']:.1f} %",
            f"{row['done']} / {row['asked']}",
            _steps(row["median_steps"]),
        ]
        for row in table.to_dict("records")
    ]
    return Sheet(columns, 2 + len(extra), rows, frozenset())


def steps_sheet(table: pd.DataFrame) -> Sheet:
    """A `steps_table` for people."""
    extra = ["run"] if "run" in table else []
    columns = [*extra, "suite", "task", "successes\n/ episodes", "median steps", "quartiles", "fastest - slowest"]
    rows = [
        [
            *(str(row[key]) for key in (*extra, "suite", "task")),
            f"{row['successes']} / {row['episodes']}",
            _steps(row["median"]),
            _range(row["quartile_1"], row["quartile_3"]),
            _range(row["fastest"], row["slowest"]),
        ]
        for row in table.to_dict("records")
    ]
    return Sheet(columns, 2 + len(extra), rows, frozenset())


def _steps(steps: float) -> str:
    return "-" if steps != steps else f"{steps:g}"  # noqa: PLR0124  # NaN alone differs from itself


def _range(low: float, high: float) -> str:
    return "-" if low != low else f"{low:g} - {high:g}"  # noqa: PLR0124  # as above
