"""How often episodes fail in which way, with intervals, and which ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from ...episode import EpisodeResult, EpisodeSpec
from ..tables.statistics import IntervalMethod
from ..tables.success import Sheet, rate_function
from .questions import GROUPS
from .search import Failure

if TYPE_CHECKING:
    import pandas as pd

By: TypeAlias = Literal["suite", "task", "category"]
NOT_LOOKED_AT = "could not be played again"


def failure_table(
    results: Iterable[EpisodeResult],
    failures: Sequence[Failure],
    by: By = "suite",
    categories: Mapping[tuple[str, str, int], str] | None = None,
    confidence: float = 0.95,
    interval: IntervalMethod = "mid-p",
) -> pd.DataFrame:
    """The share of episodes that fail in each way; every task counts the same, as in the success table.

    Args:
        results: All episodes of the run; errors are left out.
        failures: Those that failed, with their groups.
        by: Rows for every suite, or every task or category of variants within it.
        categories: Suite, task and trial -> category, for those that are variants.
        confidence: Coverage of the intervals.
        interval: How they are computed.

    Returns:
        Columns suite, task or category (if rows are by them), group, meaning, failures, episodes, share, low, high; the most
        frequent group first.
    """
    import pandas as pd

    groups = {failure.result.spec: _group(failure) for failure in failures}
    strata: dict[tuple[str, ...], dict[str, list[EpisodeResult]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        if result.error is None:
            strata[_row(result.spec, by, categories or {})][result.spec.task].append(result)
    rate = rate_function(confidence, interval)
    rows = []
    for key, tasks in strata.items():
        found = {group: sum(groups.get(r.spec) == group for members in tasks.values() for r in members) for group in _ORDER}
        for group in sorted((group for group in _ORDER if found[group]), key=lambda group: -found[group]):
            shares = [[float(groups.get(result.spec) == group) for result in members] for members in tasks.values()]
            episodes = sum(len(members) for members in tasks.values())
            rows.append((*key, group, _MEANINGS[group], found[group], episodes, *rate(shares, None)))
    first = ["suite"] if by == "suite" else ["suite", by]
    return pd.DataFrame(rows, columns=[*first, "group", "meaning", "failures", "episodes", "share", "low", "high"])


def failure_sheet(table: pd.DataFrame, confidence: float = 0.95) -> Sheet:
    """A `failure_table` for people."""
    first = [name for name in ("suite", "task", "category") if name in table]
    rows = [
        [
            *(str(row[key]) for key in first),
            str(row["meaning"]),
            f"{row['failures']} / {row['episodes']}",
            f"{100 * row['share']:.1f} %",
            f"{100 * row['low']:.1f} - {100 * row['high']:.1f} %",
        ]
        for row in table.to_dict("records")
    ]
    columns = [*first, "what went wrong", "failures\n/ episodes", "share", f"{100 * confidence:g} % interval"]
    return Sheet(columns, len(first) + 1, rows, frozenset())


def episodes_table(failures: Iterable[Failure]) -> pd.DataFrame:
    """The failed episodes one by one: columns suite, task, trial, seed, asked, group, meaning, steps, video, error."""
    import pandas as pd

    rows = [
        {
            "suite": failure.result.spec.suite,
            "task": failure.result.spec.task,
            "trial": failure.result.spec.trial,
            "seed": failure.result.spec.seed,
            "asked": failure.asked,
            "group": _group(failure),
            "meaning": meaning_of(failure),
            "steps": failure.result.steps,
            "video": failure.result.execution.get("video"),
            "error": failure.error,
        }
        for failure in failures
    ]
    return pd.DataFrame(rows)


def _row(spec: EpisodeSpec, by: By, categories: Mapping[tuple[str, str, int], str]) -> tuple[str, ...]:
    if by == "category":
        return spec.suite, categories.get((spec.suite, spec.task, spec.trial), "none")
    return (spec.suite, spec.task) if by == "task" else (spec.suite,)


def meaning_of(failure: Failure) -> str:
    """What went wrong, in words."""
    return _MEANINGS[_group(failure)]


def _group(failure: Failure) -> str:
    return failure.group or "error"


_MEANINGS = {**GROUPS, "error": NOT_LOOKED_AT}
_ORDER = tuple(_MEANINGS)
