"""What a run shows while it runs, on a terminal and in a log."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from vlagym import EpisodeResult, EpisodeSpec
from vlagym.eval.record.progress import LiveProgress, PlainProgress, progress_for

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
    progress.episode_retried(PLAN[2], "worker 0: it did not answer for 300 s")
    progress.episode_started(PLAN[2], 1)
    progress.episode_ended(FAILED)
    progress.episode_ended(ERROR)
    progress.run_ended(interrupted=True)


def test_a_terminal_shows_a_table_that_counts() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120, color_system=None)
    progress = progress_for(console)
    assert isinstance(progress, LiveProgress)
    _play(progress)
    shown = output.getvalue()
    assert "toy/push_right" in shown
    assert "3/4 episodes, 1 successes, 1 errors" in shown
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
