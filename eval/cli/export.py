"""``vla-eval export``: a run's results for a model card and in LeRobot's form, and its episodes as a data set to train on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

from rich.console import Console

from ...envs.demonstrations import SUFFIXES, DemonstrableEnv
from ...episode import EpisodeResult
from ...errors import ConfigError, DependencyError, StorageError
from ..publish.demonstrations import DemonstrationFile
from ..publish.episodes import frames_again
from ..publish.hub import model_card, model_name
from ..publish.lerobot import eval_info
from ..publish.lerobot_data import LeRobotDataset
from ..publish.tasks import write_tasks
from ..record.console import make_console
from ..report.render import matching_suite, select_episodes
from ..run.again import trajectory_of
from ..tables.runs import Run, load_run
from .arguments import CommandParser
from .render import as_size


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval export ARGV``; returns 0.

    Raises:
        ConfigError: The run is incomplete, or nothing says what to write.
        VlagymError: Not a run, or files that cannot be written.
    """
    parser = CommandParser(
        prog="vla-eval export", description="A run's results and episodes in the form of others; nothing is sent."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--hub", action="store_true", help="model-card.md (model-index) and LeRobot's eval_info.json")
    what.add_argument(
        "--lerobot", type=Path, metavar="FOLDER", help="write episodes as a LeRobot data set (v3.0) into a new folder"
    )
    what.add_argument(
        "--hdf5",
        type=Path,
        metavar="FILE",
        help="write episodes of LIBERO or robosuite as demonstrations (HDF5): a new file of one task, or a new folder of such",
    )
    what.add_argument(
        "--tasks",
        type=Path,
        metavar="FOLDER",
        help="write the tasks of a run of libero_custom with the initial states that it drew: a new folder for suite.bddl=FOLDER",
    )
    parser.add_argument("--model", metavar="NAME", help="what the card calls the model (default: the checkpoint's name)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="of --hub (default: RUN--export beside the run)")
    parser.add_argument(
        "--episodes", default="successes", metavar="WHICH", help="of the data set: successes (default), failures, all, or 3,17"
    )
    parser.add_argument("--size", metavar="WIDTHxHEIGHT", help="of the data set's images (default: the protocol's)")
    arguments = parser.parse_args(argv)
    run, console = load_run(arguments.run), make_console()
    if arguments.tasks is not None:
        with _new(arguments.tasks):
            for file in write_tasks(run, arguments.tasks):
                console.print(f"written: {file}", highlight=False, markup=False, soft_wrap=True)
    elif arguments.hdf5 is not None:
        _write_demonstrations(run, arguments.hdf5, arguments.episodes, as_size(arguments.size), console)
    elif arguments.lerobot is not None:
        _write_data_set(run, arguments.lerobot, arguments.episodes, as_size(arguments.size), console)
    else:
        _write_for_the_hub(run, arguments.output or run.path.resolve().with_name(f"{run.name}--export"), arguments.model, console)
    return 0


def _write_for_the_hub(run: Run, output: Path, model: str | None, console: Console) -> None:
    if not run.complete:
        raise ConfigError(
            f"{run.path} is incomplete ({len(run.missing)} episodes not run, {len(run.errors)} errors), and a published number "
            f"stands for a whole run: vla-eval resume={run.path} first."
        )
    files = {
        "model-card.md": model_card(run, model or model_name(run)),
        "eval_info.json": json.dumps(eval_info(run), indent=2) + "\n",
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (output / name).write_text(text, encoding="utf-8")
            console.print(f"written: {output / name}", highlight=False, markup=False, soft_wrap=True)
    except OSError as error:
        raise StorageError(f"{output} cannot be written: {error.strerror}.") from error


def _write_data_set(run: Run, folder: Path, which: str, size: tuple[int, int] | None, console: Console) -> None:
    """Write the chosen episodes; every one is executed again, and one that comes out differently ends it."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise DependencyError(f"writing a LeRobot data set needs pyarrow ({error}): pip install 'vlagym[parquet]'.") from error
    _check_one_suite(run)
    chosen = select_episodes(run, which)
    with run.config.assets.in_force():
        suite = matching_suite(run, run.config.legs[0], run.header["legs"][0])
        sizes = {camera: size or protocol for camera, protocol in suite.camera_sizes.items()}
        with _new(folder), closing(suite.make_env(())) as env:
            data = LeRobotDataset(folder, suite, sizes)
            for number, result in enumerate(chosen, 1):
                frames_again(env, result, trajectory_of(run, result), size, data.take)
                data.end_episode(result.spec)
                console.print(f"[{number}/{len(chosen)}] {result.spec.id}: {result.steps} frames", highlight=False, markup=False)
            data.close()
    console.print(f"data set: {folder}", highlight=False, markup=False, soft_wrap=True)


def _write_demonstrations(run: Run, target: Path, which: str, size: tuple[int, int] | None, console: Console) -> None:
    """Write the chosen episodes; every one is executed again, and one that comes out differently ends it."""
    _check_one_suite(run)
    chosen = select_episodes(run, which)
    tasks = list(dict.fromkeys(result.spec.task for result in chosen))
    single = target.suffix in SUFFIXES
    if single and len(tasks) > 1:
        raise ConfigError(f"{run.path} has episodes of {len(tasks)} tasks, and such a file is of one: name a new folder instead.")
    with run.config.assets.in_force():
        suite = matching_suite(run, run.config.legs[0], run.header["legs"][0])
        with closing(suite.make_env(())) as env:
            if not isinstance(env, DemonstrableEnv) or suite.plain_suite not in (None, suite.name):
                raise ConfigError(
                    f"--hdf5 keeps episodes of LIBERO's suites, libero_custom and robosuite; for {suite.name} there is --lerobot."
                )
            with nullcontext() if single else _new(target):
                for task in tasks:
                    of_task = [result for result in chosen if result.spec.task == task]
                    file = DemonstrationFile(target if single else target / f"{task}_demo.hdf5", suite, task, env)
                    _write_file(file, run, of_task, size, console)
    console.print(f"demonstrations: {target}", highlight=False, markup=False, soft_wrap=True)


def _write_file(
    file: DemonstrationFile, run: Run, results: Sequence[EpisodeResult], size: tuple[int, int] | None, console: Console
) -> None:
    with file:
        for number, result in enumerate(results, 1):
            file.add(result, trajectory_of(run, result), size)
            console.print(f"[{number}/{len(results)}] {result.spec.id}: {result.steps} frames", highlight=False, markup=False)


def _check_one_suite(run: Run) -> None:
    if len(run.config.legs) > 1:
        raise ConfigError(
            f"{run.path} has several suites, whose actions and images a data set cannot mix; export runs of one suite."
        )


@contextmanager
def _new(folder: Path) -> Iterator[None]:
    """Make a folder, which does not stay if what is to be in it cannot be written whole."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise StorageError(f"{folder} exists; name a new folder, so that no data set is mixed with another.") from error
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.strerror}.") from error
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
