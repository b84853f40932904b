"""A storm of kills: at calls to the file system and at random moments, of the main process and of workers, again and again.

After each, what was announced is on the disk with its files, no process is left, and the run can be finished; at the end it is the
undisturbed one. The number of strikes is small by default; ``VLAGYM_STORM=N python -m pytest -m slow tests/eval/run/test_storm.py``
asks for N (default 1,000) of each kind that is not cheap.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import crash_points
import numpy as np
import pytest
from waiting import wait_until

from vlagym.episode import EpisodeResult, EpisodeSpec
from vlagym.errors import RunError
from vlagym.eval.plan.config import RunConfig, load_config
from vlagym.eval.record.video import check_complete_mp4
from vlagym.eval.tables.folder import FolderTakenError, RunFolder
from vlagym.trajectory import load_trajectory, save_trajectory

HELPERS = Path(__file__).parents[2] / "helpers"
_PATIENCE_S = 60  # 10 do on a machine that is not busy with anything else
LONG = int(os.environ.get("VLAGYM_STORM", "1000"))
TOY = ("suite=toy", "policy=random", "video=all", "workers=2", "episodes_per_task=4", "worker_timeout_s=10", "attempts=8")
ROBOSUITE = ("suite=robosuite", "policy=scripted", "tasks=[lift]", "video=all", "workers=2", "worker_timeout_s=60", "attempts=8")


META = {"suite": "toy", "task": "t", "trial": 0, "seed": 0, "instruction": "", "steps": 5, "success": True}

# What is written, in one process that dies at every call in turn. A fork costs next to nothing, so these are many.


@pytest.mark.parametrize("strikes", [20, pytest.param(5 * LONG, marks=pytest.mark.slow)])
def test_a_writer_that_dies_at_any_call_loses_nothing(tmp_path: Path, strikes: int) -> None:
    config = load_config(["suite=toy", "policy=push"])
    generator = random.Random(strikes)
    run, told = RunFolder(tmp_path / "runs" / "run"), tmp_path / "told"
    told.touch()
    finished_runs = deaths = 0
    for _ in range(strikes):
        number = generator.randint(1, 60)  # drawn here: what a child draws, the next one draws again
        child = os.fork()
        if child == 0:
            _write_until_struck(run, config, told, number)
        _, status = os.waitpid(child, 0)
        deaths += os.WIFSIGNALED(status)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        announced = [int(line) for line in told.read_text().splitlines()]
        if not run.path.exists():
            assert not announced
            continue
        assert run.config() == config, "a folder that is there is a run"
        lines = [json.loads(line) for line in run.episodes_file.read_text().split("\n")[:-1]]
        trials = [line["trial"] for line in lines]
        assert len(trials) == len(set(trials)), "an episode was finished twice"
        assert set(announced) <= set(trials), "what was announced is not there"
        for line in lines:
            assert len(load_trajectory(run.path / line["execution"]["trajectory"])["actions"]) == 5
        if len(trials) == 12:
            finished_runs += 1
            for file in sorted(run.path.rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
            run.path.rmdir()
            told.write_text("")
    assert deaths > strikes // 3
    assert finished_runs or strikes < 200


def _write_until_struck(run: RunFolder, config: RunConfig, told: Path, number: int) -> None:
    """Start or go on with a run of 12 episodes; never returns."""
    code = 1
    try:
        crash_points.install(signal.SIGKILL, number)
        try:
            log = run.create(config, {"run_id": "x"})
        except FolderTakenError:
            log = run.open_log()
        log.repair()
        (run.path / "trajectories").mkdir(exist_ok=True)
        done = {result.spec.trial for result in run.results()}
        for trial in sorted(set(range(12)) - done):
            name = f"trajectories/{trial}.npz"
            save_trajectory(run.path / name, np.zeros((5, 2)), np.zeros((6, 1)), np.zeros((6, 1)), {**META, "trial": trial})
            spec = EpisodeSpec("toy", "t", trial)
            log.append(EpisodeResult(spec, "", True, True, True, 1, 5, None, None, None, execution={"trajectory": name}))
            with told.open("a") as file:
                file.write(f"{trial}\n")
        code = 0
    finally:
        os._exit(code)


# Whole runs.


@dataclass
class Victim:
    """A `vla-eval` in a process group of its own, whose output goes to a file."""

    process: subprocess.Popen[bytes]
    output: Path

    def group(self) -> list[tuple[int, str]]:
        """The group's processes that are no zombies, with their command lines."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    state, _, group = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:3]
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if int(group) == self.process.pid and state != "Z":
                    found.append((int(folder.name), command))
        return found

    def workers(self) -> list[int]:
        """The worker processes."""
        return [pid for pid, command in self.group() if "spawn_main" in command]

    def announced(self) -> set[tuple[str, int]]:
        """(task, trial) of the episodes that were said to be over."""
        lines = re.findall(r"^\[\d+/\d+\] \w+/(\w+) trial (\d+): (?!error)", self.output.read_text(), re.MULTILINE)
        return {(task, int(trial)) for task, trial in lines}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Victim]]:
    """Starts `vla-eval`, with a crash point if one is given; whatever is left at the end is ended."""
    victims: list[Victim] = []

    def run(*arguments: str, crash: str | None = None) -> Victim:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")])}
        if crash:
            claim = tmp_path / f"claim{len(victims)}"
            claim.mkdir()
            environment |= {"CRASH_POINT": crash, "CRASH_CLAIM": str(claim)}
        output = tmp_path / f"output{len(victims)}"
        # A shell's background jobs, where these tests may run, ignore SIGINT.
        command = ["env", "--default-signal=INT", sys.executable, str(HELPERS / "crash_points.py"), *arguments]
        with output.open("w") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, env=environment)
        victims.append(Victim(process, output))
        return victims[-1]

    yield run
    for victim in victims:
        try:
            os.killpg(victim.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        victim.process.wait()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The undisturbed run of some settings; made once."""
    made: dict[tuple[str, ...], Path] = {}

    def of(*settings: str) -> Path:
        if settings not in made:
            folder = tmp_path_factory.mktemp("reference") / "run"
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")])}
            command = [sys.executable, str(HELPERS / "crash_points.py"), *settings, f"run_dir={folder}"]
            subprocess.run(command, check=True, capture_output=True, env=environment)
            made[settings] = folder
        return made[settings]

    return of


@pytest.mark.parametrize(
    ("settings", "strikes"),
    [
        pytest.param(TOY, 6, id="toy"),
        pytest.param(TOY, LONG, id="toy-long", marks=pytest.mark.slow),
        pytest.param(ROBOSUITE, LONG // 10, id="robosuite-long", marks=pytest.mark.slow),
    ],
)
def test_runs_in_a_storm_end_as_the_undisturbed_one(
    tmp_path: Path, start: Callable[..., Victim], reference: Callable[..., Path], settings: tuple[str, ...], strikes: int
) -> None:
    generator = random.Random(f"{settings}{strikes}")
    whole = reference(*settings)
    number = 0
    kinds = [_crash_of_main, _crash_of_a_worker, _signal_to_main, _stopped_workers, _kills_of_workers]
    while strikes > 0:
        run = tmp_path / f"run{number}"
        number += 1
        for _ in range(3):  # struck up to three times, then left to finish
            kind = generator.choice(kinds)
            arguments = [f"resume={run}"] if run.exists() else [*settings, f"run_dir={run}"]
            victim, struck = kind(start, arguments, run, generator)
            strikes -= struck
            _check_nothing_is_left_of(victim, f"{kind.__name__} of {arguments}")
            _check_what_was_announced(victim, run, kind.__name__)
            if strikes <= 0 or victim.process.returncode == 0:  # a run that is complete has nothing left to strike at
                break
        last = start(*([f"resume={run}"] if run.exists() else [*settings, f"run_dir={run}"]))
        assert last.process.wait(600) == 0, last.output.read_text()
        _check_equal(run, whole)


def _crash_of_main(start: Callable[..., Victim], arguments: list[str], run: Path, generator: random.Random) -> tuple[Victim, int]:
    victim = start(*arguments, crash=f"main:kill:{generator.randint(1, 120)}")
    victim.process.wait(300)
    return victim, int(victim.process.returncode == -signal.SIGKILL)


def _crash_of_a_worker(
    start: Callable[..., Victim], arguments: list[str], run: Path, generator: random.Random
) -> tuple[Victim, int]:
    victim = start(*arguments, crash=f"worker:{generator.choice(['kill', 'stop'])}:{generator.randint(1, 60)}")
    assert victim.process.wait(300) == 0, victim.output.read_text()
    return victim, 1


def _signal_to_main(start: Callable[..., Victim], arguments: list[str], run: Path, generator: random.Random) -> tuple[Victim, int]:
    victim = start(*arguments)
    wait_until(lambda: bool(victim.workers()) or victim.process.poll() is not None, 120)
    time.sleep(generator.random() * 4)
    how = generator.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    ended = victim.process.poll() is not None
    victim.process.send_signal(how)
    if how == signal.SIGINT and generator.random() < 0.5:
        time.sleep(0.4)
        victim.process.send_signal(how)
    code = victim.process.wait(60)
    said = victim.output.read_text()
    assert code in (0, -signal.SIGKILL, 130), said
    assert "Traceback" not in said
    return victim, int(not ended)


def _stopped_workers(start: Callable[..., Victim], arguments: list[str], run: Path, generator: random.Random) -> tuple[Victim, int]:
    """Workers are stopped, then the main process is interrupted (twice) or killed."""
    victim = start(*arguments)
    wait_until(lambda: bool(victim.workers()) or victim.process.poll() is not None, 120)
    time.sleep(generator.random() * 4)
    stopped = victim.workers()
    for pid in stopped:
        _send(pid, signal.SIGSTOP)
    how = generator.choice([signal.SIGKILL, signal.SIGINT])
    victim.process.send_signal(how)
    if how == signal.SIGINT:
        time.sleep(0.4)
        victim.process.send_signal(how)
    victim.process.wait(60)
    return victim, len(stopped) + 1


def _kills_of_workers(
    start: Callable[..., Victim], arguments: list[str], run: Path, generator: random.Random
) -> tuple[Victim, int]:
    """Workers are killed at random moments; the run goes on to its end."""
    victim, kills = start(*arguments), 0
    while victim.process.poll() is None and kills < 6:
        time.sleep(generator.random() * 2)
        if workers := victim.workers():
            kills += _send(generator.choice(workers), signal.SIGKILL)
    assert victim.process.wait(300) in (0, 2), victim.output.read_text()  # 2: too many died while they started
    return victim, kills


def _send(pid: int, how: signal.Signals) -> bool:
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return False
    return True


def _check_nothing_is_left_of(victim: Victim, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while left := victim.group():
        assert time.monotonic() < deadline, f"{_PATIENCE_S} s after {what}: {left}"
        time.sleep(0.05)


def _check_what_was_announced(victim: Victim, run: Path, what: str) -> None:
    """It is on the disk, once, with its files."""
    if not run.exists():
        assert not victim.announced()
        return
    lines = [json.loads(line) for line in (run / "episodes.jsonl").read_text().split("\n")[:-1]]
    finished = [(line["task"], line["trial"]) for line in lines if line["error"] is None]
    assert len(finished) == len(set(finished)), f"{what}: finished twice"
    assert victim.announced() <= set(finished), f"{what}: announced and not there"
    for line in lines:
        if line["error"] is None:
            load_trajectory(run / line["execution"]["trajectory"])
            check_complete_mp4(run / line["execution"]["video"])


def _check_equal(run: Path, whole: Path) -> None:
    assert _records(run) == _records(whole)
    assert (run / "summary.csv").read_bytes() == (whole / "summary.csv").read_bytes()
    assert _videos(run) == _videos(whole)
    assert {file.name for file in (run / "trajectories").iterdir()} == {file.name for file in (whole / "trajectories").iterdir()}
    assert not [entry for entry in run.iterdir() if entry.name.startswith(".")]
    try:
        RunFolder(run).open_log().close()
    except RunError as error:
        raise AssertionError("a process still has the run") from error


def _videos(folder: Path) -> set[str]:
    """Their names without the date."""
    return {file.name.partition("--")[2] for file in (folder / "videos").iterdir()}


def _records(folder: Path) -> list[str]:
    records = [result.to_json() for result in RunFolder(folder).results()]
    return sorted(json.dumps({key: value for key, value in record.items() if key != "execution"}) for record in records)
