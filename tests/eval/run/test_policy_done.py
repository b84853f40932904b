"""A policy may declare its task accomplished: the episode ends with the actions it gave, or goes on with the next instruction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlagym.eval.run.evaluation import Outcome


def test_the_episode_ends_after_the_chunk(
    run_toy: Callable[..., Outcome],
    records: Callable[[Path], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from toy_suite import PushPolicy

    calls: dict[str, int] = {}

    def done(self: PushPolicy, episode_ids: Sequence[str]) -> list[bool]:
        for episode_id in episode_ids:
            calls[episode_id] = calls.get(episode_id, 0) + 1
        return [calls[episode_id] == 2 for episode_id in episode_ids]

    monkeypatch.setattr(PushPolicy, "done", done)
    run_toy("tasks=[push_far]", "episodes_per_task=3", "workers=2", "video=none")
    results = records(tmp_path / "run")
    assert [(result["ended_by"], result["steps"], result["success"]) for result in results] == [("policy", 8, False)] * 3

    run_toy(
        "tasks=[push_far]", "episodes_per_task=3", "video=none", f"policy.run={tmp_path / 'run'}", name="again", policy="replay"
    )
    assert records(tmp_path / "again") == results


def test_a_benchmark_with_a_next_instruction_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from toy_suite import ToyEnv, ToySuite

    asked = []

    def next_subtask(self: ToyEnv) -> bool:
        asked.append(self._link)
        self._link += 1
        return self._link < 2

    monkeypatch.setattr(ToyEnv, "_next_subtask", next_subtask)
    env = ToySuite().make_env(())
    env.reset(seed=0)
    nothing = np.zeros((2, 2), np.float32)
    first = env.step_chunk(nothing)
    assert (first.new_subtask, first.ended_by, asked) == (False, None, [])
    second = env.step_chunk(nothing, done=True)
    assert (second.new_subtask, second.ended_by, second.executed) == (True, None, 2)
    assert second.observation is not None
    assert second.observation["instruction"] == "push the point to 2"
    last = env.step_chunk(nothing, done=True)
    assert (last.new_subtask, last.ended_by, last.observation) == (False, "policy", None)


def test_the_benchmarks_own_end_comes_first() -> None:
    from toy_suite import ToySuite

    env = ToySuite(goal=0.1).make_env(())
    env.reset(seed=0)
    assert env.step_chunk(np.ones((20, 2), np.float32), done=True).ended_by == "success"
