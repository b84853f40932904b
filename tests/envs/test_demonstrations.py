"""Files of demonstrations: what they say is known before anything runs, and what is wrong with them is one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlagym.envs.demonstrations import demonstrated_tasks, load_demonstration
from vlagym.envs.registry import make_suite
from vlagym.envs.robosuite.model_file import body_poses, geom_sizes, read_model
from vlagym.errors import ConfigError
from vlagym.eval.plan.config import load_config

h5py = pytest.importorskip("h5py", reason="demonstrations are HDF5 (extra hdf5)")


def write(path: Path, steps: tuple[int, ...] = (3, 2), **attributes: str) -> Path:
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs.update(attributes)
        for number, count in enumerate(steps):
            demo = data.create_group(f"demo_{number}")
            demo["actions"], demo["states"] = np.zeros((count, 7)), np.full((count, 5), float(number))
            demo.attrs["model_file"] = "<mujoco/>"
    return path


def test_demonstrations_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    file = write(tmp_path / "x_demo.hdf5", tuple(range(1, 13)), bddl_file_name=r"C:\libero\put_it_there.bddl")
    (shown,) = demonstrated_tasks(str(file)).values()
    assert (shown.task, shown.steps) == ("put_it_there", tuple(range(1, 13)))
    demonstration = load_demonstration(shown.file, shown.names[10])
    assert (demonstration.name, demonstration.states[0, 0], demonstration.model) == ("demo_10", 10, "<mujoco/>")


@pytest.mark.parametrize(
    ("attributes", "task"),
    [({"env": "Lift"}, "Lift"), ({"env_args": '{"env_name": "Stack", "type": 1}'}, "Stack"), ({}, "turn_on_the_stove")],
    ids=["robosuite", "robomimic", "by its name"],
)
def test_a_file_says_of_which_task_it_is(attributes: dict[str, str], task: str, tmp_path: Path) -> None:
    assert list(demonstrated_tasks(str(write(tmp_path / "turn_on_the_stove_demo.hdf5", **attributes)))) == [task]


def spoiled(change: Callable[[Any], object]) -> Callable[[Path], object]:
    def spoil(path: Path) -> None:
        with h5py.File(path, "a") as file:
            change(file["data"])

    return spoil


def other_actions(shape: tuple[int, ...]) -> Callable[[Any], object]:
    def change(data: Any) -> None:
        del data["demo_0"]["actions"]
        data["demo_0"]["actions"] = np.zeros(shape)

    return change


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoiled(other_actions((2, 7))), r"data/demo_0 has 2 actions for 3 states"),
        (spoiled(other_actions((3,))), r"expected actions \[T, A\] and states \[T, S\], got \[3\] and \[3, 5\]"),
        (spoiled(lambda data: data["demo_1"].clear()), "it has no array data/demo_1/actions"),
        (spoiled(lambda data: data.clear()), "it has no data/demo_N"),
        (spoiled(lambda data: data.attrs.update(env_args="{")), "env_args do not name"),
        (lambda path: path.write_bytes(b"no HDF5"), "is not a file of demonstrations"),
        (lambda path: path.unlink(), "No such file"),
    ],
)
def test_what_is_wrong_is_said(spoil: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    file = write(tmp_path / "x_demo.hdf5")
    spoil(file)
    with pytest.raises(ConfigError, match=said):
        demonstrated_tasks(str(file))


def test_two_files_of_one_task_are_refused(tmp_path: Path) -> None:
    for name in ("a.hdf5", "b.hdf5"):
        write(tmp_path / name, env="Lift")
    with pytest.raises(ConfigError, match=r"b\.hdf5 and a\.hdf5 are both of Lift"):
        demonstrated_tasks(str(tmp_path))


def test_a_policy_that_plays_demonstrations_makes_them_the_suites_trials(tmp_path: Path) -> None:
    write(tmp_path / "lift.hdf5", (4, 9, 2), env="Lift")
    write(tmp_path / "stack.hdf5", (5,), env="Stack")
    config = load_config(["suite=robosuite", "policy=replay", f"policy.run={tmp_path}", "suite.image_size=64"])
    tasks = make_suite(config.legs[0].suite).tasks()
    assert [(task.name, task.trials, task.horizon) for task in tasks] == [("lift", 3, 9), ("stack", 1, 5)]
    assert config.legs[0].suite["image_size"] == 64


def test_demonstrations_of_another_suite_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "x.hdf5", bddl_file_name="turn_on_the_stov.bddl")
    replay = ["policy=replay", f"policy.run={file}"]
    with pytest.raises(ConfigError, match="'turn_on_the_stov', which is no task of libero_goal.*Did you mean 'turn_on_the_stove'"):
        make_suite(load_config(["suite=libero_goal", *replay]).legs[0].suite)
    with pytest.raises(ConfigError, match="which is no task of robosuite; they are Lift, Stack"):
        make_suite(load_config(["suite=robosuite", *replay]).legs[0].suite)
    with pytest.raises(ConfigError, match="are played in LIBERO's suites, libero_custom and robosuite, not in calvin_d"):
        load_config(["suite=calvin_d", *replay])


def test_a_model_says_where_things_stand_and_how_large_they_are() -> None:
    xml = (
        '<mujoco><worldbody><body name="stove" pos="0.1 -0.2 0.9"><geom name="plate" size="0.05 0.01"/></body></worldbody></mujoco>'
    )
    model = read_model(xml)
    assert model is not None
    poses, sizes = body_poses(model, ["stove"]), geom_sizes(model)
    assert poses is not None
    np.testing.assert_array_equal(poses["stove"], [0.1, -0.2, 0.9, 1, 0, 0, 0])
    np.testing.assert_array_equal(sizes["plate"], [0.05, 0.01])
    assert body_poses(model, ["cabinet"]) is None


@pytest.mark.parametrize(
    "xml",
    [None, "", "<mujoco><worldbody>", '<!DOCTYPE m [<!ENTITY a "aa">]><mujoco>&a;</mujoco>'],
    ids=["none", "empty", "cut", "entity"],
)
def test_what_is_no_whole_model_says_nothing(xml: str | None) -> None:
    assert read_model(xml) is None
