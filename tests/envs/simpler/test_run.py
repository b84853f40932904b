"""Recorded episodes as runs of the whole harness: the successes are successes, and two workers show what one shows."""

import numpy as np
import pytest
from simpler_recordings import load_recording

from vlagym.conf import suite_settings
from vlagym.envs.registry import make_suite
from vlagym.eval.config import load_config
from vlagym.eval.run import evaluate
from vlagym.eval.store import RunFolder
from vlagym.trajectory import save_trajectory

SUCCESSES = {
    "simpler_widowx": {
        "carrot_ep00": ("widowx_carrot_on_plate", 0),
        "eggplant_ep00": ("widowx_eggplant_in_basket", 0),
        "spoon_ep00": ("widowx_spoon_on_towel", 0),
        "stack_ep00": ("widowx_stack_cube", 0),
    },
    "simpler_google_vm": {
        "close_middle_b0": ("google_close_middle_drawer", 12),
        "close_top_b0": ("google_close_top_drawer", 3),
        "coke_horizontal_ep12": ("google_pick_coke_can_horizontal", 12),
        "coke_standing_ep12": ("google_pick_coke_can_standing", 87),
        "move_near_v0_ep13": ("google_move_near", 13),
        "open_middle_b1": ("google_open_middle_drawer", 13),
    },
}


def write_trajectories(suite, names, folder):
    """Recorded actions, then standing still to the horizon, as files that policy=replay reads."""
    horizons = {task.name: task.horizon for task in make_suite(suite_settings(suite)).tasks()}
    for name in names:
        task, trial = SUCCESSES[suite][name]
        actions = load_recording(f"{name}.scripted")["actions"]
        still = np.zeros(7)
        if suite == "simpler_widowx":
            still[6] = actions[-1, 6]  # the WidowX is told how far its gripper is to be open
        padded = np.concatenate((actions, np.tile(still, (horizons[task] - len(actions), 1))))
        meta = {"suite": suite, "task": task, "trial": trial, "seed": 0}
        save_trajectory(folder / f"{name}.npz", padded, np.zeros((1, 7)), np.zeros((1, 13)), meta)


def run(suite, names, tmp_path, *overrides, name="run"):
    recordings = tmp_path / "recordings"
    recordings.mkdir(exist_ok=True)
    write_trajectories(suite, names, recordings)
    return evaluate(
        load_config([f"suite={suite}", "policy=replay", f"policy.run={recordings}", f"run_dir={tmp_path / name}", *overrides])
    )


def results(outcome):
    lines = [result.to_json() for result in RunFolder(outcome.folder).results()]
    return sorted(({k: v for k, v in line.items() if k != "execution"} for line in lines), key=lambda line: line["task"])


def test_two_workers_show_what_one_shows(assets, vulkan, tmp_path):
    names = ("stack_ep00", "carrot_ep00")
    tasks = "tasks=[widowx_carrot_on_plate,widowx_stack_cube]"
    two = run("simpler_widowx", names, tmp_path, tasks, "episodes_per_task=1", "workers=2", name="two")
    one = run("simpler_widowx", names, tmp_path, tasks, "episodes_per_task=1", "workers=1", "video=none", name="one")
    assert results(two) == results(one)
    assert all(line["success"] and line["ended_by"] == "horizon" for line in results(two))
    assert len(list((two.folder / "videos").glob("*--success=True--*.mp4"))) == 2
    assert all(notice in (two.folder / "summary.md").read_text() for notice in two.notices)


@pytest.mark.slow
@pytest.mark.parametrize(("suite", "name"), [(suite, name) for suite, names in SUCCESSES.items() for name in names])
def test_a_recorded_success_is_a_success_of_a_run(assets, vulkan, tmp_path, suite, name):
    task, trial = SUCCESSES[suite][name]
    outcome = run(suite, [name], tmp_path, f"tasks=[{task}]", f"trials=[{trial}]", "workers=1")
    (line,) = results(outcome)
    assert line["success"]
    assert line["success_ever"]
    assert len(list((outcome.folder / "videos").glob("*--success=True--*.mp4"))) == 1
