"""``vla-eval gate``: fail a CI job when a policy got worse, and run no more episodes than that takes."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta
from rich.console import Console

from ...edges.arguments import alpha, number, points
from ...errors import ConfigError
from ..compare.comparison import Comparison, Question
from ..compare.output import print_comparison, write_outputs
from ..gate.design import LOOKS
from ..gate.gate import run_gate
from ..plan.config import RunConfig, default_run_dir, load_config
from ..record.console import make_console
from ..record.progress import progress_for
from ..tables.folder import RunFolder
from ..tables.runs import Run, load_run

_HELP = f"""\
vla-eval gate baseline=RUN [margin=5] [suite=... policy=... and any other setting of a run]

Runs a policy against a baseline run, trial by trial, and stops as soon as it is clear whether it is worse by more than the margin.
Suite and its settings, tasks, trials and seeds are those of the baseline unless given; only failures get a video unless video= is
given.

  baseline=RUN         folder of a complete run of the same suite
  margin=5             acceptable drop in percentage points
  alpha=0.05           chance of either verdict being wrong
  looks={LOOKS}             most times the results are looked at on the way
  fail_on_task=true    one task that got worse (after Holm's correction) is enough
  allow_incomplete=true  go on and judge the rest if an episode could not be run
  resume=RUN           finish an interrupted gate
  markdown=FILE, json=FILE, junit=FILE  where to write the outcome

exit code: 0 no regression, 1 regression, 2 bad input, 3 cannot tell, 130 interrupted
"""


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval gate ARGV``; returns the exit code.

    Raises:
        VlagymError: Bad input, or something that stopped the run.
    """
    if not argv or any(argument in ("-h", "--help", "help") for argument in argv):
        print(_HELP)
        return 0
    own, overrides = _split(argv)
    if "baseline" not in own:
        raise ConfigError("name the run to compare with: baseline=RUN.")
    question = Question(own["margin"] / 100, own["alpha"], own["fail_on_task"], own["allow_incomplete"])
    baseline = load_run(own["baseline"])
    config = _resumed_config(own["resume"], overrides) if "resume" in own else _config(baseline, overrides)
    console = make_console()

    def report(look: int, comparison: Comparison) -> None:
        console.print(f"look {look}: {comparison.reason}", highlight=False, markup=False, soft_wrap=True)

    with progress_for(console) as progress:
        outcome = run_gate(baseline, config, question, own["looks"], [progress], report, "resume" in own)
    for notice in outcome.run.notices:
        console.print(f"Note: {notice}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"results: {outcome.run.folder}", highlight=False, markup=False, soft_wrap=True)
    return _finish(outcome.comparison, outcome.run.interrupted, own, console)


def _finish(comparison: Comparison | None, interrupted: bool, own: dict[str, Any], console: Console) -> int:
    if comparison is not None:
        print_comparison(comparison, console)
        write_outputs(comparison, {form: own.get(form) for form in ("markdown", "json", "junit")})
    if interrupted or comparison is None:
        console.print("interrupted; to finish it: vla-eval gate resume=RUN baseline=RUN", style="bold", highlight=False)
        return 130
    return comparison.exit_code


def _split(argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The gate's own settings, and what is left for the run."""
    own: dict[str, Any] = {"margin": 5.0, "alpha": 0.05, "looks": LOOKS, "fail_on_task": False, "allow_incomplete": False}
    rest = []
    for argument in argv:
        key, _, value = argument.partition("=")
        if key not in _CONVERTERS:
            rest.append(argument)
            continue
        try:
            own[key] = _CONVERTERS[key](value)
        except (ValueError, ArgumentTypeError) as error:
            raise ConfigError(f"{argument!r}: {value!r} is not a value that {key} can have ({error}).") from error
    return own, rest


def _yes_or_no(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "baseline": Path,
    "resume": Path,
    "margin": points,
    "alpha": alpha,
    "looks": number(Annotated[int, Meta(ge=1, le=1000)]),
    "fail_on_task": _yes_or_no,
    "allow_incomplete": _yes_or_no,
    "markdown": Path,
    "json": Path,
    "junit": Path,
}


def _config(baseline: Run, overrides: Sequence[str]) -> RunConfig:
    """The settings of the new run: as given, else as in the baseline."""
    given = {override.partition("=")[0].lstrip("+~") for override in overrides}
    suites = [leg.suite["name"] for leg in baseline.config.legs]
    extra = ([] if "suite" in given else [f"suite=[{','.join(suites)}]"]) + ([] if "video" in given else ["video=failures"])
    config = load_config([*extra, *overrides])
    groups = [("tasks",), ("episodes_per_task", "trials"), ("seeds",)]
    inherited = {name: getattr(baseline.config, name) for group in groups if not given & {*group} for name in group}
    if not any(key.partition(".")[0] == "realtime" for key in given):
        inherited["realtime"] = baseline.config.realtime
    if not any(key == "suite" or key.startswith("suite.") for key in given):
        pairs = zip(config.legs, baseline.config.legs, strict=True)
        inherited["legs"] = tuple(replace(leg, suite=theirs.suite) for leg, theirs in pairs)
    run_dir = config.run_dir or str(default_run_dir(config, time.strftime("%Y_%m_%d-%H_%M_%S")))
    return replace(config, **inherited, run_dir=run_dir)


def _resumed_config(path: Path, overrides: Sequence[str]) -> RunConfig:
    if overrides:
        raise ConfigError(f"{overrides[0]!r} cannot be given with resume=: a run keeps its settings.")
    return replace(RunFolder(path).config(), run_dir=str(path))
