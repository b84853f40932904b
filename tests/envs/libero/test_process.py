"""In a process of its own: LIBERO asks nothing, fetches nothing, says nothing, and leaves without a trace."""

from __future__ import annotations

import os
import subprocess
import sys

ONE_STEP = """
import numpy as np
from vlagym.conf import suite_settings
from vlagym.envs import make_suite
env = make_suite(suite_settings("libero_object")).make_env(("primary",))
observation, _ = env.reset()
assert observation["images"]["primary"].std() > 10
env.step(np.zeros(7, np.float32))
"""


def run(script, home, **variables):
    kept = {
        name: value for name, value in os.environ.items() if name not in ("LIBERO_CONFIG_PATH", "MUJOCO_GL", "PYOPENGL_PLATFORM")
    }
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**kept, "HOME": str(home), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_first_use_without_a_terminal_is_silent_and_leaves_no_configuration(libero, tmp_path):
    done = run(ONE_STEP, tmp_path, TMPDIR=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / ".libero").exists()
    assert not list(tmp_path.glob("vlagym-libero-*"))


def test_an_egl_device_that_is_no_visible_cuda_device_may_be_named(libero, tmp_path):
    done = run(ONE_STEP, tmp_path, CUDA_VISIBLE_DEVICES="3", MUJOCO_EGL_DEVICE_ID="0")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_platform_that_needs_a_display_is_refused_by_name(libero, tmp_path):
    done = run(ONE_STEP, tmp_path, MUJOCO_GL="glfw")
    assert "DependencyError" in done.stderr and "MUJOCO_GL=glfw" in done.stderr
