"""``vla-eval import``: others' results as a run's folder, for tables, comparisons and reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...edges.settings import FileName, Setting, shown
from ...errors import ConfigError
from ..publish.imported import POLICY, Named, import_results
from ..record.console import make_console
from ..tables.success import as_rich, chain_sheet, success_sheet
from .arguments import CommandParser


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval import ARGV``; returns 0.

    Raises:
        VlagymError: Results that cannot be read or named, or a folder that is taken.
    """
    parser = CommandParser(
        prog="vla-eval import",
        description="Make a run's folder of results that others' code measured; results only, and marked as such everywhere.",
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="EVAL-*.txt or rollouts/ of OpenVLA's scripts, LeRobot's eval_info.json (older or newer), a result file of "
        "vla-evaluation-harness, SimplerEnv's results/CHECKPOINT, CALVIN's results.json",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder to make")
    parser.add_argument("--suite", metavar="NAME", help="where the results do not say of which suite they are")
    parser.add_argument("--task", metavar="NAME", help="where they do not say of which task they are")
    parser.add_argument("--policy", metavar="NAME", default=POLICY, help=f"what was evaluated (default: {POLICY})")
    arguments = parser.parse_args(argv)
    if problem := Setting("policy", FileName, None).problem(arguments.policy):
        raise ConfigError(f"--policy {problem}; got {shown(arguments.policy)}.")
    if not arguments.source.exists():
        raise ConfigError(f"{arguments.source} is not there: give a file or a folder of results.")
    run = import_results(arguments.source, arguments.run, Named(arguments.suite, arguments.task, arguments.policy))
    console = make_console()
    console.print(as_rich(success_sheet(run.table())))
    if len(chains := run.chains()):
        console.print(as_rich(chain_sheet(chains)))
    for notice in run.notices:
        console.print(f"Note: {notice}", style="yellow", highlight=False, markup=False)
    console.print(f"results: {run.path}", highlight=False, markup=False, soft_wrap=True)
    return 0
