"""LIBERO-plus's own package was recorded; every variant is its episode: prompt, camera, reset, states, both images, every noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from perturbation_recordings import assert_as_recorded, load_recording, make_env, need_data, play, recording_names

from vlagym.envs.libero.env import LiberoEnv
from vlagym.envs.libero.plus.variants import variants

# One of each category, on as few models as possible.
IN_CI = ("camera_3", "noise_glass_mid", "language_1", "robot_1", "level_1")
MOTION = "noise_motion"


EnvOf = Callable[[str], LiberoEnv]


@pytest.fixture(scope="module")
def env_of() -> Iterator[EnvOf]:
    """The environment of a suite, the last one made if it is of that suite: variants of one task share its model."""
    made: dict[str, LiberoEnv] = {}

    def env_of_suite(suite: str) -> LiberoEnv:
        if suite not in made:
            close()
            made[suite] = make_env(suite)
        return made[suite]

    def close() -> None:
        while made:
            made.popitem()[1].close()

    yield env_of_suite
    close()


def compare(env_of: EnvOf, name: str, steps: int | None = None) -> None:
    recording = load_recording("plus", name)
    meta = recording.meta
    suite = meta["suite"].replace("libero", "libero_plus")
    need_data(suite, "libero_plus")
    task, trial = next(
        (task, trial)
        for task, listed in variants(meta["suite"]).items()
        for trial, v in enumerate(listed)
        if v.number == meta["id"]
    )
    env = env_of(suite)
    played = play(env, task, trial, recording, steps)
    assert_as_recorded(played, recording)
    assert played.observation["instruction"] == meta["prompt_upstream"]
    variant = env.suite.variant(task, trial)
    assert variant is not None
    assert (variant.category, variant.level) == (meta["category"], meta["difficulty"])
    if meta["noise"]:
        check_draws(env, recording.arrays)


def check_draws(env, arrays) -> None:
    """The generator stands where upstream's stood before the noise of each recorded frame, whatever was drawn and skipped."""
    settle = env.suite.settle_steps
    for frame, when in (
        (0, "after_scene"),
        (settle, "before_frame_0"),
        (settle + 1, "before_frame_1"),
        (settle + 12, "before_frame_12"),
    ):
        _, key, pos, *_ = env._noise.state(frame)
        assert np.array_equal(key, arrays[f"mt_key_{when}"])
        assert pos == arrays[f"mt_pos_{when}"]


@pytest.mark.parametrize("name", IN_CI)
def test_a_variant_of_each_category_is_upstreams(env_of: EnvOf, name: str) -> None:
    compare(env_of, name, steps=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", recording_names("plus"))
def test_every_recorded_variant_is_upstreams(env_of: EnvOf, name: str) -> None:
    compare(env_of, name)


@pytest.mark.slow
def test_skipped_frames_change_no_later_one() -> None:
    """A policy that looks at every twelfth frame sees what upstream would have shown it."""
    recording = load_recording("plus", "noise_glass_mid")
    need_data("libero_plus_goal", "libero_plus")
    task, trial = next(
        (task, trial)
        for task, listed in variants("libero_goal").items()
        for trial, v in enumerate(listed)
        if v.number == recording.meta["id"]
    )
    env = make_env("libero_plus_goal")
    try:
        env.reset(options={"task": task, "trial": trial})
        result = env.step_chunk(recording.arrays["actions"])
        seen = result.observation["images"]["primary"]
        assert env.draw(env.render_state(), "primary", 256, 256).tolist() == seen.tolist()
        import hashlib

        assert hashlib.sha256(np.ascontiguousarray(seen[::-1]).tobytes()).hexdigest() == recording.meta["sha256_agentview"][12]
    finally:
        env.close()
