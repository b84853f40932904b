"""Recorded episodes as runs of the whole harness: the successes are successes, however they are run and in whatever order."""

import numpy as np
import pytest
from simpler_recordings import load_recording, official_trial, success_names

from vlagym.conf import suite_settings
from vlagym.envs.registry import make_suite
from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import evaluate
from vlagym.eval.tables.folder import RunFolder
from vlagym.trajectory import load_trajectory, save_trajectory


def write_trajectories(recordings, folder):
    """Recorded actions, then standing still to the horizon, as files that policy=replay reads."""
    for name, recording in recordings.items():
        suite, settings, task, trial = official_trial(recording.setup)
        horizons = {task.name: task.horizon for task in make_suite({**suite_settings(suite), **settings}).tasks()}
        actions = recording["actions"]
        still = np.zeros(7)
        if suite == "simpler_widowx":
            still[6] = actions[-1, 6]  # the WidowX is told how far its gripper is to be open
        padded = np.concatenate((actions, np.tile(still, (horizons[task] - len(actions), 1))))
        meta = {"suite": suite, "task": task, "trial": trial, "seed": 0}
        meta |= {"instruction": "", "steps": len(padded), "success": None}
        states = len(padded) + 1
        save_trajectory(folder / f"{name}.npz", padded, np.zeros((states, 7)), np.zeros((states, 13)), meta)


def run(names, tmp_path, *overrides, name="run"):
    """Play recordings of one suite."""
    folder = tmp_path / f"{name}-recordings"
    folder.mkdir()
    recordings = {name: load_recording(name) for name in names}
    write_trajectories(recordings, folder)
    suite, settings, *_ = official_trial(recordings[names[0]].setup)
    chosen = [f"suite={suite}", *(f"suite.{setting}={value}" for setting, value in settings.items())]
    return evaluate(load_config([*chosen, "policy=replay", f"policy.run={folder}", f"run_dir={tmp_path / name}", *overrides]))


def results(outcome):
    """Everything about the episodes but how they were executed, by task."""
    lines = [result.to_json() for result in RunFolder(outcome.folder).results()]
    return {line["task"]: {k: v for k, v in line.items() if k != "execution"} for line in lines}


def trajectories(outcome):
    """Every recorded number, by task."""
    loaded = [load_trajectory(file) for file in (outcome.folder / "trajectories").glob("*.npz")]
    return {each["meta"]["task"]: {k: each[k].tobytes() for k in ("actions", "render_states", "physics_states")} for each in loaded}


@pytest.mark.slow
def test_episodes_are_the_same_alone_in_another_order_and_in_two_workers(assets, vulkan, tmp_path):
    names = ("stack_ep00.scripted", "carrot_ep00.scripted")
    alone = run(names[1:], tmp_path, "tasks=[widowx_carrot_on_plate]", "episodes_per_task=1", "workers=1", "video=none", name="one")
    both = ["tasks=[widowx_stack_cube,widowx_carrot_on_plate]", "episodes_per_task=1"]
    after = run(names, tmp_path, *both, "workers=1", "video=none", name="after")
    two = run(names, tmp_path, *both, "workers=2", name="two")
    assert results(after) == results(two)
    assert trajectories(after) == trajectories(two)
    assert results(alone).items() <= results(two).items()
    assert trajectories(alone).items() <= trajectories(two).items()
    assert all(line["success"] and line["ended_by"] == "horizon" for line in results(two).values())
    assert len(list((two.folder / "videos").glob("*--success=True--*.mp4"))) == 2
    assert all(notice in (two.folder / "summary.md").read_text() for notice in two.notices)


@pytest.mark.slow
@pytest.mark.parametrize("name", success_names())
def test_a_recorded_success_is_a_success_of_a_run(assets, vulkan, tmp_path, name):
    _, _, task, trial = official_trial(load_recording(name).setup)
    outcome = run([name], tmp_path, f"tasks=[{task}]", f"trials=[{trial}]", "workers=1")
    (line,) = results(outcome).values()
    assert line["success"]
    assert line["success_ever"]
    assert len(list((outcome.folder / "videos").glob("*--success=True--*.mp4"))) == 1
    (row,) = outcome.table[outcome.table["task"] == task].to_dict("records")
    assert (row["successes"], row["episodes"]) == (1, 1)
