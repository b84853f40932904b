"""Recorded actions are played again, and so is what the recorded policy declared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from shapes_only import ShapesOnly

from vlagym.policies.base import PolicyObservation
from vlagym.policies.replay import ReplayPolicy
from vlagym.trajectory import save_trajectory


def test_it_declares_what_was_declared_where_it_was(
    libero_like: ShapesOnly, observe: Callable[..., PolicyObservation], tmp_path: Path
) -> None:
    actions = np.arange(9 * 7, dtype=np.float64).reshape(9, 7)
    states = np.zeros((10, 1))
    meta = {"suite": libero_like.name, "task": "task_0", "trial": 0, "seed": 0, "instruction": "go", "steps": 9, "success": True}
    meta["done_declared_at"] = [2, 6]
    save_trajectory(tmp_path / "episode.npz", actions, states, states, meta)
    policy = ReplayPolicy(libero_like, str(tmp_path), chunk=3)
    episode = observe({}, "anything")["episode_id"]
    policy.reset([episode])
    played = []
    for step in (0, 2, 6, 5):
        [chunk] = policy.act([observe({}, "anything", step=step)])
        [done] = policy.done([episode])
        played.append(((chunk[:, 0] / 7).tolist(), done))
    assert played == [([0, 1], False), ([2, 3, 4, 5], True), ([6, 7, 8], True), ([5], False)]
