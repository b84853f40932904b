"""``vla-eval failures``: why the failed episodes of a run failed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..._stages import stage
from ...edges.arguments import processes, share
from ...errors import ConfigError
from ..failures.search import Failure, failures_of
from ..failures.table import episodes_table, failure_sheet, failure_table
from ..record.console import make_console
from ..record.progress import progress_for
from ..report.render import matching_suite
from ..tables.runs import Run, load_run
from ..tables.success import as_markdown, as_rich
from .arguments import CommandParser

_EXAMPLES = 3  # videos named below the table, of each group


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval failures ARGV``; returns 0, or 1 if some episodes could not be played again.

    Raises:
        ConfigError: No episode of the run failed.
        VlagymError: Not a run, not the suite it was made with, or trajectories are missing.
    """
    arguments = _parser().parse_args(argv)
    run, console = load_run(arguments.run), make_console()
    if arguments.by == "category" and not run.variants:
        raise ConfigError(f"no suite of {run.path} has categories of variants; --by task is what it has.")
    with progress_for(console):
        failures = failures_again(run, arguments.workers)
    if not failures:
        raise ConfigError(f"no episode of {run.path} failed.")
    confidence = arguments.confidence / 100
    table = failure_table(run.results, failures, arguments.by, categories_of(run), confidence)
    if arguments.format in ("csv", "json"):
        episodes = episodes_table(failures)
        text = episodes.to_csv(index=False) if arguments.format == "csv" else episodes.to_json(orient="records", indent=1) + "\n"
    elif arguments.format == "markdown":
        text = as_markdown(failure_sheet(table, confidence)) + "\n"
    else:
        text = ""
    if arguments.output is not None and text:
        arguments.output.write_text(text, encoding="utf-8")
    elif text:
        print(text, end="")
    else:
        console.print(as_rich(failure_sheet(table, confidence)))
        for line in _examples(run, failures):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    return 0 if all(failure.error is None for failure in failures) else 1


def failures_again(run: Run, workers: int | None = None) -> list[Failure]:
    """The failed episodes of a run, played again, in the order of the plan.

    Raises:
        VlagymError: A suite is not what it was then, or trajectories are missing.
    """
    found: list[Failure] = []
    for leg, header in zip(run.config.legs, run.header["legs"], strict=True):
        suite = matching_suite(run, leg, header)
        failed = sum(r.spec.suite == suite.name and r.error is None and not r.success for r in run.results)
        for number, failure in enumerate(failures_of(run, suite, workers), 1):
            stage(f"playing the failed episodes of {suite.name} again ({number} of {failed})")
            found.append(failure)
    return found


def categories_of(run: Run) -> dict[tuple[str, str, int], str]:
    """Suite, task and trial -> category, of the variants among them."""
    return {key: variant.category for key, variant in run.variants.items()}


def _examples(run: Run, failures: Sequence[Failure]) -> list[str]:
    """Videos of each group, and what could not be played again."""
    table = episodes_table(failures)
    lines = []
    for meaning, members in table.groupby("meaning", sort=False):
        videos = [str(run.path / video) for video in members["video"].dropna()][:_EXAMPLES]
        lines += [f"{meaning}: {len(members)}", *(f"  {video}" for video in videos)]
        lines += [f"  {error}" for error in members["error"].dropna()[:_EXAMPLES]]
    return lines


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="vla-eval failures",
        description="Say why episodes failed: they are played again without pictures, and asked where hand and things were.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--by", choices=("suite", "task", "category"), default="suite", help="rows of the table (default: suite)")
    parser.add_argument("--format", choices=("text", "markdown", "csv", "json"), default="text", help="csv, json: every episode")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to a file instead of the terminal")
    parser.add_argument("--confidence", type=share, default=95, metavar="PERCENT", help="coverage of the intervals (default 95)")
    parser.add_argument("--workers", type=processes, metavar="N", help="processes (default: one per core)")
    return parser
