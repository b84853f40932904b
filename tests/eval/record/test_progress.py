"""What a run shows while it runs, on a terminal and in a log."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from vlagym import EpisodeResult, EpisodeSpec
from vlagym._stages import stage
from vlagym.eval.record.progress import LiveProgress, PlainProgress, progress_for
from vlagym.eval.record.tally import Tally
from vlagym.eval.tables.success import success_table

PLAN = [EpisodeSpec("toy", task, trial) for task in ("push_right", "push_far") for trial in range(2)]
DONE = EpisodeResult(PLAN[0], "push", True, True, True, 12, 12, "success", "a", "b")
FAILED = replace(
    DONE, spec=PLAN[2], success=False, success_at_end=False, success_ever=False, first_success_step=None, ended_by="horizon"
)
ERROR = replace(FAILED, spec=PLAN[3], success=None, error="worker 1: its process ended with signal SIGKILL")


def _play(progress: LiveProgress | PlainProgress) -> None:
    progress.run_started(PLAN, [DONE])
    progress.episode_started(PLAN[2], 0)
    progress.chunk_done(PLAN[2], 8)
    if isinstance(progress, LiveProgress):
        progress._live.refresh()
    progress.episode_retried(PLAN[2], "worker 0: it did not answer for 300 s")
    progress.episode_started(PLAN[2], 1)
    progress.episode_ended(FAILED)
    progress.episode_ended(ERROR)
    progress.run_ended(interrupted=True)


def test_a_terminal_shows_a_table_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")  # nothing moves on a dumb one
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120, color_system=None)
    progress = progress_for(console)
    assert isinstance(progress, LiveProgress)
    _play(progress)
    shown = output.getvalue()
    assert "toy/push_right" in shown
    assert "3/4 episodes, 50.0 % success so far (" in shown
    assert "%), 1 errors; " in shown
    assert "trial 0: step 8" in shown
    assert "it did not answer for 300 s" in shown
    assert "SIGKILL" in shown


def test_a_log_has_a_line_per_episode() -> None:
    output = io.StringIO()
    progress = progress_for(Console(file=output, width=140))
    assert isinstance(progress, PlainProgress)
    _play(progress)
    lines = output.getvalue().splitlines()
    assert lines[0] == "1 of 4 episodes were finished before"
    assert lines[1] == "toy/push_far/0/0 is run again: worker 0: it did not answer for 300 s"
    assert lines[2].startswith("[2/4] toy/push_far trial 0: no success in 12 steps (0/1 of the task; ")
    assert lines[3].startswith("[3/4] toy/push_far trial 1: error (0/2 of the task; ")
    assert lines[4].strip() == ERROR.error


def test_stages_before_the_first_episode_are_shown_and_gone_afterwards() -> None:
    output = io.StringIO()
    with progress_for(Console(file=output, width=140)) as progress:
        stage("loading model-00001-of-00003.safetensors (1 of 3)")
        assert isinstance(progress, PlainProgress)
        progress.tell()
        progress.run_started(PLAN, [])
        progress.episode_started(PLAN[0], 0)
        progress.chunk_done(PLAN[0], 8)
        progress.tell()
    stage("nobody listens any more")
    begun, still, running = output.getvalue().splitlines()
    assert begun == "loading model-00001-of-00003.safetensors (1 of 3) ..."
    assert still.startswith(begun)
    assert running.startswith("0/4 episodes, no outcome yet, 0 errors; 1 under way, at step 8; ")


def test_a_terminal_shows_stages_and_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")  # nothing moves on a dumb one
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120, color_system=None)
    with progress_for(console) as progress:
        assert isinstance(progress, LiveProgress)
        stage("starting 2 workers")
        progress._live.refresh()
    assert "starting 2 workers ... 0 s" in output.getvalue()
    assert "starting 2 workers" not in output.getvalue().splitlines()[-1]


def test_the_rate_so_far_is_the_tables_average() -> None:
    half = replace(DONE, spec=PLAN[1], success=False)
    row = success_table([DONE, half, FAILED], PLAN).iloc[-1]
    shown = f"{100 * row.success_rate:.1f} % success so far ({100 * row.low:.1f} - {100 * row.high:.1f} %)"
    assert Tally(PLAN, [DONE, half, FAILED, ERROR]).success() == shown
