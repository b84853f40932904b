"""``vla-eval table``: the success table of one or several runs as text, Markdown, LaTeX, CSV, Parquet or JSON."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...edges.arguments import share
from ...errors import ConfigError, DependencyError
from ..record.console import make_console
from ..tables.methods import methods_sheet, methods_table, seed_sheet, seed_table
from ..tables.realtime import realtime_sheet
from ..tables.runs import Run, load_run
from ..tables.statistics import IntervalMethod
from ..tables.subject import subjects, with_subject
from ..tables.subtasks import steps_sheet, subtask_sheet
from ..tables.success import Sheet, as_latex, as_markdown, as_rich, chain_sheet, group_sheet, success_sheet
from ..tables.variants import category_sheet
from .arguments import CommandParser

if TYPE_CHECKING:
    import pandas as pd


class _Kind(NamedTuple):
    """A table of each run: how it is made, what it looks like, and what is said of runs that have none."""

    table: Callable[[Run, float, IntervalMethod], pd.DataFrame]
    sheet: Callable[[pd.DataFrame, float], Sheet | None]
    absent: str = ""


_KINDS = {
    "success": _Kind(lambda run, *how: with_subject(run.table(*how), run), success_sheet),
    "seeds": _Kind(seed_table, seed_sheet),
    "episodes": _Kind(lambda run, *_: run.episodes(), lambda *_: None),
    "groups": _Kind(lambda run, *how: run.groups(*how), group_sheet, "the tasks of these runs are reported one by one"),
    "categories": _Kind(
        lambda run, confidence, _: run.categories(confidence),
        category_sheet,
        "these runs have no variants (LIBERO-plus, -PRO, -Para)",
    ),
    "realtime": _Kind(
        lambda run, *_: run.timings(),
        lambda table, _: realtime_sheet(table),
        "in these runs the world waited for the policy (realtime=off)",
    ),
    "chains": _Kind(lambda run, *how: run.chains(*how), chain_sheet, "these runs have no chains of subtasks"),
    "subtasks": _Kind(lambda run, *how: run.subtasks(*how), subtask_sheet, "the episodes of these runs have no subtasks"),
    "steps": _Kind(lambda run, *_: run.steps(), lambda table, _: steps_sheet(table)),
}
FORMATS = ("text", "markdown", "latex", "csv", "json", "parquet")


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval table ARGV``; returns 0, or 1 if a run is incomplete.

    Raises:
        RunError: Not a run.
        ConfigError: A table that the runs do not have, or a format that needs a file.
        DependencyError: A package the format needs is missing.
    """
    arguments = _parser().parse_args(argv)
    runs = [load_run(path) for path in arguments.runs]
    confidence = arguments.confidence / 100
    if arguments.methods:
        table = methods_table(runs, confidence)
        sheet: Sheet | None = methods_sheet(table)
    else:
        name = next((name for name in _KINDS if getattr(arguments, name, False)), "success")
        kind = _KINDS[name]
        table = _together(runs, lambda run: kind.table(run, confidence, arguments.interval))
        if kind.absent and not len(table):
            raise ConfigError(f"{kind.absent}; leave out --{name}.")
        sheet = kind.sheet(table, confidence)
    notices = list(dict.fromkeys(notice for run in runs for notice in run.notices))
    head = [f"{f'{run.name}: ' if len(runs) > 1 else ''}{sentence}." for run in runs for sentence in subjects(run)]
    _write(table, sheet, arguments.format or _format_of(arguments.output), arguments.output, head, notices)
    _say_what_to_know(runs, notices)
    return 0 if all(run.complete for run in runs) else 1


def _parser() -> CommandParser:
    parser = CommandParser(prog="vla-eval table", description="The success table of one or several runs.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--format", choices=FORMATS, help="default: the ending of --output, else text")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to a file instead of the terminal")
    parser.add_argument("--confidence", type=share, default=95, metavar="PERCENT", help="coverage of the intervals (default 95)")
    parser.add_argument(
        "--interval",
        choices=("mid-p", "wilson", "exact"),
        default="mid-p",
        help="of single tasks: mid-P (default), score, or Clopper-Pearson",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--chains", action="store_true", help="subtasks done in a row instead of success rates (CALVIN)")
    which.add_argument("--categories", action="store_true", help="by category and difficulty of the variants (LIBERO-plus, ...)")
    which.add_argument("--groups", action="store_true", help="means over groups of tasks, as papers report them (SimplerEnv)")
    which.add_argument("--realtime", action="store_true", help="held steps, decisions per second, completion time, path, jerk")
    which.add_argument("--methods", action="store_true", help="policies x suites over all runs, as papers print it")
    which.add_argument("--seeds", action="store_true", help="seed by seed, and the mean with its standard deviation over seeds")
    which.add_argument("--subtasks", action="store_true", help="how often each subtask was asked for and done (CALVIN's 34)")
    which.add_argument("--steps", action="store_true", help="how many steps the successes of each task take")
    which.add_argument("--episodes", action="store_true", help="one row per episode (csv, json or parquet)")
    return parser


def _together(runs: Sequence[Run], table: Callable[[Run], pd.DataFrame]) -> pd.DataFrame:
    """The table of every run, one below the other, with the run's name in front if there are several."""
    import pandas as pd

    if len(runs) == 1:
        return table(runs[0])
    frames = []
    for run in runs:
        frame = table(run)
        frame.insert(0, "run", run.name)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _format_of(output: Path | None) -> str:
    endings = {".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json", ".parquet": "parquet", ".txt": "text"}
    if output is None:
        return "text"
    if output.suffix not in endings:
        raise ConfigError(f"what is {output} to hold? Name a --format, or an ending among {', '.join(endings)}.")
    return endings[output.suffix]


def _write(
    table: pd.DataFrame, sheet: Sheet | None, form: str, output: Path | None, head: Sequence[str], notices: Sequence[str]
) -> None:
    if sheet is None and form in ("text", "markdown", "latex"):
        raise ConfigError("--episodes is a long table: choose --format csv, json or parquet.")
    if form == "parquet":
        _write_parquet(table, output)
        return
    text = _text(table, sheet, form, head) + _notes(form, notices)
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")


def _text(table: pd.DataFrame, sheet: Sheet | None, form: str, head: Sequence[str]) -> str:
    if form == "csv":
        return str(table.to_csv(index=False))
    if form == "json":
        return str(table.to_json(orient="records", indent=2)) + "\n"
    assert sheet is not None
    if form == "text":
        console = make_console()
        with console.capture() as capture:
            console.print(*head, sep="\n", highlight=False, markup=False, soft_wrap=True)
            console.print(as_rich(sheet))
        return capture.get()
    if form == "latex":
        return as_latex(sheet, " ".join(["Success rates with their intervals.", *head]))
    return "".join(f"{line}\n\n" for line in head) + as_markdown(sheet)


def _notes(form: str, notices: Sequence[str]) -> str:
    """The sentences below a table that will be read away from the terminal that they are also said on."""
    line = {"markdown": "\n> {}\n", "latex": "% {}\n"}.get(form, "")
    return "".join(line.format(notice) for notice in notices)


def _write_parquet(table: pd.DataFrame, output: Path | None) -> None:
    if output is None:
        raise ConfigError("Parquet is not for the terminal: name a file with --output.")
    try:
        importlib.import_module("pyarrow")
    except ImportError as error:
        raise DependencyError(f"writing Parquet needs pyarrow ({error}): pip install 'vlagym[parquet]'.") from error
    table.to_parquet(output, index=False)


def _say_what_to_know(runs: Sequence[Run], notices: Sequence[str]) -> None:
    """Notices and incompleteness go to stderr, so that the table can be piped."""
    console = make_console(stderr=True)
    for notice in notices:
        console.print(f"Note: {notice}", highlight=False, soft_wrap=True, markup=False)
    for run in runs:
        if not run.complete:
            text = f"{run.path} is incomplete: {len(run.missing)} episodes not run, {len(run.errors)} errors."
            console.print(text, highlight=False, soft_wrap=True, markup=False)
