"""``vla-eval report``: one folder of HTML about one or several runs, or about all in a folder; or a page that follows a run."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from ..._stages import stage
from ...edges.arguments import alpha, points, port
from ...errors import ConfigError
from ..compare.comparison import Question
from ..failures.table import By, failure_sheet, failure_table, meaning_of
from ..record.console import make_console
from ..record.progress import progress_for
from ..report import entries_of, watch, write_index, write_report
from ..report.build import ReportOutcome
from ..report.why import Why
from ..tables.folder import RunFolder
from ..tables.runs import Run, load_run
from ..tables.sweep import is_sweep, runs_below
from .arguments import CommandParser
from .failures import categories_of, failures_again


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval report ARGV``; returns 0.

    Raises:
        VlagymError: Not a run, a folder that cannot be written, or a package that is missing.
    """
    arguments = _parser().parse_args(argv)
    if arguments.port and not arguments.watch:
        raise ConfigError("--port is for --watch: a report that is not watched is not served.")
    if arguments.watch and arguments.failures:
        raise ConfigError("--failures is for runs that are over: a watched page would play the failed episodes again each time.")
    index = _is_folder_of_runs(arguments.runs)
    if index and (arguments.watch or arguments.failures):
        option = "--watch follows" if arguments.watch else "--failures looks into"
        raise ConfigError(f"{option} runs, and {arguments.runs[0]} is a folder of several; name those that are meant.")
    first = arguments.runs[0].resolve()
    output = arguments.output or first.with_name(f"{first.name}--report")
    question = Question(arguments.margin / 100, arguments.alpha, allow_different_protocols=True, allow_incomplete=True)
    console = make_console()
    if arguments.watch:
        outcome = watch(arguments.runs, output, question, arguments.videos, arguments.share, arguments.port, _say_address)
    elif index:
        with progress_for(console):
            page = write_index(first, output, question, arguments.videos, arguments.share, stage)
        outcome = ReportOutcome(page, 0)
    else:
        with progress_for(console):
            outcome = _written(arguments, output, question)
    if outcome.missing_videos:
        console.print(f"{outcome.missing_videos} videos are missing; the report marks where.", style="yellow", highlight=False)
    console.print(f"report: {outcome.page}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _is_folder_of_runs(paths: Sequence[Path]) -> bool:
    (first, *others) = paths
    return not others and first.is_dir() and not RunFolder(first).is_run() and not is_sweep(first) and bool(entries_of(first))


def _say_address(address: str) -> None:
    """Where a browser of this machine finds the page; at once, also where the output goes to a file."""
    print(f"watch:  {address}  (from this machine only; Ctrl-C ends it)", flush=True)


def _written(arguments: Namespace, output: Path, question: Question) -> ReportOutcome:
    runs = []
    for path in (path for given in arguments.runs for path in runs_below(given)):
        stage(f"reading {path}")
        runs.append(load_run(path))
    why = [_why(run) for run in runs] if arguments.failures else []
    stage("making the page and placing the videos")
    return write_report(runs, output, question, arguments.videos, arguments.share, why)


def _why(run: Run) -> Why | None:
    failures = failures_again(run)
    if not failures:
        return None
    headings: dict[By, str] = {"suite": "By suite", "task": "By task", **({"category": "By category"} if run.variants else {})}
    categories = categories_of(run)
    sheets = [(heading, failure_sheet(failure_table(run.results, failures, by, categories))) for by, heading in headings.items()]
    return Why(sheets, {failure.result.spec: meaning_of(failure) for failure in failures})


def _parser() -> CommandParser:
    parser = CommandParser(prog="vla-eval report", description="A page about runs that works offline, from disk.")
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="folders of runs or of a sweep; the first is the baseline of the others. Or one folder that holds runs (results/): an "
        "index of them, with a report of each",
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: RUN--report beside the first run")
    parser.add_argument("--margin", type=points, default=5, metavar="POINTS", help="acceptable drop in comparisons (default 5)")
    parser.add_argument("--alpha", type=alpha, default=0.05, help="chance of either verdict being wrong (default 0.05)")
    parser.add_argument("--watch", action="store_true", help="serve a page on this machine that follows the runs as episodes land")
    parser.add_argument("--port", type=port, default=0, metavar="N", help="of the watch (default: any that is free)")
    parser.add_argument("--failures", action="store_true", help="play the failed episodes again and say what went wrong in them")
    parser.add_argument("--share", action="store_true", help="for others: without paths, host data, and the command that was run")
    parser.add_argument(
        "--videos",
        choices=("link", "copy", "none"),
        default="link",
        help="link (default; copies where links cannot be), copy or none",
    )
    return parser
