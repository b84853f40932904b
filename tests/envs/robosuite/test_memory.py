"""What MuJoCo keeps without need is given back, and no picture changes for it."""

from __future__ import annotations

import mmap
import sys

import mujoco
import numpy as np
import pytest

from vlagym.conf import suite_settings
from vlagym.envs.registry import make_suite
from vlagym.envs.robosuite._memory import forget_textures

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives single pages back")

TEXTURED = """<mujoco><asset><texture name="wood" type="2d" builtin="checker" width="512" height="512" rgb1="1 0 0" rgb2="0 1 0"/>
</asset><worldbody><geom size="1"/></worldbody></mujoco>"""


def test_textures_read_as_zeros_and_nothing_beside_them_changes():
    model, untouched = mujoco.MjModel.from_xml_string(TEXTURED), mujoco.MjModel.from_xml_string(TEXTURED)
    forget_textures(model)
    edge = mmap.PAGESIZE
    assert untouched.tex_data[edge:-edge].any() and not model.tex_data[edge:-edge].any()
    for name in ("tex_width", "tex_adr", "mat_rgba", "geom_size", "geom_rgba", "names", "body_mass", "qpos0"):
        np.testing.assert_array_equal(getattr(model, name), getattr(untouched, name))


def test_the_source_of_a_model_is_forgotten_once_it_is_compiled(tmp_path):
    env = make_suite(suite_settings("robosuite")).make_env(())
    env.reset()
    with pytest.raises(mujoco.FatalError):
        mujoco.mj_saveLastXML(str(tmp_path / "model.xml"), env._engine.model)
    env.close()
