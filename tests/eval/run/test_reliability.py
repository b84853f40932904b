"""What must not happen to a run: lines lost to a second process, waits without end, results that are claimed and not there."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from vlagym.errors import ConfigError, PolicyError, RunError, StorageError
from vlagym.eval.plan.config import load_config
from vlagym.eval.record.events import Subscriber
from vlagym.eval.run import evaluation
from vlagym.eval.run.evaluation import Outcome, evaluate, resume
from vlagym.eval.tables.folder import RunFolder
from vlagym.eval.tables.log import EpisodeLog

Run = Callable[..., Outcome]
Records = Callable[[Path], list[dict[str, Any]]]
HELPERS = Path(__file__).parents[2] / "helpers"
# Says when it is past the interpreter's own start, at which a signal is nobody's to handle.
VLA_EVAL = [sys.executable, "-c", "import sys; from vlagym.eval.cli import main; print(flush=True); sys.exit(main())"]


def contents(run: Path) -> dict[str, str]:
    return {str(f.relative_to(run)): hashlib.sha256(f.read_bytes()).hexdigest() for f in run.rglob("*") if f.is_file()}


def start(*arguments: str, **keywords: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")])}
    command = ["env", "--default-signal=INT", *VLA_EVAL, *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment, **keywords
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "\n"
    return process


def workers(process: subprocess.Popen[str]) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            if int(parent) == process.pid and state != "Z" and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


class _Meanwhile(Subscriber):
    """Does something after so many episodes."""

    def __init__(self, after: int, act: Callable[[], None]) -> None:
        self.left, self.act = after, act

    def episode_ended(self, result: object) -> None:
        self.left -= 1
        if self.left == 0:
            self.act()


def test_a_run_that_goes_on_cannot_be_resumed_by_another_process(tmp_path: Path) -> None:
    run = tmp_path / "run"
    refused: list[str] = []

    def resume_too() -> None:
        before = contents(run)
        with pytest.raises(RunError, match="another process is running") as raised:
            resume(run)
        refused.append(str(raised.value))
        assert contents(run) == before

    config = load_config(["suite=toy", "policy=push", "video=none", "episodes_per_task=2", "workers=1", f"run_dir={run}"])
    assert evaluate(config, [_Meanwhile(2, resume_too)]).complete
    assert len(refused) == 1
    assert len(RunFolder(run).results()) == 4


def test_a_refused_resume_leaves_every_byte(run_toy: Run) -> None:
    folder = run_toy("episodes_per_task=1", "video=none", "suite.trials=2").folder
    config, header = (folder / "config.yaml").read_text(), json.loads((folder / "run.json").read_text())
    (folder / "episodes.jsonl").write_text((folder / "episodes.jsonl").read_text()[:-5])
    changed = [
        ("config.yaml", config.replace("goal: 1.0", "goal: 0.5")),
        ("run.json", json.dumps({**header, "legs": [{**header["legs"][0], "policy_provenance": {"checkpoint": "another"}}]})),
    ]
    for name, text in changed:
        was = (folder / name).read_text()
        (folder / name).write_text(text)
        before = contents(folder)
        with pytest.raises(RunError):
            resume(folder)
        assert contents(folder) == before
        (folder / name).write_text(was)
    assert resume(folder).complete


def test_two_runs_started_in_one_second_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluation.time, "strftime", lambda form: "2026_01_01-00_00_00")
    folders = []

    def start_another() -> None:
        folders.append(evaluate(config).folder)

    config = load_config(["suite=toy", "policy=push", "video=none", "episodes_per_task=1", "workers=1"])
    folders.append(evaluate(config, [_Meanwhile(1, start_another)]).folder)
    assert [folder.name for folder in folders] == ["2026_01_01-00_00_00--push--toy--2", "2026_01_01-00_00_00--push--toy"]
    assert all(len(RunFolder(folder).results()) == 2 for folder in folders)


def test_what_is_missing_is_made_again(run_toy: Run, records: Records, capsys: pytest.CaptureFixture[str]) -> None:
    class Notices(Subscriber):
        def noticed(self, sentence: str) -> None:
            told.append(sentence)

    told: list[str] = []
    folder = run_toy("episodes_per_task=2").folder
    expected, before = records(folder), contents(folder)
    results = RunFolder(folder).results()
    (folder / results[0].execution["video"]).unlink()
    (folder / results[1].execution["video"]).write_bytes((folder / results[1].execution["video"]).read_bytes()[:-100])
    (folder / results[2].execution["trajectory"]).write_bytes(b"")
    outcome = resume(folder, subscribers=[Notices()])
    assert outcome.complete
    assert told == [
        "1 episodes are run again: their trajectories are missing or damaged",
        "2 videos are drawn again: they are missing or damaged",
    ]
    assert records(folder) == expected
    after = contents(folder)
    videos = [name for name in before if name.startswith("videos/")]
    assert len(videos) == 4
    assert [after[name] for name in videos] == [before[name] for name in videos]
    assert set(after) == set(before)


def test_a_video_that_found_the_disk_full_is_drawn_on_resume(run_toy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_toy("episodes_per_task=1", name="whole").folder
    folder = run_toy("episodes_per_task=1", "workers=1").folder
    file = folder / "episodes.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        (folder / line["execution"]["video"]).unlink()
        line["execution"] |= {"video": None, "video_error": "No space left on device"}
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert resume(folder).complete
    assert all((folder / result.execution["video"]).is_file() for result in RunFolder(folder).results())
    assert not any("video_error" in result.execution for result in RunFolder(folder).results())
    assert len(list((folder / "videos").iterdir())) == len(list((whole / "videos").iterdir()))
    assert len(file.read_text().splitlines()) == len(lines), "one line per episode"


def test_the_first_error_is_the_one_that_is_told(run_toy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: EpisodeLog, result: object) -> None:
        raise StorageError("the first error")

    def also_full(*arguments: object) -> None:
        raise StorageError("an error on the way out")

    monkeypatch.setattr(EpisodeLog, "append", full)
    monkeypatch.setattr(evaluation, "write_summary", also_full)
    with pytest.raises(StorageError, match="the first error"):
        run_toy("episodes_per_task=1", "video=none", "workers=1")


@pytest.mark.parametrize("harm", ["episodes.jsonl", "trajectories", "."])
def test_files_that_are_taken_away_are_noticed(run_toy: Run, tmp_path: Path, harm: str) -> None:
    run = tmp_path / "run"
    config = load_config(["suite=toy", "policy=push", "video=none", "episodes_per_task=3", "workers=1", f"run_dir={run}"])

    def take_away() -> None:
        (run / harm).rename(tmp_path / "taken")

    with pytest.raises(RunError, match="while the run went on|could not be written"):
        evaluate(config, [_Meanwhile(2, take_away)])
    if harm != ".":
        assert resume(run).complete
        assert len(RunFolder(run).results()) == 6


def test_a_run_of_nothing_is_refused(run_toy: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        run_toy("tasks=[]")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("how", ["exits", "exits_at_once"])
def test_a_policy_that_exits_has_failed(run_toy: Run, how: str) -> None:
    with pytest.raises((PolicyError, RunError), match=r"sys\.exit\(0\)"):
        run_toy(f"policy.how={how}", "video=none", "workers=1", policy="broken")


def test_an_error_says_how_often_it_was_tried(run_toy: Run, faults: Callable[..., None]) -> None:
    faults("dies1", "dies2")
    folder = run_toy("tasks=[push_far]", "episodes_per_task=1", "workers=1", "attempts=2", "video=none").folder
    (result,) = RunFolder(folder).results()
    assert result.error
    assert result.execution["attempts"] == 2


def test_a_worker_that_is_stopped_before_it_reads_holds_up_nobody(tmp_path: Path, records: Records, run_toy: Run) -> None:
    """The chunk does not fit the pipe, so that half of it has been sent when the worker stops."""
    settings = ("suite=toy", "policy=push", "policy.chunk=1000000", "suite.step_seconds=0.02", "video=none", "workers=1")
    run = tmp_path / "stopped"
    process = start(*settings, "worker_timeout_s=5", "attempts=9", "episodes_per_task=2", f"run_dir={run}")
    (worker,) = wait_until(lambda: workers(process) if (run / "trajectories").exists() else [], 120)
    os.kill(worker, signal.SIGSTOP)
    assert process.wait(300) == 0
    assert worker not in workers(process)
    whole = run_toy("episodes_per_task=2", *settings[2:], name="whole")
    assert records(run) == records(whole.folder)


def test_a_worker_that_keeps_the_interpreter_ends_with_the_main_process(tmp_path: Path, faults: Callable[..., None]) -> None:
    faults("holds1")
    process = start("suite=toy", "policy=push", "video=none", "workers=1", f"run_dir={tmp_path / 'run'}")
    (worker,) = wait_until(lambda: workers(process) if not list((tmp_path / "faults").iterdir()) else [], 120)
    process.kill()
    process.wait()
    wait_until(lambda: not _runs(worker), 120)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("number", range(3))
def test_a_signal_while_a_run_starts_ends_in_one_line(tmp_path: Path, how: signal.Signals, number: int) -> None:
    process = start("suite=toy", "policy=push", "video=none", "workers=1", f"run_dir={tmp_path / 'run'}")
    time.sleep(random.Random(f"{how}{number}").random() * (number + 1))
    process.send_signal(how)
    _, errors = process.communicate(timeout=120)
    assert process.returncode in (0, 130)
    assert errors in ("", "vla-eval: interrupted\n")


def test_a_reader_that_leaves_stops_no_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start("suite=toy", "policy=push", "video=none", "workers=1", "episodes_per_task=1", f"run_dir={run}")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == "vla-eval: Broken pipe. Whoever read the output is gone.\n"
    assert process.wait(120) == 2
    assert len(RunFolder(run).results()) == 2


def test_output_that_nobody_reads_stops_no_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Path("/dev/full").open("w") as full:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-c", "import sys; from vlagym.eval.cli import main; sys.exit(main())", "suite=toy"]
        arguments = ["policy=push", "video=none", "workers=1", "episodes_per_task=1", f"run_dir={run}"]
        done = subprocess.run([*command, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment)
    assert done.stderr == "vla-eval: No space left on device. Free some space and run the command again.\n"
    assert done.returncode == 2
    assert len(RunFolder(run).results()) == 2
