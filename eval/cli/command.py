"""The command `vla-eval`. Nothing heavy is imported until it is known what is wanted: ``--help`` answers at once."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._registry import did_you_mean
from ..._stages import stage
from ...errors import ConfigError, VlagymError
from .config_dir import with_config_dir
from .edges import sentence

if TYPE_CHECKING:
    from rich.console import Console

    from ..record.progress import Progress
    from ..run.evaluation import Outcome

COMMANDS = {
    "assets": ("vlagym.eval.cli.assets", "list, fetch and verify the benchmarks' data"),
    "bench": (
        "vlagym.eval.cli.bench",
        "how fast environments run, a policy (policy=NAME), planning (plan=N) or reading (results=N) large runs",
    ),
    "compare": ("vlagym.eval.cli.compare", "is one run worse than another, or than a published score?"),
    "convert": ("vlagym.eval.cli.convert", "convert a checkpoint of another framework (rt1, robovlms) to safetensors"),
    "doctor": ("vlagym.eval.cli.doctor", "check this machine: versions, rendering, assets, known traps"),
    "export": ("vlagym.eval.cli.export", "write a run's results for a model card, its episodes for LeRobot and as HDF5"),
    "failures": ("vlagym.eval.cli.failures", "say why episodes failed: never came near, dropped it, moved another thing, ..."),
    "gate": ("vlagym.eval.cli.gate", "run only as many episodes as it takes to tell whether a policy got worse"),
    "import": ("vlagym.eval.cli.import_results", "make a run's folder of results that others' code measured"),
    "install": ("vlagym.eval.cli.install", "install a benchmark's packages without replacing yours"),
    "list": ("vlagym.eval.cli.list", "list suites, tasks and policies"),
    "merge": ("vlagym.eval.cli.merge", "join what the shards of a run (shard=N/M) have left"),
    "new": ("vlagym.eval.cli.new", "write a package of your own: a suite or a policy that works, with a test"),
    "pack": ("vlagym.eval.cli.pack", "put a run into one archive to give to others, without paths and host names"),
    "power": ("vlagym.eval.cli.power", "how many episodes it takes to see a drop"),
    "render": ("vlagym.eval.cli.render", "draw recorded episodes again, at any size, from any camera"),
    "report": ("vlagym.eval.cli.report", "write an HTML report of runs with their videos"),
    "show": ("vlagym.eval.cli.show", "print the settings that a run would have; run nothing"),
    "serve": ("vlagym.eval.cli.serve", "let a policy answer over the network: openpi's or vla-eval's protocol"),
    "sweep": ("vlagym.eval.cli.sweep", "one run after the other over several values of settings (also --multirun)"),
    "table": ("vlagym.eval.cli.table", "print the success table of runs as text, Markdown, LaTeX, CSV, Parquet"),
    "unpack": ("vlagym.eval.cli.unpack", "make a run's folder from an archive that pack wrote"),
}

_PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}
# Options of Hydra's own command line that mean nothing here, and what does what they are for.
_HYDRAS_OPTIONS = {
    **dict.fromkeys(("-cp", "--config-path", "-cn", "--config-name"), "a folder of your own settings is --config-dir FOLDER"),
    **dict.fromkeys(("-p", "--package", "-r", "--run", "--resolve", "-i", "--info"), "`vla-eval show` prints a run's settings"),
}

_HELP = """\
vla-eval: evaluate vision-language-action policies on robot-manipulation benchmarks

  vla-eval                                        the default: suite=robosuite policy=scripted
  vla-eval suite=libero_goal policy=openvla       one benchmark, one policy
  vla-eval suite=libero_all policy=random episodes_per_task=2 workers=2
  vla-eval resume=RUN                             finish an interrupted run
  vla-eval suite=libero_goal policy=openvla --help    what this suite and this policy take

settings (key=value, in any order; `vla-eval list` names the suites and policies)
  suite=NAME           or [NAME,NAME]: run one after the other
  policy=NAME          policy.KEY=VALUE sets what the policy takes, suite.KEY=VALUE what the suite takes
  tasks=[NAME,...]     names or indices; all by default
  episodes_per_task=N  trials 0 .. N-1 of each task; all by default
  trials=[0,7]         just these trials of each task
  seeds=[0,1,2]        run everything once per seed
  video=all            or failures, first_per_task, none
  video_cameras=[primary]
  video_caption=false  no instruction, step and outcome above the pictures
  workers=N            environment processes; one per core by default
  egl_devices=[0,1]    GPUs to render on
  realtime.delay_steps=N   let the world go on for N control steps while the policy thinks (delay_ms=, profile=FILE)
  attempts=N           times an episode is tried before it is an error
  worker_timeout_s=S   when a worker counts as hung
  policy_timeout_s=S   when the policy does
  trackers=[wandb]     also tell experiment trackers of the run: wandb, tensorboard
  shard=3/64           run the third of 64 parts, in a run_dir that all share; auto: as Slurm or Kubernetes says
  launcher=ray         on a Ray cluster: launcher.address=auto launcher.workers=64 launcher.gpus_per_seat=1
  run_dir=FOLDER       results/DATE--POLICY--SUITE by default
  config_dir=FOLDER    suites, policies, recipes and variations of your own in files (also --config-dir FOLDER)
  assets.dir=, assets.source=, assets.mirror=, assets.stand_ins=allow|deny, assets.libero_plus_zip=PATH

commands (each has its own --help)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 incomplete, 2 refused, 130 interrupted in order."""
    try:
        with with_config_dir(sys.argv[1:] if argv is None else argv) as arguments:
            return _command(arguments)
    except VlagymError as error:
        from ...edges.secrets import masked_text
        from ...edges.text import printable

        print(f"vla-eval: {printable(masked_text(str(error)))}", file=sys.stderr)
        return 2
    except OSError as error:
        if (text := sentence(error)) is None:
            raise
        print(f"vla-eval: {text}", file=sys.stderr)
        return 2


def _command(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in COMMANDS:
        return int(importlib.import_module(COMMANDS[arguments[0]][0]).main(arguments[1:]))
    if any(argument in ("-h", "--help", "help") for argument in arguments):
        print(_help(arguments))
        return 0
    if arguments == ["--version"]:
        from ... import __version__

        print(__version__)
        return 0
    if "-m" in arguments or "--multirun" in arguments:
        return _command(["sweep", *(argument for argument in arguments if argument not in ("-m", "--multirun"))])
    if "--cfg" in arguments or any(argument.startswith("--cfg=") for argument in arguments):
        return _command(["show", *_without_cfg(arguments)])
    for argument in arguments:
        if "=" not in argument:
            raise _no_setting(argument)
    return run_settings(arguments)


def _help(arguments: Sequence[str]) -> str:
    """The settings and commands; where a suite or a policy is chosen, what that one takes."""
    if any(argument.startswith(("suite=", "policy=")) for argument in arguments):
        from .show import settings_taken

        return settings_taken([argument for argument in arguments if "=" in argument])
    return _HELP + "\n".join(f"  vla-eval {name:<10} {text}" for name, (_, text) in COMMANDS.items())


def _without_cfg(arguments: Sequence[str]) -> list[str]:
    """What is left of the arguments once Hydra's ``--cfg job`` is taken out.

    Raises:
        ConfigError: Another part of Hydra's settings is asked for.
    """
    rest = [argument.removeprefix("--cfg=") for argument in arguments if argument != "--cfg"]
    if "job" not in rest:
        raise ConfigError("--cfg job prints the settings of a run; there is nothing else that --cfg can print here.")
    rest.remove("job")
    return rest


def _no_setting(argument: str) -> ConfigError:
    """What a word that is neither a command nor a setting was probably meant to be."""
    if argument in _HYDRAS_OPTIONS:
        return ConfigError(f"{argument} is Hydra's and not taken here: {_HYDRAS_OPTIONS[argument]}.")
    from ...conf import group_names

    for group in ("suite", "policy"):
        if argument in group_names(group):
            return ConfigError(f"{argument!r} is a {group}: did you mean {group}={argument}?")
    choices = [f"{group}={name}" for group in ("suite", "policy") for name in group_names(group)]
    near = did_you_mean(argument, [*COMMANDS, *choices])
    return ConfigError(
        f"{argument!r} is neither a command nor a setting; settings have the form key=value, e.g. workers=2.{near} "
        "`vla-eval --help` lists both."
    )


def run_settings(overrides: Sequence[str]) -> int:
    """Run, or resume, one evaluation with these settings and print what came of it; returns the exit code.

    Raises:
        VlagymError: It is refused; nothing was run.
    """
    from ..record.console import make_console
    from ..record.progress import progress_for

    console = make_console()
    stopped: list[Outcome] = []
    try:
        with progress_for(console) as progress:
            outcome = _evaluate(overrides, progress, stopped.append)
    except Exception as error:
        if not stopped:
            raise
        return _report_stop(console, stopped[0], error)
    return _report(console, outcome)


def _evaluate(overrides: Sequence[str], progress: Progress, stopped: Callable[[Outcome], None]) -> Outcome:
    """Run what the settings say, or go on with it; what it takes is imported once there is something to be seen."""
    stage("reading the settings")
    for override in overrides:
        if (seed := override.removeprefix("seeds=")).isdecimal() and seed not in (override, "0"):
            progress.noticed(f"{override} is the one seed {seed}; several are listed, e.g. seeds=[0,1,2].")
    from ..plan.config import load_config
    from ..run.evaluation import evaluate, execution_settings_in, resume

    resumed = [o.removeprefix("resume=") for o in overrides if o.startswith("resume=")]
    if resumed:
        rest = [o for o in overrides if not o.startswith("resume=")]
        names = execution_settings_in(rest)
        execution = load_config(rest) if rest else None
        return resume(Path(resumed[-1]).expanduser(), execution, names, [progress], stopped=stopped)
    return evaluate(load_config(overrides), [progress], stopped=stopped)


def _report_stop(console: Console, outcome: Outcome, error: Exception) -> int:
    """What there is of a run in whose middle something raised: the table so far, what it was, and how to go on."""
    said = str(error) if isinstance(error, VlagymError) else sentence(error) if isinstance(error, OSError) else None
    if said is None:
        traceback.print_exception(error)
        said = f"{type(error).__name__}: {error}"
    _report(console, outcome)
    print(f"vla-eval: the run was stopped by an error: {said}", file=sys.stderr)
    return 1


def _link_latest(folder: Path) -> None:
    """``results/latest`` leads to the last of the runs there, where the file system has links."""
    if folder.parent != Path("results"):
        return
    link, new = folder.parent / "latest", folder.parent / f".latest-{os.getpid()}"
    if link.exists() and not link.is_symlink():
        return
    with contextlib.suppress(OSError):  # a convenience that some file systems do not have
        new.symlink_to(folder.name)
        new.replace(link)


def _report(console: Console, outcome: Outcome) -> int:
    from ..tables.realtime import realtime_sheet
    from ..tables.runs import load_run
    from ..tables.subject import subjects
    from ..tables.success import as_rich, chain_sheet, group_sheet, success_sheet
    from ..tables.variants import category_sheet
    from .demonstrations import demonstrations_told

    run = load_run(outcome.folder)
    for subject in subjects(run):
        console.print(f"{subject}.", **_PLAIN)
    for told in demonstrations_told(run):
        console.print(told, **_PLAIN)
    console.print(as_rich(success_sheet(outcome.table)))
    if len(outcome.categories):
        console.print(as_rich(category_sheet(outcome.categories)))
    if len(outcome.groups):
        console.print(as_rich(group_sheet(outcome.groups)))
    if len(outcome.chains):
        console.print(as_rich(chain_sheet(outcome.chains)))
    if len(outcome.timings):
        console.print(as_rich(realtime_sheet(outcome.timings)))
    for notice in outcome.notices:
        console.print(f"Note: {notice}", style="yellow", highlight=False, markup=False)
    videos = outcome.folder / "videos"
    if videos.is_dir() and any(videos.iterdir()):
        console.print(f"videos:  {videos}", **_PLAIN)
    console.print(f"results: {outcome.folder}", **_PLAIN)
    _link_latest(outcome.folder)
    if outcome.shard is not None:
        what = "done" if outcome.complete else "not done yet; the same command finishes it"
        console.print(f"shard {outcome.shard} is {what}. Once all are: vla-eval merge {outcome.folder}", **_PLAIN)
    elif outcome.complete:
        console.print(f"next:    vla-eval report {outcome.folder}   (a page with the videos)", **_PLAIN)
        console.print(f"         vla-eval compare BASELINE {outcome.folder}   (is it worse than another run?)", **_PLAIN)
    else:
        what = "interrupted" if outcome.interrupted else "incomplete: not all episodes were run"
        text = f"{what}; to finish it: vla-eval resume={outcome.folder}"
        console.print(text, style="bold", **_PLAIN)
    return 130 if outcome.interrupted else 0 if outcome.complete else 1
