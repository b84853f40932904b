"""A run as a whole, on the toy suite: what is recorded, and that faults, order and interruption leave no trace in it."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest
from toy_suite import ToySuite

from vlagym import EpisodeSpec
from vlagym.envs.suite import protocol_sha256
from vlagym.errors import ConfigError, PolicyError, RunError
from vlagym.eval.plan.config import load_config
from vlagym.eval.record.caption import layout_for
from vlagym.eval.record.events import Subscriber
from vlagym.eval.run.evaluation import Outcome, evaluate, execution_settings_in, resume
from vlagym.eval.tables.folder import RunFolder
from vlagym.trajectory import load_trajectory

Run = Callable[..., Outcome]
Records = Callable[[Path], list[dict[str, Any]]]


def test_a_run_records_every_episode(run_toy: Run) -> None:
    outcome = run_toy("episodes_per_task=2", "seeds=[0,5]")
    results = RunFolder(outcome.folder).results()
    assert outcome.complete
    assert len(results) == 8
    for result in results:
        trajectory = load_trajectory(outcome.folder / result.execution["trajectory"])
        assert len(trajectory["actions"]) == result.steps == len(trajectory["render_states"]) - 1
        frames = imageio.mimread(outcome.folder / result.execution["video"])
        assert len(frames) == result.steps + 1 + 10, "the last moment stays for a second of 10 frames"
        assert frames[0].shape == (96 + layout_for(frames[0], "").height, 128 + 16, 3)
        assert f"success={result.success}" in result.execution["video"]
        assert f"task={result.spec.task}" in result.execution["video"]


def test_a_run_says_what_it_ran_on(run_toy: Run) -> None:
    header = RunFolder(run_toy("episodes_per_task=1", "video=none").folder).header()
    assert header["legs"][0]["protocol_sha256"] == protocol_sha256(ToySuite().protocol())
    assert header["packages"]["numpy"] == np.__version__
    assert {"python", "platform", "cpu", "commit", "plan_sha256"} <= set(header)


def test_the_summary_is_the_table(run_toy: Run) -> None:
    outcome = run_toy("episodes_per_task=2", "video=none")
    with (outcome.folder / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["task"] for row in rows] == ["push_right", "push_far", "average"]
    assert rows[-1]["successes"] == "4"
    summary = (outcome.folder / "summary.md").read_text()
    assert summary.startswith("push on toy: 2 tasks, 2 trials each, seed 0.\n\n| suite |")
    assert "| **toy** | **average** | **100.0 %** |" in summary


def test_a_run_says_where_its_results_go_before_there_are_any(tmp_path: Path) -> None:
    class Told(Subscriber):
        def noticed(self, sentence: str) -> None:
            told.append(sentence)

        def episode_started(self, spec: EpisodeSpec, worker: int) -> None:
            told.append("an episode")

    told: list[str] = []
    settings = ["suite=toy", "policy=push", "tasks=[0]", "episodes_per_task=1", "video=none", f"run_dir={tmp_path / 'run'}"]
    evaluate(load_config(settings), [Told()])
    assert told == [f"results: {tmp_path}/run   (as they come: vla-eval report {tmp_path}/run --watch)", "an episode"]


def test_results_depend_neither_on_the_number_of_workers_nor_on_faults(
    run_toy: Run, faults: Callable[..., None], records: Records
) -> None:
    alone = run_toy("workers=1", "video=none", policy="random", name="alone")
    together = run_toy("workers=3", "video=none", policy="random", name="together")
    faults("dies1", "dies2", "raises1")
    disturbed = run_toy("workers=2", "attempts=4", policy="random", name="disturbed")
    assert records(alone.folder) == records(together.folder) == records(disturbed.folder)
    attempts = [result.execution["attempts"] for result in RunFolder(disturbed.folder).results()]
    assert sum(attempts) == len(attempts) + 3
    assert not list((disturbed.folder / "videos").glob(".partial/*"))


def test_a_worker_that_hangs_is_replaced(run_toy: Run, faults: Callable[..., None]) -> None:
    faults("hangs1")
    outcome = run_toy("episodes_per_task=1", "worker_timeout_s=4", "video=none")
    assert outcome.complete
    assert sum(result.execution["attempts"] for result in RunFolder(outcome.folder).results()) == 3


def test_an_episode_that_cannot_be_run_is_an_error_and_not_a_failure(run_toy: Run, faults: Callable[..., None]) -> None:
    faults("dies1", "dies2")
    outcome = run_toy("tasks=[push_far]", "episodes_per_task=2", "workers=1", "attempts=2", "video=none")
    results = RunFolder(outcome.folder).results()
    errors = [result for result in results if result.error]
    assert not outcome.complete
    assert len(errors) == 1
    assert errors[0].success is None
    assert "SIGKILL" in str(errors[0].error)
    row = outcome.table.iloc[-1]
    assert (row.episodes, row.successes, row.errors) == (1, 1, 1)
    assert resume(outcome.folder).complete


def test_a_chain_resets_the_policy_at_every_link(run_toy: Run) -> None:
    outcome = run_toy("tasks=[push_right]", "episodes_per_task=1", "suite.chain=3", "video=none")
    (result,) = RunFolder(outcome.folder).results()
    # The rest of a chunk of 4 is dropped at each new link, so the links cost as many steps as the point needs and no more.
    start = load_trajectory(outcome.folder / result.execution["trajectory"])["physics_states"][0, 0]
    assert result.success
    assert result.steps == np.ceil((3.0 - start) / 0.1 - 1e-9)


@pytest.mark.parametrize(("choice", "videos"), [("none", 0), ("first_per_task", 2), ("failures", 2), ("all", 4)])
def test_videos_are_drawn_of_what_was_asked_for(run_toy: Run, choice: str, videos: int) -> None:
    # The random policy reaches neither goal; the goal of push_right is put where it starts beyond it.
    outcome = (
        run_toy("episodes_per_task=2", f"video={choice}", "suite.goal=-0.5", policy="random") if choice == "failures" else None
    )
    outcome = outcome or run_toy("episodes_per_task=2", f"video={choice}")
    failed = [r for r in RunFolder(outcome.folder).results() if not r.success]
    found = list((outcome.folder / "videos").glob("*.mp4"))
    assert len(found) == (len(failed) if choice == "failures" else videos)


def test_frames_drawn_afterwards_equal_those_drawn_live(run_toy: Run) -> None:
    live = run_toy("episodes_per_task=1", "video=all", "suite.goal=9", name="live")
    after = run_toy("episodes_per_task=1", "video=failures", "suite.goal=9", name="after")
    for one, other in zip(
        sorted((live.folder / "videos").glob("*.mp4")), sorted((after.folder / "videos").glob("*.mp4")), strict=True
    ):
        np.testing.assert_array_equal(np.array(imageio.mimread(one)), np.array(imageio.mimread(other)))


@pytest.mark.parametrize(("how", "named"), [("not_finite", "not finite"), ("shape", "float[T, 2]"), ("count", "chunks for")])
def test_a_policy_that_breaks_its_contract_ends_the_run_and_loses_nothing(
    run_toy: Run, tmp_path: Path, how: str, named: str
) -> None:
    with pytest.raises(PolicyError) as raised:
        run_toy(f"policy.how={how}", "workers=1", policy="broken")
    assert named in str(raised.value)
    assert "BrokenPolicy" in str(raised.value)
    assert RunFolder(tmp_path / "run").results() == []
    assert (tmp_path / "run" / "summary.md").exists()


def test_a_full_disk_costs_the_video_and_nothing_else(tmp_path: Path) -> None:
    """The limit on file size stands for the full disk: trajectories fit under it, videos do not."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    run = tmp_path / "run"
    done = subprocess.run(_command(run, "episodes_per_task=2"), preexec_fn=limit, capture_output=True, text=True, check=False)
    results = RunFolder(run).results()
    assert done.returncode == 0, done.stderr
    assert [result.success for result in results] == [True] * 4
    assert all("could not be written" in result.execution["video_error"] for result in results)
    assert "could not be written" in done.stdout
    assert not list((run / "videos").rglob("*.mp4"))


def test_a_folder_for_videos_that_is_none_costs_them_and_nothing_else(run_toy: Run) -> None:
    run = run_toy("episodes_per_task=1", "video=none").folder
    (run / "videos").touch()
    (run / "episodes.jsonl").write_text("")
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("video: none", "video: failures"))
    assert resume(run).complete
    (run / "episodes.jsonl").write_text("")
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("video: failures", "video: all"))
    assert resume(run).complete
    assert all("Not a directory" in result.execution["video_error"] for result in RunFolder(run).results())


@pytest.mark.slow  # the storm's short form does it to every part of a run
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_was_stopped_is_finished_by_resume(tmp_path: Path, records: Records, how: signal.Signals) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    slow = ("policy=random", "suite.step_seconds=0.002", "video=first_per_task")
    subprocess.run(_command(whole, *slow), check=True, capture_output=True)
    process = subprocess.Popen(_command(stopped, *slow), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait_for_results(stopped, 3)
    process.send_signal(how)
    assert process.wait(30) == (-9 if how == signal.SIGKILL else 130)
    before = len(RunFolder(stopped).results())
    assert 3 <= before < 20
    subprocess.run([*_vla_eval(), f"resume={stopped}", "workers=1"], check=True, capture_output=True, env=_environment())
    assert records(stopped) == records(whole)
    assert (stopped / "summary.md").read_text() == (whole / "summary.md").read_text()
    assert len(list((stopped / "videos").glob("*.mp4"))) == 2


def test_a_last_line_that_was_cut_is_run_again(run_toy: Run, records: Records) -> None:
    folder = run_toy("episodes_per_task=2", "video=none").folder
    expected = records(folder)
    file = folder / "episodes.jsonl"
    file.write_text(file.read_text()[:-30])
    assert len(RunFolder(folder).results()) == 3
    assert resume(folder).complete
    assert records(folder) == expected


def test_a_damaged_line_is_named(run_toy: Run) -> None:
    folder = run_toy("episodes_per_task=1", "video=none").folder
    file = folder / "episodes.jsonl"
    file.write_text("{broken\n" + file.read_text())
    with pytest.raises(RunError, match="line 1 is damaged"):
        resume(folder)


def test_a_run_is_not_resumed_under_another_protocol(run_toy: Run) -> None:
    folder = run_toy("episodes_per_task=1", "video=none").folder
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("goal: 1.0", "goal: 0.5"))
    with pytest.raises(RunError, match="goal: 1.0 -> 0.5"):
        resume(folder)


def test_a_folder_in_use_is_left_alone(run_toy: Run, tmp_path: Path) -> None:
    run_toy("episodes_per_task=1", "video=none")
    with pytest.raises(RunError, match="is not empty"):
        run_toy("episodes_per_task=1", "video=none")
    with pytest.raises(RunError, match="is not a run"):
        resume(tmp_path / "nothing")


def test_a_run_is_not_resumed_by_other_code(run_toy: Run) -> None:
    folder = run_toy("episodes_per_task=1", "video=none").folder
    header = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**header, "code_sha256": "0" * 64}))
    with pytest.raises(RunError, match="vlagym's code of environments or policies is no longer that of the run"):
        resume(folder)


def test_resume_takes_execution_settings_only() -> None:
    assert execution_settings_in(["workers=3", "assets.mirror=x"]) == ("workers", "assets")
    with pytest.raises(ConfigError, match="keeps its settings"):
        execution_settings_in(["episodes_per_task=3"])


def test_replay_plays_a_run_again(run_toy: Run, records: Records) -> None:
    original = run_toy("episodes_per_task=2", "video=none", name="original")
    again = run_toy("episodes_per_task=2", "video=none", f"policy.run={original.folder}", name="again", policy="replay")
    assert records(again.folder) == records(original.folder)


def test_replay_without_a_recording_of_the_episode_is_refused(run_toy: Run) -> None:
    original = run_toy("episodes_per_task=1", "video=none", name="original")
    with pytest.raises(PolicyError, match="no recording of episode toy/push_right/1/0"):
        run_toy("episodes_per_task=2", "video=none", f"policy.run={original.folder}", name="again", policy="replay")


def test_an_unknown_camera_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no camera 'side'"):
        evaluate(load_config(["suite=toy", "policy=push", "video_cameras=[side]", f"run_dir={tmp_path / 'run'}"]))
    assert not (tmp_path / "run").exists()


def _vla_eval() -> list[str]:
    return [sys.executable, "-c", "import sys; from vlagym.eval.cli import main; sys.exit(main())"]


def _command(run: Path, *overrides: str) -> list[str]:
    policy = [] if any(o.startswith("policy=") for o in overrides) else ["policy=push"]
    # A shell's background jobs, where these tests may run, ignore SIGINT.
    surroundings = ["env", "--default-signal=INT", f"PYTHONPATH={_environment()['PYTHONPATH']}"]
    return [*surroundings, *_vla_eval(), "suite=toy", *policy, f"run_dir={run}", *overrides]


def _environment() -> dict[str, str]:
    helpers = str(Path(__file__).parents[2] / "helpers")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([helpers, os.environ.get("PYTHONPATH", "")])}


def _wait_for_results(run: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        file = run / "episodes.jsonl"
        if file.exists() and len(file.read_text().splitlines()) >= count:
            return
        time.sleep(0.01)
    raise AssertionError(f"{run} has no {count} results after 60 s: {json.dumps([str(p) for p in run.glob('*')])}")


def test_a_run_leaves_the_environment_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLAGYM_ASSETS_DIR", "elsewhere")
    monkeypatch.delenv("VLAGYM_ASSETS_MIRROR", raising=False)
    before = dict(os.environ)
    settings = [f"assets.dir={tmp_path}/data", f"assets.mirror={tmp_path}", "suite=toy", "policy=random", "workers=1", "video=none"]
    outcome = evaluate(load_config([*settings, "episodes_per_task=1", f"run_dir={tmp_path}/run"]))
    assert dict(os.environ) == before
    resume(outcome.folder)
    assert dict(os.environ) == before
