"""``vla-eval sweep`` (also ``vla-eval --multirun``): one run after the other over several values of settings, in one folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...edges.secrets import masked_text
from ...edges.text import printable
from ...errors import ConfigError, RunError, VlagymError
from ..plan.config import EXECUTION_SETTINGS, RunConfig, load_config
from ..plan.sweep import SweptRun, default_sweep_dir, expand
from ..record.console import make_console
from ..tables.folder import RunFolder
from ..tables.runs import load_run
from ..tables.success import as_rich
from ..tables.sweep import Sweep, sweep_sheet, write_sweep
from .command import run_settings

if TYPE_CHECKING:
    from rich.console import Console

_HELP = """\
vla-eval sweep KEY=A,B,C [KEY=...] [suite=... policy=... and any other setting of a run]
vla-eval --multirun ...     the same, as Hydra's users type it (-m too)

Runs every combination of the values, one run after the other, the last key changing fastest. Values are listed as Hydra's multirun
takes them: KEY=A,B,C or KEY=range(0,5) or KEY=choice(A,B), for suites and policies also suite=glob(libero_*). A value with a comma
that is one value stands in quotes. KEY=[A,B] is one value too: a list.

  run_dir=FOLDER     the sweep's folder, one folder per run in it; results/DATE--sweep--KEYS by default. The same command with the
                     same folder goes on where it stopped: complete runs are left alone, others are finished. More values add runs.

A run that is refused or stops with an error is named, and the others are run all the same.
exit code: 0 all runs are complete, 1 not all, 2 the sweep was refused, 130 interrupted
"""


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval sweep ARGV``; returns the exit code.

    Raises:
        VlagymError: The sweep, or one of its runs' settings, cannot work; nothing has been run.
    """
    if any(argument in ("-h", "--help") for argument in argv):
        print(_HELP)
        return 0
    runs = expand(argv)
    if len(runs) == 1:
        raise ConfigError("a sweep needs a setting with several values, e.g. vla-eval sweep suite.trials=10,20")
    path = _folder(argv, runs)
    configs = [load_config([*run.overrides, f"run_dir={path / run.name}"]) for run in runs]
    for config in configs:
        _check_goes_on(config)
    sweep = write_sweep(path, runs)
    return _run_all(sweep, {path / run.name: run for run in runs})


def _folder(argv: Sequence[str], runs: Sequence[SweptRun]) -> Path:
    given = [argument.removeprefix("run_dir=") for argument in argv if argument.startswith("run_dir=")]
    if given:
        return Path(given[-1]).expanduser()
    return default_sweep_dir(list(runs[0].values), time.strftime("%Y_%m_%d-%H_%M_%S"))


def _check_goes_on(config: RunConfig) -> None:
    """Refuse a run whose folder holds one of other settings."""
    assert config.run_dir is not None
    folder = RunFolder(Path(config.run_dir))
    if not folder.header_file.is_file():
        return
    there, wanted = _comparable(folder.config()), _comparable(config)
    others = sorted(key for key in wanted if wanted[key] != there[key])
    if others:
        raise RunError(f"{folder.path} was run with other settings ({', '.join(others)}); choose another run_dir for this sweep.")


def _comparable(config: RunConfig) -> dict[str, Any]:
    """What decides a run's results, as it is written in its folder."""
    values = replace(config, run_dir=None).to_json()
    return {key: value for key, value in values.items() if key not in EXECUTION_SETTINGS}


def _run_all(sweep: Sweep, runs: dict[Path, SweptRun]) -> int:
    """Run what is asked for and not complete, then say what came of all."""
    console = make_console()
    codes = []
    for number, (path, run) in enumerate(runs.items(), 1):
        console.rule(f"{number} / {len(runs)}  {run.name}", characters="-", style="bold")
        codes.append(_run_one(path, run))
        if codes[-1] == 130:
            break
    _report(sweep, console)
    return 130 if 130 in codes else 1 if any(codes) else 0


def _run_one(path: Path, run: SweptRun) -> int:
    """Run or finish one run, unless it is complete; its exit code, or 1 for one that was refused."""
    begun = (path / "run.json").is_file()
    if begun and load_run(path).complete:
        print(f"complete: {path}")
        return 0
    own = [override for override in run.overrides if override.partition("=")[0].partition(".")[0] in EXECUTION_SETTINGS]
    try:
        return run_settings([f"resume={path}", *own] if begun else [*run.overrides, f"run_dir={path}"])
    except VlagymError as error:
        print(f"vla-eval: {run.name}: {printable(masked_text(str(error)))}", file=sys.stderr)
        return 1


def _report(sweep: Sweep, console: Console) -> None:
    console.rule("the sweep", characters="-", style="bold")
    console.print(as_rich(sweep_sheet(sweep)))
    console.print(f"sweep:   {sweep.path}", highlight=False, markup=False, soft_wrap=True)
