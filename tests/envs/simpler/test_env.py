"""SimplerEnv's environment keeps the contract of all environments, and its own protocol."""

from dataclasses import replace

import numpy as np
import pytest
from simpler_recordings import load_recording

from vlagym.envs.checker import check_suite
from vlagym.envs.simpler.env import SimplerEnv
from vlagym.envs.simpler.settings import traces_rays
from vlagym.errors import AssetError, EnvError

PLACE = "google_place_apple_in_closed_top_drawer"


def play(env, task, trial, actions):
    env.reset(options={"task": task, "trial": trial})
    hashes = [env.physics_sha256()]
    for action in actions:
        env.step(action)
        hashes.append(env.physics_sha256())
    return hashes


@pytest.fixture
def actions():
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (6, 7)) * [0.04, 0.04, 0.04, 0.15, 0.15, 0.15, 1]


@pytest.mark.slow
def test_contract(vulkan, widowx):
    check_suite(widowx, "widowx_stack_cube", steps=4)


def test_gymnasium_makes_it(vulkan):
    import gymnasium

    import vlagym.envs  # noqa: F401  (registers the suites)

    env = gymnasium.make("vlagym/simpler_widowx-v0")
    observation, _ = env.reset(options={"task": "widowx_eggplant_in_basket", "trial": 5})
    assert env.observation_space.contains(observation)
    assert observation["images"]["primary"].shape == (480, 640, 3)
    assert observation["instruction"] == "put eggplant into yellow basket"
    assert env.metadata["render_fps"] == 5
    env.close()


def test_an_episode_does_not_depend_on_the_ones_before(assets, visual_matching, variant_aggregation, actions):
    """Not even on one that shares its scene's models, or on another suite's in the same process."""
    task = "google_pick_coke_can_horizontal"
    alone = play(visual_matching.make_env(()), task, 12, actions)
    env = visual_matching.make_env(())
    play(env, task, 3, actions)
    play(variant_aggregation.make_env(()), "google_open_top_drawer", 0, actions[:2])
    assert play(env, task, 12, actions) == alone


def test_pictures_do_not_depend_on_what_was_drawn_before(vulkan, visual_matching):
    """The robot is shiny in front of the table and not in front of the cabinet, with the same meshes."""
    tasks = ("google_open_top_drawer", "google_pick_coke_can_standing")
    first = {task: picture(visual_matching.make_env(()), task) for task in tasks}
    env = visual_matching.make_env(())
    for task in (*tasks[::-1], *tasks):
        np.testing.assert_array_equal(picture(env, task), first[task])


def picture(env, task):
    env.reset(options={"task": task, "trial": 3})
    return env.render()


def test_success_does_not_end_an_episode_and_may_be_lost(assets, widowx):
    """The carrot is put on the plate, then the arm goes on."""
    recording = load_recording("carrot_ep00.scripted")
    env = widowx.make_env(())
    env.reset(options={"task": "widowx_carrot_on_plate", "trial": 0})
    result = env.step_chunk(recording["actions"])
    assert result.executed == 60
    assert result.ended_by == "horizon"
    np.testing.assert_array_equal(result.successes, recording["terminated"][1:])
    assert not result.successes.all()
    assert result.successes[-1]
    assert widowx.success_rule == "at_end"


def test_the_instruction_changes_within_an_episode(assets, visual_matching):
    env = visual_matching.make_env(())
    env.reset(options={"task": PLACE, "trial": 0})
    assert env.instruction == "open top drawer"
    result = env.step_chunk(np.zeros((150, 7)))
    assert (result.executed, result.new_subtask, result.ended_by) == (101, True, None)
    assert result.observation["instruction"] == "place apple into top drawer"
    assert not env.step_chunk(np.zeros((2, 7))).new_subtask
    assert [(link.name, link.steps, link.success) for link in env.subtask_results()] == [("open", 100, False), ("place", 3, False)]


def test_a_policy_that_is_done_with_the_first_subtask_begins_the_second(assets, visual_matching):
    """And one that is done with the second, or with a task that has only one, ends the episode."""
    env = visual_matching.make_env(())
    env.reset(options={"task": PLACE, "trial": 0})
    env.step(np.zeros(7))
    result = env.step_chunk(np.full((1, 7), 0.01), done=True)
    assert (result.new_subtask, result.ended_by) == (True, None)
    assert result.observation["instruction"] == "place apple into top drawer"
    state = env.get_state()
    env.step_chunk(np.full((2, 7), 0.01))
    expected = env.instruction, env.physics_sha256()
    env.set_state(state)
    env.step_chunk(np.full((2, 7), 0.01))
    assert (env.instruction, env.physics_sha256()) == expected
    assert env.step_chunk(np.zeros((1, 7)), done=True).ended_by == "policy"
    env.reset(options={"task": "google_open_top_drawer", "trial": 0})
    assert env.step_chunk(np.zeros((1, 7)), done=True).ended_by == "policy"


def test_instructions_say_what_is_there(assets, visual_matching, variant_aggregation):
    for suite in (visual_matching, variant_aggregation):
        env = suite.make_env(())
        for trial, instruction in ((13, "move 7up can near sponge"), (24, "move coke can near redbull can")):
            env.reset(options={"task": "google_move_near", "trial": trial})
            assert env.instruction == instruction


def test_state_vector(assets, widowx):
    env = widowx.make_env(())
    observation, _ = env.reset()
    assert observation["state"][7] == pytest.approx(0, abs=1e-6)  # open
    for _ in range(4):
        observation, *_ = env.step(np.array([0, 0, 0, 0, 0, 0, -1.0]))
    assert observation["state"][7] > 0.9
    np.testing.assert_allclose(np.linalg.norm(observation["state"][3:7]), 1, atol=1e-5)
    pose = env.privileged_state()["eef_pose_world"]
    np.testing.assert_allclose(pose[2], 0.87 + observation["state"][2], atol=1e-5)


def test_a_room_that_the_assets_lack_is_named(assets, variant_aggregation, tmp_path):
    env = SimplerEnv(variant_aggregation, (), tmp_path)
    with pytest.raises(AssetError, match=r"modern_office_no_roof\.glb, which the assets here lack"):
        env.reset(options={"task": "google_open_top_drawer", "trial": 18})
    room = assets / "data" / "hab2_bench_assets" / "stages" / "modern_office_no_roof.glb"
    assert any("modern_office_no_roof" in notice for notice in variant_aggregation.notices()) is not room.exists()


def test_another_episodes_moment_is_refused(vulkan, widowx, visual_matching):
    widow = widowx.make_env(())
    widow.reset()
    google = visual_matching.make_env(())
    google.reset()
    with pytest.raises(EnvError, match=r"it is another episode's"):
        google.draw(widow.render_state(), "primary", 64, 80)


def test_shaders_on_a_cpu_and_on_a_gpu(vulkan, visual_matching):
    setup = visual_matching.trial("google_open_top_drawer", 0).setup
    gpu = replace(vulkan, kind="discrete", ray_tracing=True)
    cpu = replace(vulkan, kind="cpu", ray_tracing=True)
    assert visual_matching.shader_on(gpu, setup) == "raytracer"
    assert visual_matching.shader_on(cpu, setup) == "rasterizer"
    assert visual_matching.shader_on(gpu, visual_matching.trial("google_move_near", 0).setup) == "rasterizer"
    assert replace(visual_matching, shader="raytracer").shader_on(cpu, setup) == "raytracer"


def test_a_run_without_ray_tracing_says_that_drawer_scores_are_not_comparable(vulkan, visual_matching, widowx):
    traced = traces_rays(vulkan)
    told = any("not comparable" in notice and "rasterizer" in notice for notice in visual_matching.notices())
    assert told is not traced
    assert not any("rasterizer" in notice for notice in widowx.notices())
    assert visual_matching.protocol()["shaders"]["google_open_top_drawer"] == ("raytracer" if traced else "rasterizer")
