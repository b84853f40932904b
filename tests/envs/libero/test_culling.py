"""Leaving out what cannot show leaves the picture as it is, wherever the arm holds its camera."""

from __future__ import annotations

import numpy as np
import pytest

from vlagym.envs.robosuite._rendering import Renderer


@pytest.mark.parametrize(
    ("name", "task", "mirrors"),
    [("libero_goal", 0, 1), pytest.param("libero_10", 3, 0, marks=pytest.mark.slow)],  # the first has a stove, whose top reflects
)
def test_pictures_are_the_same_without_what_cannot_show(libero, name, task, mirrors):
    env = libero(name).make_env(())
    env.reset(options={"task": task})
    model, qpos = env._world.engine.model, env._world.engine.data.qpos.copy()
    renderer, everything = Renderer(model), Renderer(model)
    everything._culling.invisible = lambda *view: None
    assert len(renderer._culling._mirrors) == mirrors
    groups = model.geom_group.copy()
    left_out = []
    invisible = renderer._culling.invisible
    renderer._culling.invisible = lambda *view: left_out.append(invisible(*view)) or left_out[-1]
    generator = np.random.default_rng(0)
    for height, width in [(128, 128), (90, 160), (160, 90)]:
        for _ in range(6):
            moved = qpos.copy()
            moved[:7] += generator.normal(0, 0.4, 7)
            for camera in ("robot0_eye_in_hand", "agentview"):
                drawn = renderer.draw(moved, camera, height, width)
                np.testing.assert_array_equal(drawn, everything.draw(moved, camera, height, width))
    culled = [invisible for invisible in left_out if invisible is not None]
    assert culled and max(invisible.sum() for invisible in culled) > 20
    assert (len(culled) < len(left_out)) == (mirrors > 0)
    np.testing.assert_array_equal(model.geom_group, groups)
    renderer.close()
    everything.close()
    env.close()
