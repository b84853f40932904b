"""``vla-eval compare``: two runs, or a run and published numbers or somebody else's result file; the exit code is the answer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ...edges.arguments import alpha, points
from ...errors import ConfigError
from ..compare.comparison import Comparison, Question, compare_sides, compare_with_published
from ..compare.output import print_comparison, write_outputs
from ..compare.published import PREFIX, find_published, published_scores
from ..compare.sources import load_side, side_of_run
from ..record.console import make_console
from ..tables.runs import Run, load_run
from ..tables.success import Sheet, as_rich

EPILOG = """\
BASELINE and CURRENT are folders of runs. One of the two may instead be
  published:POLICY or published:POLICY@SOURCE   a published score (`vla-eval compare --published` lists them)
  FILE.json                                     a result file of LeRobot or of allenai's vla-evaluation-harness

exit code: 0 no regression, 1 regression, 2 cannot tell or bad input
"""


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval compare ARGV``; returns the exit code.

    Raises:
        VlagymError: Input that cannot be compared.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.published:
        _list_published()
        return 0
    if not arguments.baseline or not arguments.current:
        parser.error("name a BASELINE and a CURRENT run")
    question = Question(
        margin=arguments.margin / 100,
        alpha=arguments.alpha,
        fail_on_task=arguments.fail_on_task,
        allow_incomplete=arguments.allow_incomplete,
        allow_partial=arguments.allow_partial,
        allow_different_protocols=arguments.allow_different_protocols,
        pair_by_index=arguments.pair_by_index,
    )
    comparison = compare(arguments.baseline, arguments.current, question)
    print_comparison(comparison, make_console())
    write_outputs(comparison, {"markdown": arguments.markdown, "json": arguments.json, "junit": arguments.junit})
    return comparison.exit_code


def compare(baseline: str, current: str, question: Question) -> Comparison:
    """Compare two sides by what the command line calls them.

    Raises:
        VlagymError: Input that cannot be compared.
    """
    if current.startswith(PREFIX):
        raise ConfigError(f"{current} can only be the BASELINE: a published score comes first.")
    if baseline.startswith(PREFIX):
        run = load_run(current)
        scores = find_published(baseline, [leg["suite"] for leg in run.header["legs"]])
        return compare_with_published(scores, side_of_run(run), question)
    runs = [_run_or_none(baseline), _run_or_none(current)]
    sides = [
        side_of_run(run) if run else load_side(source, other)
        for source, run, other in ((baseline, runs[0], runs[1]), (current, runs[1], runs[0]))
    ]
    return compare_sides(sides[0], sides[1], question)


def _run_or_none(source: str) -> Run | None:
    """The run, unless the source is a file."""
    return None if Path(source).is_file() else load_run(source)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vla-eval compare",
        description="Is CURRENT worse than BASELINE by more than the margin?",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("baseline", nargs="?", metavar="BASELINE")
    parser.add_argument("current", nargs="?", metavar="CURRENT")
    parser.add_argument("--margin", type=points, default=5, metavar="POINTS", help="acceptable drop, percentage points (default 5)")
    parser.add_argument("--alpha", type=alpha, default=0.05, help="chance of either verdict being wrong (default 0.05)")
    parser.add_argument("--fail-on-task", action="store_true", help="one task that got worse (after Holm's correction) is enough")
    parser.add_argument("--allow-incomplete", action="store_true", help="judge the episodes that there are")
    parser.add_argument("--allow-partial", action="store_true", help="judge a part of a suite by the suite's published score")
    parser.add_argument("--allow-different-protocols", action="store_true", help="compare though they measured different things")
    parser.add_argument("--pair-by-index", action="store_true", help="take a result file's i-th episode of a task for trial i")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the comparison as Markdown, e.g. a job summary")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write it as JSON")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write it as JUnit XML")
    parser.add_argument("--published", action="store_true", help="list the published scores and leave")
    return parser


def _list_published() -> None:
    rows = [
        [
            f"{PREFIX}{s.policy}",
            s.suite,
            s.group or "",
            f"{100 * s.rate:.1f} %",
            str(s.episodes or "?"),
            f"{s.source}; {s.protocol}",
        ]
        for s in published_scores()
    ]
    columns = ["name", "suite", "tasks", "rate", "episodes", "source"]
    make_console().print(as_rich(Sheet(columns, len(columns), rows, frozenset())))
