"""Success tables: per task and per suite, every rate with its interval, errors apart from failures; chains by how far they got.

A trial is one observation, whatever the number of seeds it was run with, and a suite's average is the mean over its tasks, with the
tasks as strata (see `vlagym.eval.tables.statistics`): a score interval for an average, a mid-P interval for a single task unless
asked otherwise. Every table is a pandas DataFrame that can be shown as text, Markdown or LaTeX.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..._durable import write_durably
from ...episode import EpisodeResult, EpisodeSpec
from ...errors import StorageError
from .statistics import IntervalMethod, Rate, mean_exact, mean_interval, mean_mid_p

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table as RichTable

AVERAGE = "average"
ALL_SUITES = "all suites"
AVERAGE_LENGTH = "average length"

_ByTask = dict[tuple[str, str], list[EpisodeResult]]
_RateFunction = Callable[[Sequence[Sequence[float]], Sequence[float] | None], Rate]


def success_table(
    results: Iterable[EpisodeResult],
    planned: Sequence[EpisodeSpec],
    confidence: float = 0.95,
    interval: IntervalMethod = "mid-p",
) -> pd.DataFrame:
    """One row per task in the plan's order, one ``average`` row per suite and, for several suites, one over all of them.

    Columns: suite, task, planned (episodes in the plan), episodes (that ran), successes, errors, success_rate with its interval
    (low, high; fractions) and mean_steps of the successful episodes. An average is the mean over tasks (over suites), each counting
    the same; tasks of which nothing ran are left out of it.
    """
    import pandas as pd

    by_task = _group(results)
    counts = Counter((spec.suite, spec.task) for spec in planned)
    rate = rate_function(confidence, interval)
    rows, averages = [], []
    for suite in dict.fromkeys(spec.suite for spec in planned):
        tasks = [key for key in counts if key[0] == suite]
        means = {key: _trial_means(by_task[key], _success) for key in tasks}
        rows += [_row(*key, counts[key], by_task[key], rate([of_task], None)) for key, of_task in means.items()]
        strata = [of_task for of_task in means.values() if of_task]
        averages.append((suite, tasks, strata))
        rows.append(_average_row(suite, counts, by_task, tasks, rate(strata, None)))
    if len(averages) > 1:
        ran = [strata for _, _, strata in averages if strata]
        weights = [1 / (len(ran) * len(strata)) for strata in ran for _ in strata]
        overall = rate([stratum for strata in ran for stratum in strata], weights)
        rows.append(_average_row(ALL_SUITES, counts, by_task, [key for _, tasks, _ in averages for key in tasks], overall))
    return pd.DataFrame(rows)


def chain_table(
    results: Iterable[EpisodeResult],
    lengths: Mapping[str, int],
    confidence: float = 0.95,
    interval: IntervalMethod = "mid-p",
) -> pd.DataFrame:
    """How far chains of subtasks got: one row per suite and number of subtasks done in a row, and one for the average length.

    Args:
        results: Episodes of any suites.
        lengths: Suite -> subtasks in a chain (`Task.chain`); suites whose episodes ask for one thing only are left out.
        confidence: Coverage of the intervals.
        interval: How they are computed; the average length always has a score interval.

    Returns:
        Columns suite, in_a_row (``1`` ... or ``average length``), chains (that ran), value (fraction, or subtasks), low, high.
    """
    import pandas as pd

    by_task = _group(results)
    rate = rate_function(confidence, interval)
    rows = []
    for suite, length in lengths.items():
        if length < 2:
            continue
        tasks = [episodes for key, episodes in by_task.items() if key[0] == suite]
        ran = [episodes for episodes in tasks if any(r.error is None for r in episodes)]
        chains = sum(r.error is None for episodes in ran for r in episodes)
        for number in range(1, length + 1):
            reached = rate([_trial_means(episodes, partial(_reached, number)) for episodes in ran], None)
            rows.append((suite, str(number), chains, *reached))
        average = mean_interval([_trial_means(episodes, links_done) for episodes in ran], None, (0.0, length), confidence)
        rows.append((suite, AVERAGE_LENGTH, chains, *average))
    return pd.DataFrame(rows, columns=["suite", "in_a_row", "chains", "value", "low", "high"])


def group_table(
    results: Iterable[EpisodeResult],
    planned: Sequence[EpisodeSpec],
    groups: Mapping[tuple[str, str], str],
    confidence: float = 0.95,
    interval: IntervalMethod = "mid-p",
) -> pd.DataFrame:
    """Means over groups of tasks, as papers report them, and one over the groups, each counting the same.

    Args:
        results: Episodes of any suites.
        planned: All episodes of the plan.
        groups: (suite, task) -> name of its group (`Task.group`); suites whose tasks have none are left out.
        confidence: Coverage of the intervals.
        interval: How they are computed.

    Returns:
        The columns of `success_table`, groups instead of tasks; empty where no suite has groups.
    """
    import pandas as pd

    by_task = _group(results)
    counts = Counter((spec.suite, spec.task) for spec in planned)
    rate = rate_function(confidence, interval)
    rows = []
    for suite in dict.fromkeys(suite for (suite, task), group in groups.items() if group and (suite, task) in counts):
        members: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for key in counts:
            if key[0] == suite:
                members[groups[key] or key[1]].append(key)
        strata = {name: [m for key in keys if (m := _trial_means(by_task[key], _success))] for name, keys in members.items()}
        ran = [found for found in strata.values() if found]
        rows += [{**_average_row(suite, counts, by_task, members[n], rate(s, None)), "task": n} for n, s in strata.items()]
        weights = [1 / (len(ran) * len(found)) for found in ran for _ in found]
        overall = rate([stratum for found in ran for stratum in found], weights)
        rows.append(_average_row(suite, counts, by_task, [key for keys in members.values() for key in keys], overall))
    return pd.DataFrame(rows)


def links_done(result: EpisodeResult) -> int:
    """Subtasks done in a row from the first."""
    done = 0
    for subtask in result.subtasks:
        if not subtask.success:
            break
        done += 1
    return done


class Sheet(NamedTuple):
    """A table as people read it.

    Attributes:
        columns: Headings; a line break, there or in a cell, is where a terminal breaks one.
        left: How many columns are text, aligned left; the others hold numbers.
        rows: Cells.
        strong: Indices of the rows that sum others up.
    """

    columns: list[str]
    left: int
    rows: list[list[str]]
    strong: frozenset[int]


def success_sheet(table: pd.DataFrame, confidence: float = 0.95) -> Sheet:
    """A `success_table` for people, percentages with one decimal."""
    records = table.to_dict("records")
    columns = ["suite", "task", "success", f"{100 * confidence:g} % interval", "successes\n/ episodes", "errors"]
    strong = frozenset(i for i, row in enumerate(records) if row["task"] == AVERAGE)
    extra = ["run"] if "run" in table else []
    return Sheet([*extra, *columns], 2 + len(extra), [[str(row[e]) for e in extra] + formatted_row(row) for row in records], strong)


def group_sheet(table: pd.DataFrame, confidence: float = 0.95) -> Sheet:
    """A `group_table` for people."""
    sheet = success_sheet(table, confidence)
    return sheet._replace(columns=[column.replace("task", "mean over tasks") for column in sheet.columns])


def chain_sheet(table: pd.DataFrame, confidence: float = 0.95) -> Sheet:
    """A `chain_table` for people: one row per suite, as CALVIN's papers print it, each value with its interval."""
    numbers = [n for n in dict.fromkeys(table["in_a_row"]) if n != AVERAGE_LENGTH]
    numbers.sort(key=int)
    extra = ["run"] if "run" in table else []
    rows = []
    for keys, group in table.groupby([*extra, "suite"], sort=False):
        cells = {row["in_a_row"]: _chain_cell(row) for row in group.to_dict("records")}
        chains = str(group["chains"].iloc[0])
        rows.append([*map(str, keys), chains, *(cells.get(n, "") for n in numbers), cells[AVERAGE_LENGTH]])
    headings = [f"{n} in a row" if n == "1" else n for n in numbers]
    columns = [*extra, "suite", "chains", *headings, f"{AVERAGE_LENGTH}\n({100 * confidence:g} % interval)"]
    return Sheet(columns, 1 + len(extra), rows, frozenset())


def formatted_row(row: Mapping[str, object]) -> list[str]:
    """Cells of a success table: suite, task, rate, interval, counts, errors."""
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


def as_markdown(sheet: Sheet) -> str:
    """The sheet as a Markdown table."""
    lines = ["| " + " | ".join(_one_line(sheet.columns)) + " |"]
    lines.append("|" + "---|" * sheet.left + "---:|" * (len(sheet.columns) - sheet.left))
    for index, row in enumerate(map(_one_line, sheet.rows)):
        mark = "**" if index in sheet.strong else ""
        lines.append("| " + " | ".join(f"{mark}{_escape(cell, '|')}{mark}" if cell else "" for cell in row) + " |")
    return "\n".join(lines) + "\n"


def as_latex(sheet: Sheet, caption: str = "") -> str:
    """The sheet as a LaTeX table for the booktabs package; with a caption, a whole ``table`` that floats."""
    alignment = "l" * sheet.left + "r" * (len(sheet.columns) - sheet.left)
    lines = [
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        " & ".join(map(_latex, _one_line(sheet.columns))) + r" \\",
        r"\midrule",
    ]
    for index, row in enumerate(map(_one_line, sheet.rows)):
        cells = [rf"\textbf{{{_latex(cell)}}}" if index in sheet.strong else _latex(cell) for cell in row]
        lines.append(" & ".join(cells) + r" \\")
        if index in sheet.strong and index + 1 < len(sheet.rows):
            lines.append(r"\midrule")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if caption:
        lines = [r"\begin{table}[t]", r"\centering", rf"\caption{{{_latex(caption)}}}", *lines, r"\end{table}"]
    return "\n".join(lines) + "\n"


def as_rich(sheet: Sheet) -> RichTable:
    """The sheet for a terminal; a first column that says the same in every row becomes the title."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    first = {row[0] for row in sheet.rows}
    skip = 1 if len(first) == 1 and sheet.left > 1 else 0
    shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title=Text(first.pop()) if skip else None, title_justify="left")
    for number, column in enumerate(sheet.columns[skip:], skip):
        text, broken = number < sheet.left, any("\n" in row[number] for row in sheet.rows)
        # A column that may not wrap is cut off where the terminal is too narrow.
        shown.add_column(column, justify="left" if text else "right", overflow="fold", no_wrap=not (text or broken))
    for index, row in enumerate(sheet.rows):
        strong = index in sheet.strong
        shown.add_row(*map(Text, row[skip:]), style="bold" if strong else "", end_section=strong)
    return shown


def to_markdown(
    table: pd.DataFrame, notices: Sequence[str] = (), others: Sequence[Sheet] = (), subjects: Sequence[str] = ()
) -> str:
    """What the numbers are of, success table, further tables, and notices below."""
    parts = [*(f"{subject}.\n" for subject in subjects), as_markdown(success_sheet(table)), *map(as_markdown, others)]
    return "\n".join([*parts, *(f"> {notice}\n" for notice in notices)])


def write_summary(
    folder: Path,
    table: pd.DataFrame,
    notices: Sequence[str],
    others: Mapping[str, tuple[pd.DataFrame, Callable[[pd.DataFrame], Sheet]]],
    subjects: Sequence[str],
) -> None:
    """Write summary.md, summary.csv and, of each further table that has rows, summary_NAME.csv.

    Args:
        folder: Of the run.
        table: The success table.
        notices: Sentences below it.
        others: Name -> a further table and how people read it.
        subjects: Sentences that say what the numbers are of (see `vlagym.eval.tables.subject`).

    Raises:
        StorageError: They cannot be written; those that were there still are.
    """
    there = {name: (other, sheet) for name, (other, sheet) in others.items() if len(other)}
    texts = {"summary.csv": str(table.to_csv(index=False))}
    texts |= {f"summary_{name}.csv": str(other.to_csv(index=False)) for name, (other, _) in there.items()}
    texts["summary.md"] = to_markdown(table, notices, [sheet(other) for other, sheet in there.values()], subjects)
    for name, text in texts.items():
        try:
            write_durably(folder / name, text)
        except OSError as error:
            raise StorageError(f"{folder / name} cannot be written: {error.strerror}; all episodes are kept.") from error


def _group(results: Iterable[EpisodeResult]) -> _ByTask:
    by_task: _ByTask = defaultdict(list)
    for result in results:
        by_task[result.spec.suite, result.spec.task].append(result)
    return by_task


def _success(result: EpisodeResult) -> bool:
    return bool(result.success)


def _reached(number: int, result: EpisodeResult) -> bool:
    return links_done(result) >= number


def _trial_means(results: Sequence[EpisodeResult], value: Callable[[EpisodeResult], float]) -> list[float]:
    """One number per trial that ran: the mean over its seeds."""
    by_trial: dict[int, list[float]] = defaultdict(list)
    for result in results:
        if result.error is None:
            by_trial[result.spec.trial].append(value(result))
    return [sum(values) / len(values) for values in by_trial.values()]


def rate_function(confidence: float, interval: IntervalMethod) -> _RateFunction:
    """What makes a rate with its interval of outcomes by stratum."""
    if interval == "exact":
        return lambda strata, weights: mean_exact(strata, weights, confidence)

    def rate(strata: Sequence[Sequence[float]], weights: Sequence[float] | None) -> Rate:
        if interval == "mid-p" and len(strata) == 1:
            return mean_mid_p(strata[0], confidence)
        return mean_interval(strata, weights, confidence=confidence)

    return rate


def _row(suite: str, task: str, planned: int, results: Sequence[EpisodeResult], rate: Rate) -> dict[str, object]:
    ran = [r for r in results if r.error is None]
    solved = [r for r in ran if r.success]
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


def _average_row(
    suite: str, counts: Mapping[tuple[str, str], int], by_task: _ByTask, tasks: Sequence[tuple[str, str]], rate: Rate
) -> dict[str, object]:
    return _row(suite, AVERAGE, sum(counts[key] for key in tasks), [r for key in tasks for r in by_task[key]], rate)


def _chain_cell(row: Mapping[str, object]) -> str:
    value, low, high = (float(str(row[key])) for key in ("value", "low", "high"))
    if not int(str(row["chains"])):
        return "-"
    if row["in_a_row"] == AVERAGE_LENGTH:
        return f"{value:.2f}\n({low:.2f} - {high:.2f})"
    return f"{100 * value:.1f} %\n({100 * low:.1f} - {100 * high:.1f})"


def _one_line(columns: Sequence[str]) -> list[str]:
    return [column.replace("\n", " ") for column in columns]


def _escape(text: str, characters: str) -> str:
    return "".join("\\" + c if c in characters else c for c in text)


def _latex(text: str) -> str:
    words = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(words.get(c, "\\" + c if c in "_%&#${}" else c) for c in text)
