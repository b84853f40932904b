"""The official grids, as numbers of episodes and as the very setups that recordings of upstream were made with."""

from dataclasses import replace

import pytest
from simpler_recordings import load_recording, official_trial, recording_names

from vlagym.envs.simpler.move_near import layout, model_name
from vlagym.envs.simpler.suite import SimplerSuite
from vlagym.envs.simpler.tasks import DRAWER_STAGE, TABLE_STAGE
from vlagym.envs.simpler.upstream import setup_from_upstream
from vlagym.errors import ConfigError


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
    """To the last bit of its numbers; but for recordings that combine two variants, which the official evaluation does not."""
    setup = load_recording(name, only=("meta",)).setup
    assert (official_trial(setup) is None) == (len(variants(setup)) > 1)


def variants(setup):
    """In what a setup of variant aggregation differs from the plain one."""
    if setup.overlay is not None:
        return []
    plain = {"head_tilt": (None,), "stage": (TABLE_STAGE, DRAWER_STAGE), "lights": ("default", "drawer_default")}
    plain |= {"cabinet": ("mk_station",), "distractors": ((),), "distractor": (True,)}
    return [name for name, values in plain.items() if hasattr(setup, name) and getattr(setup, name) not in values]


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
