"""Success tables: per task and per suite, every rate with its interval, errors apart from failures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..episode import EpisodeResult, EpisodeSpec
from .stats import success_rate

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table as RichTable

AVERAGE = "average"


def success_table(results: Sequence[EpisodeResult], planned: Sequence[EpisodeSpec]) -> pd.DataFrame:
    """One row per task in the plan's order and one ``average`` row per suite.

    Columns: suite, task, planned (episodes in the plan), episodes (that ran), successes, errors, success_rate with its 95 % Wilson
    interval (low, high; fractions) and mean_steps of the successful episodes. A suite's average is over its episodes.
    """
    import pandas as pd

    rows = []
    for suite in dict.fromkeys(spec.suite for spec in planned):
        tasks = list(dict.fromkeys(spec.task for spec in planned if spec.suite == suite))
        for task in tasks:
            count = sum(spec.suite == suite and spec.task == task for spec in planned)
            rows.append(_row(suite, task, count, [r for r in results if r.spec.suite == suite and r.spec.task == task]))
        count = sum(spec.suite == suite for spec in planned)
        rows.append(_row(suite, AVERAGE, count, [r for r in results if r.spec.suite == suite]))
    return pd.DataFrame(rows)


def to_markdown(table: pd.DataFrame, notices: Sequence[str] = ()) -> str:
    """The table as Markdown with percentages, notices below it."""
    lines = ["| suite | task | success | 95 % interval | successes / episodes | errors |", "|---|---|---:|---:|---:|---:|"]
    for row in table.to_dict("records"):
        cells = formatted_row(row)
        strong = "**" if row["task"] == AVERAGE else ""
        lines.append("| " + " | ".join(f"{strong}{cell}{strong}" for cell in cells) + " |")
    return "\n".join([*lines, *(f"\n> {notice}" for notice in notices)]) + "\n"


def rich_table(table: pd.DataFrame) -> RichTable:
    """The table for a terminal."""
    from rich.table import Table

    shown = Table("suite", "task")
    for column in ("success", "95 % interval", "successes / episodes", "errors"):
        shown.add_column(column, justify="right")
    for row in table.to_dict("records"):
        shown.add_row(*formatted_row(row), style="bold" if row["task"] == AVERAGE else "", end_section=row["task"] == AVERAGE)
    return shown


def formatted_row(row: dict[str, object]) -> list[str]:
    """Cells as people read them: suite, task, rate, interval, counts, errors."""
    rate, low, high = (float(str(row[key])) for key in ("success_rate", "low", "high"))
    ran = int(str(row["episodes"])) > 0
    missing = int(str(row["planned"])) - int(str(row["episodes"])) - int(str(row["errors"]))
    return [
        str(row["suite"]),
        str(row["task"]),
        f"{100 * rate:.1f} %" if ran else "-",
        f"{100 * low:.1f} - {100 * high:.1f} %" if ran else "-",
        f"{row['successes']} / {row['episodes']}" + (f" ({missing} not run)" if missing else ""),
        str(row["errors"]),
    ]


def write_summary(folder: Path, table: pd.DataFrame, notices: Sequence[str]) -> None:
    """Write summary.csv and summary.md."""
    table.to_csv(folder / "summary.csv", index=False)
    (folder / "summary.md").write_text(to_markdown(table, notices), encoding="utf-8")


def _row(suite: str, task: str, planned: int, results: Sequence[EpisodeResult]) -> dict[str, object]:
    ran = [r for r in results if r.error is None]
    solved = [r for r in ran if r.success]
    rate = success_rate(len(solved), len(ran))
    return {
        "suite": suite,
        "task": task,
        "planned": planned,
        "episodes": len(ran),
        "successes": len(solved),
        "errors": len(results) - len(ran),
        "success_rate": rate.value,
        "low": rate.low,
        "high": rate.high,
        "mean_steps": sum(r.steps for r in solved) / len(solved) if solved else float("nan"),
    }
