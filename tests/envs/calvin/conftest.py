"""What these tests need: pybullet, CALVIN's data, and for some of them trajectories recorded from upstream ($VLAGYM_GOLDEN)."""

import json
from pathlib import Path

import numpy as np
import pytest
from needs import need_assets, need_driver

from vlagym.conf import suite_settings
from vlagym.envs.registry import make_suite

# glibc computes sin and cos with fused multiply-add where the CPU has it; without, trajectories drift apart from about step 18 on.
BIT_EXACT = "fma" in Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else False
EQUAL_STEPS, TOLERANCE = 15, 1e-9


@pytest.fixture(scope="session")
def golden(golden):
    return golden / "calvin"


@pytest.fixture(scope="session")
def data_dir():
    pytest.importorskip("pybullet", reason="needs pybullet: pip install 'vlagym[calvin]'")
    need_assets("calvin")
    return need_assets("calvin_env") / "data"


@pytest.fixture(scope="session")
def egl(data_dir):
    from vlagym.envs.calvin.painter import probe_egl

    return need_driver(probe_egl)


@pytest.fixture
def suite(data_dir):
    return make_suite(suite_settings("calvin_d"))


@pytest.fixture
def make_env(data_dir):
    """Builds environments of changed suites and closes them after the test."""
    envs = []

    def make(cameras=(), **settings):
        envs.append(make_suite({**suite_settings("calvin_d"), **settings}).make_env(cameras))
        return envs[-1]

    yield make
    for env in envs:
        env.close()


@pytest.fixture
def make_table(data_dir):
    """Builds worlds and closes them after the test."""
    from vlagym.envs.calvin.world import PlayTable

    tables = []

    def make(scene="D", revision="797142c"):
        tables.append(PlayTable(scene, data_dir, revision))
        return tables[-1]

    yield make
    for table in tables:
        table.close()


@pytest.fixture(scope="session")
def scripted(golden):
    """34 recorded trajectories, one per task: task -> (arrays, facts)."""
    facts = json.loads((golden / "tasks/scripted_tasks.json").read_text())["tasks"]
    arrays = np.load(golden / "tasks/scripted_tasks.npz")
    fields = ("robot_obs0", "scene_obs0", "actions", "robot_obs", "scene_obs")
    return {task: ({f: arrays[f"{task}/{f}"] for f in fields}, facts[task]) for task in facts}


def assert_same_trajectory(found, expected):
    """Bit for bit where the CPU allows it, else within 1e-9 for the first 15 steps."""
    if BIT_EXACT:
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found[: EQUAL_STEPS + 1], expected[: EQUAL_STEPS + 1], rtol=0, atol=TOLERANCE)
