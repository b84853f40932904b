"""CALVIN's own data: named stretches of frames are played from where they begin, and the oracle sees the subtask done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needs import need_suite

from vlagym.envs.calvin.recorded import Stretch, read_demonstration, read_stretches
from vlagym.envs.registry import make_suite
from vlagym.errors import ConfigError
from vlagym.eval import cli
from vlagym.eval.plan.config import load_config
from vlagym.eval.tables.runs import load_run

SHOWN = ("open_drawer", "turn_on_led", "move_slider_left")


def write_annotations(folder: Path, tasks: list[Any], bounds: list[Any]) -> None:
    language = {"ann": ["do it"] * len(tasks), "task": tasks, "emb": np.zeros((2, 3))}
    held = {"language": language, "info": {"episodes": [], "indx": bounds}}
    (folder / "lang_annotations").mkdir(exist_ok=True)
    np.save(folder / "lang_annotations" / "auto_lang_ann.npy", np.array(held))


def write_frames(folder: Path, first: int, actions: np.ndarray, robot_obs: np.ndarray, scene_obs: np.ndarray) -> int:
    """The frames of a trajectory; returns the number of the frame where it ends."""
    for step, action in enumerate(actions):
        frame = {"rel_actions": action, "actions": np.zeros(7), "robot_obs": robot_obs[step], "scene_obs": scene_obs[step]}
        np.savez(folder / f"episode_{first + step:07d}.npz", rgb_static=np.zeros((2, 2, 3), np.uint8), **frame)
    return first + len(actions)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "validation"
    folder.mkdir()
    last = write_frames(folder, 7, np.ones((3, 7)), np.zeros((3, 15)), np.zeros((3, 24)))
    write_annotations(folder, ["open_drawer", "open_drawer"], [(7, last), (np.int64(8), np.int64(last))])
    return folder


def test_stretches_of_frames_are_a_subtasks_trials(data: Path) -> None:
    assert read_stretches(str(data)) == {"open_drawer": (Stretch(7, 10), Stretch(8, 10))}
    shown = read_demonstration(str(data), Stretch(8, 10), "rel_actions")
    assert (shown.actions.shape, shown.start["robot_obs"].shape, shown.start["scene_obs"].shape) == ((2, 7), (15,), (24,))


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("executed",))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: write_annotations(folder, [Evil()], [(7, 8)]), "its pickle names builtins.print.*nothing was executed"),
        (lambda folder: write_annotations(folder, ["open_drawer"], [(7, 7)]), "no stretch of frames"),
        (lambda folder: write_annotations(folder, ["open_drawer"], [("7", 8)]), "is not a subtask from one frame to another"),
        (lambda folder: write_annotations(folder, ["open_drawer"], []), "1 subtasks for 0 stretches"),
        (lambda folder: np.save(folder / "lang_annotations" / "auto_lang_ann.npy", np.zeros(3)), "no language.task and info.indx"),
        (lambda folder: (folder / "lang_annotations" / "auto_lang_ann.npy").write_bytes(b"NUMPY"), "no array of annotations"),
        (lambda folder: write_annotations(folder, ["open_drawr"], [(7, 8)]), "unknown CALVIN subtask 'open_drawr'.*open_drawer"),
    ],
)
def test_what_is_wrong_is_said(spoil: Callable[[Path], object], said: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(data)
    with pytest.raises(ConfigError, match=said):
        make_suite(load_config(["suite=calvin_d", "policy=replay", f"policy.run={data}"]).legs[0].suite)
    assert "executed" not in capsys.readouterr().out


def test_a_frame_that_is_missing_or_no_frame_is_named(data: Path) -> None:
    (data / "episode_0000008.npz").unlink()
    with pytest.raises(ConfigError, match="episode_0000008.npz"):
        read_demonstration(str(data), Stretch(7, 10), "rel_actions")
    np.savez(data / "episode_0000008.npz", robot_obs=np.zeros(3))
    with pytest.raises(ConfigError, match="expected robot_obs with 15 numbers"):
        read_demonstration(str(data), Stretch(7, 10), "rel_actions")


def test_they_are_played_in_calvins_suites_only(data: Path) -> None:
    with pytest.raises(ConfigError, match="are played in CALVIN's suites, not in robosuite"):
        load_config(["suite=robosuite", "policy=replay", f"policy.run={data}"])


def test_recorded_demonstrations_end_in_success(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_suite("calvin_d")
    arrays = np.load(golden / "tasks" / "scripted_tasks.npz")
    folder, first, bounds = tmp_path / "data", 0, []
    folder.mkdir()
    for task in SHOWN:
        last = write_frames(folder, first, *(arrays[f"{task}/{name}"] for name in ("actions", "robot_obs", "scene_obs")))
        bounds.append((first, last))
        first = last + 1
    write_annotations(folder, list(SHOWN), bounds)
    replay = ["suite=calvin_d", "policy=replay", f"policy.run={folder}", "workers=1", "video=none"]
    assert cli.main([*replay, f"run_dir={tmp_path / 'run'}"]) == 0
    run = load_run(tmp_path / "run")
    assert {result.spec.task: result.success for result in run.results} == dict.fromkeys(SHOWN, True)
    assert "open_drawer/frame_0 ends in success after" in capsys.readouterr().out
