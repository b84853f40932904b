"""``vla-eval report``: one folder of HTML about one or several runs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from ..._stages import stage
from ...edges.arguments import alpha, points
from ..compare.comparison import Question
from ..record.console import make_console
from ..record.progress import progress_for
from ..report import write_report
from ..report.build import ReportOutcome
from ..tables.runs import load_run
from ..tables.sweep import runs_below
from .arguments import CommandParser


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval report ARGV``; returns 0.

    Raises:
        VlagymError: Not a run, a folder that cannot be written, or a package that is missing.
    """
    arguments = _parser().parse_args(argv)
    console = make_console()
    with progress_for(console):
        outcome = _written(arguments)
    if outcome.missing_videos:
        console.print(f"{outcome.missing_videos} videos are missing; the report marks where.", style="yellow", highlight=False)
    console.print(f"report: {outcome.page}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _written(arguments: Namespace) -> ReportOutcome:
    runs = []
    for path in (path for given in arguments.runs for path in runs_below(given)):
        stage(f"reading {path}")
        runs.append(load_run(path))
    first = arguments.runs[0].resolve()
    output = arguments.output or first.with_name(f"{first.name}--report")
    question = Question(arguments.margin / 100, arguments.alpha, allow_different_protocols=True, allow_incomplete=True)
    stage("making the page and placing the videos")
    return write_report(runs, output, question, arguments.videos, arguments.share)


def _parser() -> CommandParser:
    parser = CommandParser(prog="vla-eval report", description="A page about runs that works offline, from disk.")
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folders of runs or of a sweep; the first is the baseline of the others"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: RUN--report beside the first run")
    parser.add_argument("--margin", type=points, default=5, metavar="POINTS", help="acceptable drop in comparisons (default 5)")
    parser.add_argument("--alpha", type=alpha, default=0.05, help="chance of either verdict being wrong (default 0.05)")
    parser.add_argument("--share", action="store_true", help="for others: without paths, host data, and the command that was run")
    parser.add_argument(
        "--videos",
        choices=("link", "copy", "none"),
        default="link",
        help="link (default; copies where links cannot be), copy or none",
    )
    return parser
