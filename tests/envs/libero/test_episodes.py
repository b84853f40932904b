"""An episode is a pure function of (task, trial, seed, actions): nothing else shows in it, and it touches nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from vlagym.envs import check_suite
from vlagym.envs.libero.doctor import checks

SPATIAL_IN_DRAWER = 4  # fixtures, and a growing list of property initialisers


def actions(steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (steps, 7)).astype(np.float32)


def play(env, trial: int, seed: int = 0, task: int = SPATIAL_IN_DRAWER, steps: int = 4) -> tuple[str, str]:
    env.reset(seed=seed, options={"task": task, "trial": trial})
    before = env.physics_sha256()
    env.step_chunk(actions(steps))
    return before, env.physics_sha256()


@pytest.fixture(scope="module")
def spatial(libero):
    suite = libero("libero_spatial")
    env = suite.make_env(())
    yield env
    env.close()


def test_contract_is_kept(libero):
    check_suite(libero("libero_object"), steps=4)


def test_episodes_do_not_depend_on_what_ran_before(libero, spatial):
    first = {trial: play(spatial, trial) for trial in (3, 0, 2)}
    play(spatial, 1, task=0)
    np.random.seed(5)
    assert {trial: play(spatial, trial) for trial in (0, 2, 3)} == first
    fresh = libero("libero_spatial").make_env(())
    assert play(fresh, 2) == first[2]
    fresh.close()


def test_numpys_global_generator_is_neither_used_nor_changed(spatial):
    np.random.seed(1)
    once = play(spatial, 2)
    before = np.random.get_state()
    assert play(spatial, 2) == once
    after = np.random.get_state()
    assert np.array_equal(before[1], after[1]) and before[2:] == after[2:]


def test_models_that_are_thrown_away_come_back_the_same(spatial):
    first = play(spatial, 1)
    for task in (0, 1, 2):
        play(spatial, 0, task=task, steps=1)
    assert len(spatial._worlds) == 2
    assert play(spatial, 1) == first


def test_reference_scenes_follow_the_scene_seed_and_not_the_episodes(libero, spatial):
    assert play(spatial, 1, seed=0) == play(spatial, 1, seed=9)
    own = libero("libero_spatial", scene_seed=None).make_env(())
    assert play(own, 1, seed=0) == play(spatial, 1)
    assert play(own, 1, seed=9) != play(spatial, 1)
    own.close()


def test_independent_scenes_depend_on_their_own_name_only(libero, spatial):
    env = libero("libero_spatial", scenes="independent").make_env(())
    alone = play(env, 2)
    play(env, 1)
    assert play(env, 2) == alone
    assert alone not in (play(env, 1), play(spatial, 2))
    env.close()


@pytest.mark.parametrize("steps_before", [0, 3])
def test_saved_states_continue_bit_for_bit_after_travelling_through_a_file(libero, tmp_path, steps_before):
    env = libero("libero_10", settle_steps=0).make_env(("primary",))
    env.reset(options={"task": 8, "trial": 1})
    for action in actions(steps_before):
        env.step(action)
    np.savez(tmp_path / "state.npz", **{name: np.ascontiguousarray(value) for name, value in env.get_state().items()})
    went_on = env.step_chunk(actions(6, seed=1))
    ended = env.physics_sha256()
    env.step_chunk(actions(3, seed=2))
    with np.load(tmp_path / "state.npz") as saved:
        env.set_state(dict(saved))
    again = env.step_chunk(actions(6, seed=1))
    assert env.physics_sha256() == ended
    np.testing.assert_array_equal(again.observation["images"]["primary"], went_on.observation["images"]["primary"])
    np.testing.assert_array_equal(again.observation["state"], went_on.observation["state"])
    env.close()


def test_pictures_are_drawn_again_from_what_a_trajectory_keeps(libero):
    env = libero("libero_goal").make_env(("wrist",))
    env.reset(options={"task": 7})
    kept = []
    env.step_chunk(
        actions(3), on_step=lambda: kept.append((env.render_state(), env.render("wrist"), env.render("frontview", 90, 160)))
    )
    env.reset(options={"task": 7})
    for render_state, wrist, front in kept:
        np.testing.assert_array_equal(env.draw(render_state, "wrist", 256, 256), wrist)
        np.testing.assert_array_equal(env.draw(render_state, "frontview", 90, 160), front)
    assert env.draw(kept[0][0], "primary", 720, 1280).shape == (720, 1280, 3)  # larger than the model's own buffer
    np.testing.assert_array_equal(env.draw(kept[0][0], "wrist", 256, 256), kept[0][1])
    env.close()


def test_pictures_are_upright(libero):
    """A bowl that is lifted by 20 cm is seen higher up, that is, in rows with smaller numbers."""
    env = libero("libero_goal").make_env(())
    env.reset()
    engine = env._world.engine
    start = engine.model.joint("akita_black_bowl_1_joint0").qposadr[0]

    def draw(x: float, z: float) -> np.ndarray:
        state = env.render_state().copy()
        state[start] += x
        state[start + 2] += z
        return env.draw(state, "primary", 128, 128).astype(int)

    without = draw(-50.0, 0.0)
    rows = [np.argwhere(np.abs(draw(0.0, z) - without).sum(axis=2) > 30)[:, 0].mean() for z in (0.0, 0.2)]
    assert rows[1] < rows[0] - 10
    env.close()


def test_success_ends_the_episode_and_is_the_benchmarks_own(libero):
    """The stove is on as soon as its knob is turned past 0.5 rad; then its burner glows, and no longer in the next episode."""
    env = libero("libero_goal").make_env(())
    env.reset(options={"task": 7})
    engine = env._world.engine
    dark = env.render("primary")
    engine.data.joint("flat_stove_1_button").qpos[0] = 1.0
    result = env.step_chunk(np.zeros((4, 7), np.float32))
    assert (result.executed, result.ended_by, result.successes.tolist()) == (1, "success", [True])
    burner = engine.visual_sites
    assert len(burner) == 1 and engine.model.site_rgba[burner, 3] > 0
    env.reset(options={"task": 7})
    np.testing.assert_array_equal(env.render("primary"), dark)
    env.close()


def test_doctor_finds_bowl_floor_and_frame_as_recorded(libero):
    found = {check.name: check for check in checks(libero("libero_spatial"))}
    assert all(check.ok is not False for check in found.values()), found
    assert found["bowl on the ramekin"].ok and found["floor's brightness"].ok


def test_bench_compares_with_a_stock_loop_that_ends_in_the_same_state(libero):
    suite = libero("libero_object", settle_steps=2)
    task = suite.tasks()[0].name
    env = suite.make_env(())
    env.reset(options={"task": task, "trial": 0})
    env.step_chunk(actions(2))
    (stock,) = suite.stock_episodes(task, [actions(2)])
    assert (stock.steps, stock.physics_sha256) == (2, env.physics_sha256())
    env.close()
