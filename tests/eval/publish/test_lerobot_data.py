"""Episodes written as a LeRobot data set: what is in it is what happened, and lerobot's own loader opens it."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
from outside import LEROBOT, outside

from vlagym.envs.registry import default_suite
from vlagym.errors import ConfigError, EnvError, StorageError
from vlagym.eval import cli
from vlagym.eval.cli.export import main
from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import Outcome, evaluate
from vlagym.eval.tables.runs import load_run
from vlagym.trajectory import load_trajectory, save_trajectory

pq = pytest.importorskip("pyarrow.parquet", reason="LeRobot's tables are Parquet (extra parquet)")


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of chains of two subtasks, and its successes as a data set."""
    folder = tmp_path_factory.mktemp("demos")
    settings = ["suite=toy", "policy=push", "suite.chain=2", "suite.goal=0.5", "suite.trials=2", "workers=1", "video=none"]
    evaluate(load_config([*settings, f"run_dir={folder / 'run'}"]))
    assert cli.main(["export", str(folder / "run"), "--lerobot", str(folder / "data"), "--size", "32x24"]) == 0
    return folder / "run", folder / "data"


def test_a_data_set_has_every_frame_as_it_was(demos: tuple[Path, Path]) -> None:
    run, data = load_run(demos[0]), demos[1]
    info = json.loads((data / "meta" / "info.json").read_text())
    episodes = pq.read_table(data / "meta" / "episodes").to_pylist()
    tasks = pq.read_table(data / "meta" / "tasks.parquet").to_pandas()["task_index"].to_dict()
    suite = default_suite("toy")
    assert suite is not None
    assert info["total_episodes"] == len(episodes) == len(run.results) == 4
    assert info["total_frames"] == sum(result.steps for result in run.results) == episodes[-1]["dataset_to_index"]
    assert tasks == {"push the point to 1": 0, "push the point to 2": 1}
    env = suite.make_env(())
    for number, (episode, result) in enumerate(zip(episodes, run.results, strict=True)):
        frames = pq.read_table(data / info["data_path"].format(chunk_index=0, file_index=number)).to_pylist()
        trajectory = load_trajectory(demos[0] / str(result.execution["trajectory"]))
        np.testing.assert_array_equal([frame["action"] for frame in frames], trajectory["actions"].astype(np.float32))
        np.testing.assert_array_equal(
            [[frame["observation.state"]] for frame in frames], trajectory["physics_states"][:-1, :1].astype(np.float32)
        )
        assert [frame["next.success"] for frame in frames] == [False] * (len(frames) - 1) + [True]
        assert [frame["frame_index"] for frame in frames] == list(range(episode["length"]))
        assert frames[0]["index"] == episode["dataset_from_index"]
        assert frames[5]["timestamp"] == pytest.approx(0.5)
        assert {frame["task_index"] for frame in frames} == {0, 1}
        env.reset(seed=result.spec.seed, options={"task": result.spec.task, "trial": result.spec.trial})
        for camera in ("primary", "wrist"):
            seen = imageio.imread(io.BytesIO(frames[7][f"observation.images.{camera}"]["bytes"]))
            np.testing.assert_array_equal(seen, env.picture(trajectory["render_states"][7], camera, 24, 32))


def test_statistics_are_those_of_the_frames(demos: tuple[Path, Path]) -> None:
    data = demos[1]
    statistics = json.loads((data / "meta" / "stats.json").read_text())
    states = pq.read_table(data / "data").column("observation.state").to_numpy().astype(np.float64)
    for name, expected in (("min", states.min()), ("max", states.max()), ("mean", states.mean()), ("std", states.std())):
        assert statistics["observation.state"][name] == pytest.approx([expected], abs=1e-6)
    assert statistics["observation.state"]["count"] == [len(states)]
    assert np.shape(statistics["observation.images.wrist"]["mean"]) == (3, 1, 1)
    assert 0 < statistics["observation.images.wrist"]["mean"][0][0][0] < 1


def test_nothing_is_written_over_or_mixed(demos: tuple[Path, Path], tmp_path: Path, run_toy: Callable[..., Outcome]) -> None:
    with pytest.raises(StorageError, match="exists; name a new folder"):
        main([str(demos[0]), "--lerobot", str(demos[1])])
    with pytest.raises(ConfigError, match="no episodes to draw for --episodes failures"):
        main([str(demos[0]), "--lerobot", str(tmp_path / "data"), "--episodes", "failures"])
    two = run_toy("suite=[toy,robosuite]", "episodes_per_task=1", "tasks=[0]", "video=none", policy="random").folder
    with pytest.raises(ConfigError, match="has several suites"):
        main([str(two), "--lerobot", str(tmp_path / "data"), "--episodes", "all"])
    assert not (tmp_path / "data").exists()


def test_an_episode_that_comes_out_differently_is_not_written(tmp_path: Path, run_toy: Callable[..., Outcome]) -> None:
    folder = run_toy("episodes_per_task=1", "tasks=[0]", "video=none").folder
    (file,) = (folder / "trajectories").iterdir()
    found = load_trajectory(file)
    found["actions"][0] = 0
    save_trajectory(file, found["actions"], found["render_states"], found["physics_states"], found["meta"])
    with pytest.raises(EnvError, match="comes out differently on this machine than in the run"):
        main([str(folder), "--lerobot", str(tmp_path / "data")])
    assert not (tmp_path / "data").exists()


OPENED = """
import json, sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
data = LeRobotDataset("local/demos", root=sys.argv[1])
frames = [data[i] for i in range(len(data))]
print(json.dumps({
    "episodes": data.num_episodes,
    "frames": len(data),
    "actions": [frame["action"].tolist() for frame in frames],
    "tasks": sorted({frame["task"] for frame in frames}),
    "image": (frames[7]["observation.images.primary"].numpy() * 255).round().astype(int).tolist(),
}))
"""


@pytest.mark.slow
def test_lerobot_itself_opens_it(demos: tuple[Path, Path]) -> None:
    run, data = load_run(demos[0]), demos[1]
    python = outside(LEROBOT) / "bin" / "python"
    done = subprocess.run([python, "-c", OPENED, data], check=True, capture_output=True, text=True)
    opened = json.loads(done.stdout.splitlines()[-1])
    trajectories = [load_trajectory(demos[0] / str(result.execution["trajectory"])) for result in run.results]
    assert opened["episodes"] == 4
    assert opened["frames"] == sum(result.steps for result in run.results)
    assert opened["tasks"] == ["push the point to 1", "push the point to 2"]
    np.testing.assert_array_equal(
        np.array(opened["actions"], np.float32), np.concatenate([found["actions"] for found in trajectories]).astype(np.float32)
    )
    first = imageio.imread(io.BytesIO(pq.read_table(data / "data").to_pylist()[7]["observation.images.primary"]["bytes"]))
    np.testing.assert_array_equal(np.transpose(opened["image"], (1, 2, 0)), first)


def test_it_is_played_again_to_the_same_ends(demos: tuple[Path, Path], tmp_path: Path) -> None:
    replay = ["suite=toy", "policy=replay", f"policy.run={demos[1]}", "suite.chain=2", "suite.goal=0.5", "suite.trials=2"]
    again = load_run(evaluate(load_config([*replay, "workers=1", "video=none", f"run_dir={tmp_path / 'again'}"])).folder)
    ends = [[(r.spec, r.success, r.steps) for r in run.results] for run in (load_run(demos[0]), again)]
    assert ends[0] == ends[1]
    assert all(success for _, success, _ in ends[0])
