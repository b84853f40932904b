"""``vla-eval merge``: what the shards of a run have left becomes one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..record.console import make_console
from ..record.merge import merge
from ..record.progress import progress_for
from ..tables.success import as_rich, success_sheet
from .arguments import CommandParser


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval merge ARGV``; returns 0, or 1 if the run is incomplete.

    Raises:
        VlagymError: Not a run, one that is still running, shards that do not belong together, or a full disk.
    """
    arguments = _parser().parse_args(argv)
    console = make_console()
    with progress_for(console):
        merged = merge(arguments.run)
    run = merged.run
    console.print(as_rich(success_sheet(run.table())))
    for notice in run.notices:
        console.print(f"Note: {notice}", style="yellow", highlight=False, markup=False)
    said = f"{merged.episodes} episodes of {merged.shards} shards are in {run.path / 'episodes.jsonl'} now"
    console.print(said if merged.shards else f"{run.path} has no shards to merge", highlight=False, markup=False, soft_wrap=True)
    if run.complete:
        return 0
    text = f"incomplete: {len(run.missing)} episodes not run, {len(run.errors)} errors; to finish it: vla-eval resume={run.path}"
    console.print(text, style="bold", highlight=False, markup=False, soft_wrap=True)
    return 1


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="vla-eval merge",
        description="Join what the shards of a run (shard=N/M) have left into one episodes.jsonl, run.json and summary.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder that the shards have shared")
    return parser
