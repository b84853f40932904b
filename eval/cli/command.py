"""The command `vla-eval`. Nothing heavy is imported until it is known what is wanted: ``--help`` answers at once."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import VlagymError
from .edges import interrupts, sentence

if TYPE_CHECKING:
    from rich.console import Console

    from ..run.evaluation import Outcome

_COMMANDS = {
    "assets": ("vlagym.eval.cli.assets", "list, fetch and verify the benchmarks' data"),
    "bench": (
        "vlagym.eval.cli.bench",
        "how fast environments run, a policy (policy=NAME) or reading large runs (results=N)",
    ),
    "compare": ("vlagym.eval.cli.compare", "is one run worse than another, or than a published score?"),
    "convert": ("vlagym.eval.cli.convert", "convert a checkpoint of another framework (rt1, robovlms) to safetensors"),
    "doctor": ("vlagym.eval.cli.doctor", "check this machine: versions, rendering, assets, known traps"),
    "gate": ("vlagym.eval.cli.gate", "run only as many episodes as it takes to tell whether a policy got worse"),
    "install": ("vlagym.eval.cli.install", "install a benchmark's packages without replacing yours"),
    "list": ("vlagym.eval.cli.list", "list suites, tasks and policies"),
    "power": ("vlagym.eval.cli.power", "how many episodes it takes to see a drop"),
    "render": ("vlagym.eval.cli.render", "draw recorded episodes again, at any size, from any camera"),
    "report": ("vlagym.eval.cli.report", "write an HTML report of runs with their videos"),
    "serve": ("vlagym.eval.cli.serve", "let a policy answer over the network: openpi's or vla-eval's protocol"),
    "table": ("vlagym.eval.cli.table", "print the success table of runs as text, Markdown, LaTeX, CSV, Parquet"),
}

_HELP = """\
vla-eval: evaluate vision-language-action policies on robot-manipulation benchmarks

  vla-eval                                        the default: suite=robosuite policy=scripted
  vla-eval suite=libero_goal policy=openvla       one benchmark, one policy
  vla-eval suite=libero_all policy=random episodes_per_task=2 workers=2
  vla-eval resume=RUN                             finish an interrupted run

settings (key=value, in any order; `vla-eval list` names the suites and policies)
  suite=NAME           or [NAME,NAME]: run one after the other
  policy=NAME          policy.KEY=VALUE sets what the policy takes, suite.KEY=VALUE what the suite takes
  tasks=[NAME,...]     names or indices; all by default
  episodes_per_task=N  trials 0 .. N-1 of each task; all by default
  trials=[0,7]         just these trials of each task
  seeds=[0,1,2]        run everything once per seed
  video=all            or failures, first_per_task, none
  video_cameras=[primary]
  workers=N            environment processes; one per core by default
  egl_devices=[0,1]    GPUs to render on
  attempts=N           times an episode is tried before it is an error
  worker_timeout_s=S   when a worker counts as hung
  policy_timeout_s=S   when the policy does
  trackers=[wandb]     also tell experiment trackers of the run: wandb, tensorboard
  run_dir=FOLDER       results/DATE--POLICY--SUITE by default
  assets.dir=, assets.source=, assets.mirror=, assets.stand_ins=allow|deny

commands (each has its own --help)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 incomplete, 2 refused, 130 interrupted."""
    try:
        with interrupts(last=argv is None):
            return _command(list(sys.argv[1:] if argv is None else argv))
    except VlagymError as error:
        from ...edges.secrets import masked_text
        from ...edges.text import printable

        print(f"vla-eval: {printable(masked_text(str(error)))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("vla-eval: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        if (text := sentence(error)) is None:
            raise
        print(f"vla-eval: {text}", file=sys.stderr)
        return 2


def _command(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in _COMMANDS:
        return int(importlib.import_module(_COMMANDS[arguments[0]][0]).main(arguments[1:]))
    if any(argument in ("-h", "--help", "help") for argument in arguments):
        print(_HELP + "\n".join(f"  vla-eval {name:<10} {text}" for name, (_, text) in _COMMANDS.items()))
        return 0
    if arguments == ["--version"]:
        from ... import __version__

        print(__version__)
        return 0
    return _run(arguments)


def _run(overrides: Sequence[str]) -> int:
    from functools import partial
    from pathlib import Path

    from ..plan.config import load_config
    from ..record.console import make_console
    from ..record.progress import progress_for
    from ..run.evaluation import evaluate, execution_settings_in, resume

    console = make_console()
    progress = progress_for(console)
    stopped: list[Outcome] = []
    resumed = [o.removeprefix("resume=") for o in overrides if o.startswith("resume=")]
    if resumed:
        rest = [o for o in overrides if not o.startswith("resume=")]
        names = execution_settings_in(rest)
        execution = load_config(rest) if rest else None
        start = partial(resume, Path(resumed[-1]).expanduser(), execution, names, [progress], stopped=stopped.append)
    else:
        start = partial(evaluate, load_config(overrides), [progress], stopped=stopped.append)
    try:
        outcome = start()
    except Exception as error:
        if not stopped:
            raise
        return _report_stop(console, stopped[0], error)
    return _report(console, outcome)


def _report_stop(console: Console, outcome: Outcome, error: Exception) -> int:
    """What there is of a run in whose middle something raised: the table so far, what it was, and how to go on."""
    said = str(error) if isinstance(error, VlagymError) else sentence(error) if isinstance(error, OSError) else None
    if said is None:
        traceback.print_exception(error)
        said = f"{type(error).__name__}: {error}"
    _report(console, outcome)
    print(f"vla-eval: the run was stopped by an error: {said}", file=sys.stderr)
    return 1


def _report(console: Console, outcome: Outcome) -> int:
    from ..tables.success import as_rich, chain_sheet, group_sheet, success_sheet
    from ..tables.variants import category_sheet

    console.print(as_rich(success_sheet(outcome.table)))
    if len(outcome.categories):
        console.print(as_rich(category_sheet(outcome.categories)))
    if len(outcome.groups):
        console.print(as_rich(group_sheet(outcome.groups)))
    if len(outcome.chains):
        console.print(as_rich(chain_sheet(outcome.chains)))
    for notice in outcome.notices:
        console.print(f"Note: {notice}", style="yellow", highlight=False, markup=False)
    videos = outcome.folder / "videos"
    if videos.is_dir() and any(videos.iterdir()):
        console.print(f"videos:  {videos}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"results: {outcome.folder}", highlight=False, markup=False, soft_wrap=True)
    if not outcome.complete:
        what = "interrupted" if outcome.interrupted else "incomplete: not all episodes were run"
        text = f"{what}; to finish it: vla-eval resume={outcome.folder}"
        console.print(text, style="bold", highlight=False, markup=False, soft_wrap=True)
    return 130 if outcome.interrupted else 0 if outcome.complete else 1
