"""What is known of LIBERO without a simulator, and how it refuses what would not be LIBERO."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from vlagym.conf import suite_members, suite_settings
from vlagym.envs import make_suite
from vlagym.envs.libero.init_states import load_init_states
from vlagym.envs.libero.tasks import TRIALS, package_folder, task_files, task_table
from vlagym.errors import AssetError, ConfigError, DependencyError, EnvError

HORIZONS = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520, "libero_90": 400}


def make(of: str, **changes: object):
    return make_suite({**suite_settings(of), **changes})


def test_task_table_is_that_of_the_benchmark(libero):
    path = package_folder() / "benchmark" / "libero_suite_task_map.py"
    spec = importlib.util.spec_from_file_location("libero_suite_task_map", path)
    assert spec is not None and spec.loader is not None
    upstream = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(upstream)
    assert {suite: list(tasks) for suite, tasks in task_table().items()} == {s: upstream.libero_task_map[s] for s in HORIZONS}


def test_every_task_has_its_files_and_as_many_initial_states_as_planned(libero):
    for suite, tasks in task_table().items():
        for task in tasks:
            assert len(load_init_states(task_files(suite, task).init_states)) == TRIALS


@pytest.mark.parametrize(("name", "horizon"), HORIZONS.items())
def test_suites_follow_the_reference_protocol(name, horizon):
    suite = make(name)
    tasks = suite.tasks()
    assert len(tasks) == (90 if name == "libero_90" else 10)
    assert {(task.trials, task.horizon) for task in tasks} == {(50, horizon)}
    protocol = suite.protocol()
    assert (protocol["settle_steps"], protocol["scenes"], protocol["scene_seed"]) == (10, "reference", 0)
    assert protocol["mujoco_version"] == "3.3.2"


def test_instructions_are_those_given_to_the_policies_trained_on_libero():
    """The BDDL file of this task says `Pick the akita black bowl ...`, that of the next names its scene."""
    assert make("libero_spatial").tasks()[0].instruction.startswith("pick up the black bowl between the plate")
    assert make("libero_10").tasks()[2].instruction == "turn on the stove and put the moka pot on it"
    assert make("libero_90").tasks()[0].instruction == "close the top drawer of the cabinet"  # scene 10, two digits


def test_libero_all_stands_for_the_four_suites_of_the_papers():
    assert suite_members("libero_all") == ["libero_spatial", "libero_object", "libero_goal", "libero_10"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "libero_gaol"}, "libero_goal"),
        ({"scenes": "independant"}, "independent"),
        ({"settle_steps": -1}, "settle_steps must be a whole number from 0"),
        ({"scene_seed": -7}, "scene_seed"),
        ({"horizn": 3}, "horizn"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        make("libero_goal", **changes)


def test_another_mujoco_is_refused_unless_the_protocol_names_it(libero):
    with pytest.raises(DependencyError, match=r"pip install mujoco==3\.5\.0"):
        make("libero_goal", mujoco_version="3.5.0").check_ready()


def test_missing_assets_end_in_the_command_to_run(libero, monkeypatch, tmp_path):
    monkeypatch.setenv("VLAGYM_ASSETS_DIR", str(tmp_path))
    with pytest.raises(AssetError, match="vla-eval assets fetch libero"):
        make("libero_goal").check_ready()


def test_stock_loop_has_no_other_scenes_than_the_reference_ones(libero):
    suite = libero("libero_goal", scenes="independent")
    with pytest.raises(EnvError, match="scenes=reference"):
        next(suite.stock_episodes(suite.tasks()[0].name, []))


def test_listing_tasks_imports_no_simulator():
    script = """
import sys
from vlagym.conf import suite_settings
from vlagym.envs import make_suite
make_suite(suite_settings("libero_90")).tasks()
assert not {"mujoco", "robosuite", "libero", "numba"} & set(sys.modules), "a simulator was imported"
"""
    subprocess.run([sys.executable, "-c", script], check=True)
