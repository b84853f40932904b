"""Actions of a LeRobot data set are played as a suite's, in their own convention; what is no data set is said in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapes_only import ShapesOnly

from vlagym.episode import EpisodeSpec
from vlagym.errors import ConfigError, PolicyError
from vlagym.policies.base import PolicyObservation
from vlagym.policies.registry import make_policy
from vlagym.policies.replay import ReplayPolicy

pa = pytest.importorskip("pyarrow", reason="LeRobot's tables are Parquet (extra parquet)")
pq = pytest.importorskip("pyarrow.parquet")


def data_set(folder: Path, suite: ShapesOnly, width: int = 7) -> Path:
    """Three episodes, the second of a task that the suite does not have, laid out as LeRobot's v2.1."""
    (folder / "meta").mkdir()
    (folder / "data" / "chunk-000").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text('{"codebase_version": "v2.1"}')
    told = [suite.tasks()[0].instruction, "do something else"]
    (folder / "meta" / "tasks.jsonl").write_text(
        "".join(json.dumps({"task_index": n, "task": t}) + "\n" for n, t in enumerate(told))
    )
    for number, task in enumerate((0, 1, 0)):
        actions = np.full((4, width), number / 10, np.float32)
        actions[:, -1] = [1, 1, 0, 0]
        columns = {"action": actions.tolist(), "episode_index": [number] * 4, "task_index": [task] * 4}
        pq.write_table(pa.table(columns), folder / "data" / "chunk-000" / f"episode_{number:06d}.parquet")
    return folder


def played(policy: ReplayPolicy, suite: ShapesOnly, trial: int, observe: Callable[..., PolicyObservation]) -> np.ndarray:
    spec = EpisodeSpec(suite.name, suite.tasks()[0].name, trial)
    policy.reset([spec.id])
    parts: list[Any] = []
    while not parts or not policy.done([spec.id])[0]:
        parts += policy.act([{**observe({}, "go", step=sum(map(len, parts))), "episode_id": spec.id}])
    return np.concatenate(parts)


def test_the_episodes_of_a_task_are_its_trials(
    libero_like: ShapesOnly, observe: Callable[..., PolicyObservation], tmp_path: Path
) -> None:
    policy = ReplayPolicy(libero_like, str(data_set(tmp_path, libero_like)), chunk=3)
    for trial, number in ((0, 0), (1, 2)):
        actions = played(policy, libero_like, trial, observe)
        np.testing.assert_array_equal(actions[:, 0], np.full(4, number / 10, np.float32))
    with pytest.raises(PolicyError, match="has no recording of episode .*; it has 2 of this suite"):
        policy.reset([EpisodeSpec(libero_like.name, libero_like.tasks()[0].name, 2).id])


def test_their_convention_is_the_suites_through_a_recipe(
    libero_like: ShapesOnly, observe: Callable[..., PolicyObservation], tmp_path: Path
) -> None:
    spec = libero_like.action_spec
    meaning = {name: getattr(spec, name) for name in ("mode", "frame", "rotation", "unit")}
    settings = {
        "name": "replay",
        "run": str(data_set(tmp_path, libero_like)),
        "emits": {**meaning, "gripper_open": 1.0, "gripper_closed": 0.0},
    }
    with pytest.raises(ConfigError, match="emits actions that suite .* would misread"):
        make_policy(settings, libero_like)
    policy = make_policy({**settings, "action_transforms": ["flip_binary_gripper"]}, libero_like)
    assert isinstance(policy, ReplayPolicy)
    assert played(policy, libero_like, 0, observe)[:, -1].tolist() == [-1, -1, 1, 1]


def spoil_actions(folder: Path) -> None:
    pq.write_table(pa.table({"episode_index": [0]}), folder / "data" / "chunk-000" / "episode_000000.parquet")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_actions, "it has no column action"),
        (lambda folder: (folder / "data" / "chunk-000" / "episode_000000.parquet").write_bytes(b"PAR1"), "is not a table"),
        (lambda folder: (folder / "meta" / "tasks.jsonl").write_text("{}"), "not lines with task_index and task"),
        (
            lambda folder: (folder / "meta" / "tasks.jsonl").write_text('{"task_index": 0, "task": "fly"}'),
            "its sentences are 'fly'",
        ),
        (lambda folder: (folder / "meta" / "vlagym_episodes.json").write_text('["a"]'), "not an episode id"),
    ],
)
def test_what_is_wrong_is_said(spoil: Callable[[Path], object], said: str, libero_like: ShapesOnly, tmp_path: Path) -> None:
    spoil(data_set(tmp_path, libero_like))
    with pytest.raises(ConfigError, match=said):
        ReplayPolicy(libero_like, str(tmp_path))


def test_actions_of_another_width_are_refused(libero_like: ShapesOnly, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="its actions have 6 entries, and those of .* 7"):
        ReplayPolicy(libero_like, str(data_set(tmp_path, libero_like, width=6)))
