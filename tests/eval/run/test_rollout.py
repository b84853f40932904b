"""What is recorded of an episode inside a worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from toy_suite import ToySuite

from vlagym.episode import EpisodeSpec
from vlagym.eval.run.rollout import RecordSettings, Rollout, TrajectoryRecorder, episode_file_name
from vlagym.trajectory import load_trajectory


def test_a_chunk_that_a_new_subtask_cuts_short_is_recorded_as_far_as_it_went(tmp_path: Path) -> None:
    env = ToySuite(chain=2, goal=0.5).make_env(())
    record = RecordSettings(tmp_path, "now", "none", "none", (), 10)
    rollout = Rollout(env, [TrajectoryRecorder(record)])
    rollout.begin(EpisodeSpec("toy", "push_right", 0), 0)
    executed: list[np.ndarray] = []
    chunks = np.random.default_rng(0).uniform(0.5, 1, (20, 8, 2)).astype(np.float32)
    for chunk in chunks:
        done = rollout.advance(chunk)
        executed += list(chunk[: done.executed])
        if done.ended_by:
            break
    result = rollout.finish(done)
    assert result.success
    assert len(executed) < 8 * (len(executed) // 8 + 1) - 1, "no chunk was cut"
    trajectory = load_trajectory(tmp_path / result.execution["trajectory"])
    np.testing.assert_array_equal(trajectory["actions"], executed)


def test_files_of_tasks_with_long_names_can_be_written(tmp_path: Path) -> None:
    """A name of 226 characters, and one in an alphabet that takes three bytes per letter."""
    before, after = "2026_01_31-23_59_59--openvla_oft_joint--episode=12345--success=False--", ".mp4"
    long = "pick_up_the_bowl_" + "and_turn_it_around_" * 11
    names = {episode_file_name(before, EpisodeSpec("my_suite", task, 3), after) for task in (long, long + "again", "放" * 200)}
    assert len(names) == 3  # what is cut off still tells them apart
    for name in names:
        assert (tmp_path / f".{name}.part").write_bytes(b"") == 0
        assert name.startswith(f"{before}suite=my_suite--trial=3--task=")
        assert name.endswith(after)
    assert (
        episode_file_name("", EpisodeSpec("s", "put it/there", 0, 7), ".npz") == "suite=s--trial=0--seed=7--task=put_it_there.npz"
    )
