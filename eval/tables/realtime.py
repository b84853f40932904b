"""What runs came to on their simulated clock: held steps, decisions, completion time, path and jerk, task by task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from ...episode import EpisodeResult, EpisodeSpec, Timing
from .success import AVERAGE, Sheet

if TYPE_CHECKING:
    import pandas as pd

_Episodes = Sequence[tuple[EpisodeResult, Timing]]


def realtime_table(results: Iterable[EpisodeResult], planned: Sequence[EpisodeSpec]) -> pd.DataFrame:
    """One row per task in the plan's order and one ``average`` row per suite, the mean over its tasks, each counting the same.

    Columns: suite, task, episodes (with a timing), held_share (of all steps, fraction), decision_hz (answers acted on per simulated
    second), completion_s (mean over episodes in which the success condition held), path_length_m and mean_squared_jerk (means over
    episodes, m and m^2/s^6). None where nothing is known; empty where no episode has a timing.
    """
    import pandas as pd

    by_task: dict[tuple[str, str], list[tuple[EpisodeResult, Timing]]] = defaultdict(list)
    for result in results:
        if result.timing is not None and result.error is None:
            by_task[result.spec.suite, result.spec.task].append((result, result.timing))
    rows: list[tuple[object, ...]] = []
    in_order = list(dict.fromkeys((spec.suite, spec.task) for spec in planned)) if by_task else []
    for suite in dict.fromkeys(suite for suite, _ in in_order):
        tasks = [key for key in in_order if key[0] == suite and by_task[key]]
        figures = [{name: figure(by_task[key]) for name, figure in _FIGURES.items()} for key in tasks]
        counts = [len(by_task[key]) for key in tasks]
        if tasks:
            rows += [(*key, count, *found.values()) for key, count, found in zip(tasks, counts, figures, strict=True)]
            rows.append((suite, AVERAGE, sum(counts), *(_mean(found[name] for found in figures) for name in _FIGURES)))
    return pd.DataFrame(rows, columns=["suite", "task", "episodes", *_FIGURES], dtype=object)


def realtime_sheet(table: pd.DataFrame) -> Sheet:
    """A `realtime_table` for people."""
    records = table.to_dict("records")
    extra = ["run"] if "run" in table else []
    rows = [[*(str(row[e]) for e in extra), row["suite"], row["task"], *map(_cell, _FIGURES, _values(row))] for row in records]
    columns = ["suite", "task", "held\nsteps", "decisions\nper s", "completion\ns", "path\nm", "squared jerk\nm2/s6"]
    strong = frozenset(i for i, row in enumerate(records) if row["task"] == AVERAGE)
    return Sheet([*extra, *columns], 2 + len(extra), rows, strong)


def _values(row: dict[str, object]) -> list[float | None]:
    return [None if row[name] is None else float(str(row[name])) for name in _FIGURES]


def _cell(name: str, value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %" if name == "held_share" else f"{value:.3g}"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


_FIGURES: dict[str, Callable[[_Episodes], float | None]] = {
    "held_share": lambda episodes: sum(t.held_steps for _, t in episodes) / sum(r.steps for r, _ in episodes),
    "decision_hz": lambda episodes: sum(t.decisions for _, t in episodes) / sum(t.seconds for _, t in episodes),
    "completion_s": lambda episodes: _mean(t.completion_s for _, t in episodes),
    "path_length_m": lambda episodes: _mean(t.path_length_m for _, t in episodes),
    "mean_squared_jerk": lambda episodes: _mean(t.mean_squared_jerk for _, t in episodes),
}
