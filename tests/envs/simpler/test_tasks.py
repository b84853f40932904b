"""The official grids, as numbers of episodes and as the very setups that recordings of upstream were made with."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from simpler_recordings import load_recording, recording_names

from vlagym.envs.simpler.move_near import layout, model_name
from vlagym.envs.simpler.suite import SimplerSuite
from vlagym.envs.simpler.upstream import setup_from_upstream
from vlagym.errors import ConfigError

# Recorded with a variant of the camera and one of the lamps at once, which no official variant combines.
NOT_A_TRIAL = "va_coke_altcam_darker_ep12.random"


def episodes(suite):
    return {task.name.removeprefix("google_").removeprefix("widowx_"): task.trials for task in suite.tasks()}


def test_widowx_has_24_trials_per_task(widowx):
    assert episodes(widowx) == dict.fromkeys(("spoon_on_towel", "carrot_on_plate", "stack_cube", "eggplant_in_basket"), 24)
    assert [task.horizon for task in widowx.tasks()] == [60, 60, 60, 120]


def test_visual_matching_has_864_trials(visual_matching):
    found = episodes(visual_matching)
    assert sum(count for name, count in found.items() if name.startswith("pick_coke_can")) == 300
    assert found["move_near"] == 240
    assert sum(count for name, count in found.items() if name.startswith(("open", "close"))) == 216
    assert found["place_apple_in_closed_top_drawer"] == 108
    assert {task.horizon for task in visual_matching.tasks()} == {80, 113, 200}


def test_variant_aggregation_has_1722_trials(variant_aggregation):
    found = episodes(variant_aggregation)
    assert sum(count for name, count in found.items() if name.startswith("pick_coke_can")) == 9 * 75
    assert found["move_near"] == 8 * 60
    assert sum(count for name, count in found.items() if name.startswith(("open", "close"))) == 7 * 6 * 9
    assert found["place_apple_in_closed_top_drawer"] == 7 * 27


def test_variants_of_the_camera_are_extra(variant_aggregation):
    extra = episodes(replace(variant_aggregation, camera_variants=True))
    more = {name: count - episodes(variant_aggregation)[name] for name, count in extra.items()}
    assert {name for name, count in more.items() if count} == {"move_near"} | {name for name in more if "coke" in name}
    assert more["move_near"] == 2 * 60


def test_no_two_trials_of_a_task_are_the_same(widowx, visual_matching, variant_aggregation):
    for suite in (widowx, visual_matching, variant_aggregation):
        for task in suite.tasks():
            assert len({suite.trial(task.name, index).setup for index in range(task.trials)}) == task.trials


@pytest.mark.parametrize("name", recording_names())
def test_a_recorded_setup_is_an_official_trial(name):
    recorded = replace(load_recording(name).setup, shader="rasterizer")
    suites = [
        SimplerSuite("w", "widowx"),
        SimplerSuite("vm", "google_visual_matching"),
        SimplerSuite("vm1", "google_visual_matching", move_near="baked_v1"),
        SimplerSuite("va", "google_variant_aggregation"),
    ]
    trials = (suite.trial(task.name, i) for suite in suites for task in suite.tasks() for i in range(task.trials))
    same = [trial for trial in trials if is_same(replace(trial.setup, shader="rasterizer"), recorded)]
    assert bool(same) == (name != NOT_A_TRIAL)


def is_same(first, second):
    """Equal but for the last bits of numbers."""
    if type(first) is not type(second):
        return False
    pairs = zip(asdict(first).values(), asdict(second).values(), strict=True)
    return all(np.allclose(a, b, atol=1e-12) if is_vector(a) else a == b for a, b in pairs)


def is_vector(value):
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], float)


def test_layouts_of_move_near_count_as_upstreams_episode_ids():
    assert layout(13) == (("7up_can", "apple", "sponge"), ((-0.33, 0.04), (-0.33, 0.34), (-0.13, 0.19)), 0, 2)
    assert layout(59).objects == ("orange", "pepsi_can", "redbull_can")
    assert (layout(59).source, layout(59).target) == (2, 1)
    assert layout(59, distractor=False) == (("redbull_can", "pepsi_can"), ((-0.13, 0.34), (-0.33, 0.19)), 0, 1)


def test_names_of_models():
    assert model_name("redbull_can", "plain") == "opened_redbull_can"
    assert model_name("apple", "baked_v0") == "baked_apple"
    assert model_name("7up_can", "baked_v1") == "baked_opened_7up_can_v2"
    assert model_name("orange", "baked_v1") == "orange"


def test_an_environment_outside_the_evaluation_is_refused():
    make_kwargs = {"robot": "google_robot_static", "scene_name": "dummy"}
    place = {"robot_init_options": {"init_xy": [0, 0], "init_rot_quat": [0, 0, 0, 1]}}
    with pytest.raises(ConfigError, match=r"'GraspSingleDummy-v0' is not an environment"):
        setup_from_upstream("GraspSingleDummy-v0", make_kwargs, place)
    with pytest.raises(ConfigError, match=r"unknown SimplerEnv robot 'panda'"):
        setup_from_upstream("GraspSingleOpenedCokeCanInScene-v0", {**make_kwargs, "robot": "panda"}, place)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evaluation": "google_visual_match"}, r"unknown SimplerEnv evaluation .*Did you mean 'google_visual_matching'"),
        ({"evaluation": "widowx", "shader": "rt"}, r"unknown SimplerEnv shader 'rt'.*raytracer"),
        ({"evaluation": "widowx", "move_near": "baked_v2"}, r"unknown SimplerEnv move near 'baked_v2'"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        SimplerSuite("simpler", **settings)
