"""Episodes that are kept as demonstrations (HDF5) are played again from the file alone: the same states, the same successes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from needs import need_suite

from vlagym.envs.registry import make_suite
from vlagym.envs.suite import Suite
from vlagym.errors import ConfigError, EnvError, StorageError
from vlagym.eval import cli
from vlagym.eval.cli.export import main
from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import Outcome, evaluate
from vlagym.eval.tables.runs import Run, load_run
from vlagym.trajectory import load_trajectory, save_trajectory

h5py = pytest.importorskip("h5py", reason="demonstrations are HDF5 (extra hdf5)")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A scripted expert opens a door that stands elsewhere in every trial."""
    need_suite("robosuite")
    folder = tmp_path_factory.mktemp("recorded") / "run"
    settings = ["suite=robosuite", "policy=scripted", "tasks=[door]", "trials=[1]", "workers=1", "video=none"]
    return load_run(evaluate(load_config([*settings, f"run_dir={folder}"])).folder)


@pytest.fixture(scope="module")
def file(recorded: Run) -> Path:
    path = recorded.path.with_name("door_demo.hdf5")
    assert main([str(recorded.path), "--hdf5", str(path), "--size", "48x32"]) == 0
    return path


def lived(run: Run) -> np.ndarray:
    (result,) = run.results
    return load_trajectory(run.path / str(result.execution["trajectory"]))["physics_states"]


def test_it_is_played_again_bit_for_bit(recorded: Run, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replay = ["suite=robosuite", "policy=replay", f"policy.run={file}", "workers=1", "video=none"]
    assert cli.main([*replay, f"run_dir={tmp_path / 'again'}"]) == 0
    again = load_run(tmp_path / "again")
    np.testing.assert_array_equal(lived(again), lived(recorded))
    assert again.results[0].success
    assert f"door/demo_0 ends in success after {recorded.results[0].steps} of" in capsys.readouterr().out


def test_the_file_has_what_liberos_have(recorded: Run, file: Path) -> None:
    (result,) = recorded.results
    actions = load_trajectory(recorded.path / str(result.execution["trajectory"]))["actions"]
    suite = make_suite(recorded.config.legs[0].suite)
    assert isinstance(suite, Suite)
    env = suite.make_env(())
    env.reset(options={"task": "door", "trial": 1})
    with h5py.File(file) as opened:
        demo = opened["data/demo_0"]
        assert (opened["data"].attrs["num_demos"], opened["data"].attrs["total"]) == (1, result.steps)
        assert demo.attrs["num_samples"] == len(demo["states"]) == result.steps
        np.testing.assert_array_equal(demo["actions"], actions.astype(np.float64))
        np.testing.assert_array_equal(demo["states"], lived(recorded)[:-1, : demo["states"].shape[1]])
        np.testing.assert_array_equal(demo["rewards"], [0] * (result.steps - 1) + [1])
        assert demo["obs/agentview_rgb"].shape == (result.steps, 32, 48, 3)
        for camera, name in (("primary", "agentview_rgb"), ("wrist", "eye_in_hand_rgb")):
            np.testing.assert_array_equal(demo[f"obs/{name}"][0][::-1], env.render(camera, 32, 48))
        np.testing.assert_array_equal(demo["obs/ee_states"][0], env.precise_state()[:6])
        assert {"joint_states", "gripper_states", "ee_pos", "ee_ori"} <= set(demo["obs"])
    env.close()


def test_nothing_is_written_over_or_mixed(recorded: Run, file: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Name a new file"):
        main([str(recorded.path), "--hdf5", str(file)])
    with pytest.raises(StorageError, match="exists; name a new folder"):
        main([str(recorded.path), "--hdf5", str(tmp_path)])


def test_nothing_stays_of_a_file_that_was_not_finished(recorded: Run, tmp_path: Path) -> None:
    altered = tmp_path / "altered"
    shutil.copytree(recorded.path, altered)
    (trajectory,) = (altered / "trajectories").iterdir()
    found = load_trajectory(trajectory)
    found["actions"][0] = 0
    save_trajectory(trajectory, found["actions"], found["render_states"], found["physics_states"], found["meta"])
    with pytest.raises(EnvError, match="comes out differently on this machine than in the run"):
        main([str(altered), "--hdf5", str(tmp_path / "x.hdf5"), "--episodes", "all", "--size", "48x32"])
    assert [file.name for file in tmp_path.iterdir()] == ["altered"]


def test_what_cannot_be_kept_is_said(tmp_path: Path, run_toy: Callable[..., Outcome]) -> None:
    folder = run_toy("episodes_per_task=1", "video=none").folder
    with pytest.raises(ConfigError, match="such a file is of one: name a new folder"):
        main([str(folder), "--hdf5", str(tmp_path / "x.hdf5"), "--episodes", "all"])
    with pytest.raises(ConfigError, match="for toy there is --lerobot"):
        main([str(folder), "--hdf5", str(tmp_path / "x"), "--episodes", "all"])
