"""``vla-eval compare``: two runs, or a run and published numbers or somebody else's result file; the exit code is the answer."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from ...edges.arguments import alpha, points
from ...errors import ConfigError
from ..compare.comparison import Comparison, Question, compare_sides, compare_with_published
from ..compare.formats import is_foreign
from ..compare.output import (
    agreement_sheet,
    cochran_sentence,
    print_comparison,
    ranking_sheets,
    ranking_to_markdown,
    rates_sheet,
    write_outputs,
)
from ..compare.published import PREFIX, find_published, published_scores
from ..compare.ranking import rank
from ..compare.real import BUILT_IN, agreements, load_real_table, published_agreements
from ..compare.sources import load_side, side_of_run
from ..record.console import make_console
from ..tables.runs import Run, load_run
from ..tables.success import Sheet, as_rich
from ..tables.sweep import is_sweep
from .arguments import CommandParser
from .compare_sweep import compare_sweep

EPILOG = """\
Two sides are BASELINE and CURRENT, folders of runs. One of the two may instead be
  published:POLICY or published:POLICY@SOURCE   a published score (`vla-eval compare --published` lists them)
  FILE.json                                     a result file of LeRobot or of allenai's vla-evaluation-harness

A sweep is named alone: its runs side by side, and those of the same suites compared with each other.

Three or more runs are compared all with all: whether they differ (Cochran's Q), which pairs do (Holm), and the set that cannot
be told from the best. With --real TABLE, at least three runs are compared with a real robot: MMRV and Pearson's r with intervals.
TABLE is a CSV file (policy, task, rate in percent, episodes) or `simplerenv`: SimplerEnv's published rates, shown against its own
simulated ones where no run is named. NAME=RUN says which of the table's policies a run is of.

exit code of two sides: 0 no regression, 1 regression, 2 bad input, 3 cannot tell
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
    if arguments.real is not None:
        return _compare_with_real(arguments.real, arguments.runs, arguments.json)
    question = Question(
        margin=arguments.margin / 100,
        alpha=arguments.alpha,
        fail_on_task=arguments.fail_on_task,
        allow_incomplete=arguments.allow_incomplete,
        allow_partial=arguments.allow_partial,
        allow_different_protocols=arguments.allow_different_protocols,
        pair_by_index=arguments.pair_by_index,
    )
    if any(is_sweep(Path(source)) for source in arguments.runs):
        return _compare_sweep(arguments.runs, question, arguments)
    if len(arguments.runs) < 2:
        parser.error("name a BASELINE and a CURRENT run, or a sweep")
    if len(arguments.runs) > 2:
        return _rank(arguments.runs, question, {"markdown": arguments.markdown, "json": arguments.json}, arguments.junit)
    comparison = compare(arguments.runs[0], arguments.runs[1], question)
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


def _compare_sweep(sources: Sequence[str], question: Question, arguments: argparse.Namespace) -> int:
    if len(sources) > 1:
        raise ConfigError("a sweep is compared by itself: name one SWEEP, or the folders of runs below it.")
    if arguments.junit is not None:
        raise ConfigError("--junit tells whether one run is worse than another; leave it out with a sweep.")
    return compare_sweep(Path(sources[0]), question, {"markdown": arguments.markdown, "json": arguments.json})


def _rank(sources: Sequence[str], question: Question, outputs: dict[str, Path | None], junit: Path | None) -> int:
    """Compare three or more runs all with all."""
    if junit is not None:
        raise ConfigError("--junit tells whether one run is worse than another; leave it out with three or more runs.")
    published = next((source for source in sources if source.startswith(PREFIX)), None)
    if published:
        raise ConfigError(f"{published} has no trials; compare it with one run at a time.")
    ranking = rank([load_side(source, None) for source in sources], question)
    console = make_console()
    for sheet in ranking_sheets(ranking):
        console.print(as_rich(sheet))
    for line in (cochran_sentence(ranking), *ranking.notes):
        console.print(f"- {line}", highlight=False, markup=False, soft_wrap=True)
    console.print(ranking.conclusion, style="bold", highlight=False, markup=False, soft_wrap=True)
    texts = {"markdown": ranking_to_markdown(ranking), "json": json.dumps(ranking.to_json(), indent=2) + "\n"}
    for form, file in outputs.items():
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(texts[form], encoding="utf-8")
    return 0


def _compare_with_real(table: str, sources: Sequence[str], file: Path | None) -> int:
    """Compare runs with a real robot's rates."""
    if not sources and table == BUILT_IN:
        found = published_agreements()
    else:
        named = [source.partition("=") if not Path(source).exists() else ("", "", source) for source in sources]
        runs = {name or load_run(path or name).name: load_run(path or name) for name, _, path in named}
        found = agreements(load_real_table(table), {name: side_of_run(run) for name, run in runs.items()})
    console = make_console()
    for sheet in (rates_sheet(found), agreement_sheet(found)):
        console.print(as_rich(sheet))
    console.print(
        "MMRV: how far apart on the real robot two policies are that the simulator puts in the wrong order, 0 at best.",
        highlight=False,
        soft_wrap=True,
    )
    if file is not None:
        file.write_text(json.dumps([row.to_json() for row in found], indent=2) + "\n", encoding="utf-8")
    return 0


def _run_or_none(source: str) -> Run | None:
    """The run, unless the source is a file or a folder of others."""
    return None if is_foreign(Path(source)) else load_run(source)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="vla-eval compare",
        description="Is CURRENT worse than BASELINE by more than the margin?",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="BASELINE CURRENT, or three runs or more, or one sweep")
    parser.add_argument("--real", metavar="TABLE", help="rates of a real robot to compare at least three runs with")
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
