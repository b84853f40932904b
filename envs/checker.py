"""`check_suite`: the contract of `vlagym.envs.env` as executable checks, in the spirit of gymnasium's `check_env`.

Run it over a new benchmark before trusting a number: it plays a few short episodes and says in one sentence what is broken and why
that matters.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import EnvError
from .env import VlaEnv
from .suite import Suite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Actions = NDArray[np.float32]


def check_suite(suite: Suite, task: str | int = 0, steps: int = 12) -> None:
    """Check that a suite and its environment keep their contract.

    Args:
        suite: What to check; its assets and packages must be there.
        task: The task to play, with trials 0 and 1 (0 twice where there is one only).
        steps: Random actions per episode.

    Raises:
        EnvError: The first broken promise.
    """
    _check_descriptor(suite)
    env = suite.make_env(suite.cameras)
    try:
        _check_gymnasium(env, task)
        _Episodes(env, suite, task, steps).check()
        _check_refusals(env, task)
    finally:
        env.close()


def _check_descriptor(suite: Suite) -> None:
    tasks = suite.tasks()
    names = [task.name for task in tasks]
    _require(len(tasks) > 0, "tasks() is empty: there is nothing to evaluate.")
    _require(len(set(names)) == len(names), f"task names are not unique: {sorted(n for n in names if names.count(n) > 1)}.")
    for task in tasks:
        _require(task.trials >= 1 and task.horizon >= 1, f"task {task.name!r} has no trial or no step.")
        _require(bool(task.instruction.strip()), f"task {task.name!r} has no instruction.")
    spec = suite.action_spec
    _require(len(spec.low) == len(spec.high) == spec.size, "action_spec: names, low and high differ in length.")
    _require("primary" in suite.camera_sizes, "camera_sizes has no 'primary': every policy may rely on it.")
    _require(pickle.loads(pickle.dumps(suite)) == suite, "the suite does not survive pickle, so no worker can be given it.")
    try:
        json.dumps([suite.protocol(), suite.provenance()])
    except TypeError as error:
        raise EnvError(f"protocol() and provenance() must be plain JSON values, to be recorded and hashed: {error}.") from error


def _check_gymnasium(env: VlaEnv, task: str | int) -> None:
    from gymnasium.utils.env_checker import check_env

    env.reset(seed=0, options={"task": task})
    try:
        check_env(env, skip_render_check=True)
    except AssertionError as error:
        raise EnvError(f"gymnasium's check_env: {error}") from error


class _Episodes:
    """Plays the same episode under different circumstances; nothing of them may show in it."""

    def __init__(self, env: VlaEnv, suite: Suite, task: str | int, steps: int) -> None:
        self._env, self._suite, self._task = env, suite, task
        trials = next(t.trials for i, t in enumerate(suite.tasks()) if task in (t.name, i))
        self._other_trial = min(1, trials - 1)
        space = suite.action_spec.space
        self._actions: Actions = (
            np.random.default_rng(0).uniform(space.low, space.high, (steps, suite.action_spec.size)).astype(np.float32)
        )

    def check(self) -> None:
        """Raise an `EnvError` at the first circumstance that shows."""
        expected = self._play()
        self._play(trial=self._other_trial, seed=1)
        self._same(expected, self._play(), "comes out differently after another episode: its scene depends on what ran before")
        np.random.seed(12345)
        before = str(np.random.get_state())
        self._same(expected, self._play(), "depends on numpy's global generator")
        _require(
            before == str(np.random.get_state()), "an episode draws from numpy's global generator, which is not the suite's to use."
        )
        self._same(expected, self._play(chunk=5), "comes out differently when actions are given in chunks")
        self._same(expected, self._play(draw=True), "comes out differently when frames are drawn")
        self._same(
            expected, self._play(go_back_at=len(self._actions) // 2), "does not go on as before after set_state(get_state())"
        )
        self._check_drawing()
        fresh = self._suite.make_env(())
        try:
            self._same(expected, self._play(env=fresh), "comes out differently in a fresh environment without cameras")
        finally:
            fresh.close()

    def _play(
        self,
        trial: int = 0,
        seed: int = 0,
        chunk: int = 1,
        draw: bool = False,
        go_back_at: int | None = None,
        env: VlaEnv | None = None,
    ) -> list[str]:
        """Physics hashes after reset and after every step."""
        env = env or self._env
        hashes: list[str] = []

        def note() -> None:
            hashes.append(env.physics_sha256())
            if draw:
                env.render()

        env.reset(seed=seed, options={"task": self._task, "trial": trial})
        note()
        position = 0
        while position < len(self._actions):
            if position == go_back_at:
                state = env.get_state()
                env.step_chunk(self._actions[position:])
                env.set_state(state)
            result = env.step_chunk(self._actions[position : position + chunk], on_step=note)
            position += result.executed
            if result.ended_by is not None:
                break
        return hashes

    def _check_drawing(self) -> None:
        env = self._env
        env.reset(seed=0, options={"task": self._task, "trial": 0})
        env.step_chunk(self._actions[:2])
        moments = {camera: (env.render_state(), env.render(camera).copy()) for camera in self._suite.cameras}
        env.step_chunk(self._actions[2:6])
        for camera, (moment, live) in moments.items():
            height, width = self._suite.camera_sizes[camera]
            again = env.picture(moment, camera, height, width)
            _require(live.shape == (height, width, 3), f"camera {camera!r} draws {live.shape}, its size is {(height, width, 3)}.")
            _require(np.array_equal(live, again), f"camera {camera!r}: a moment drawn again differs from the live frame.")
            _require(
                env.picture(moment, camera, 48, 64).shape == (48, 64, 3), f"camera {camera!r} cannot be drawn at another size."
            )

    def _same(self, expected: Sequence[str], found: Sequence[str], what: str) -> None:
        if list(expected) != list(found):
            step = next((i for i, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]), "the end")
            raise EnvError(f"{self._suite.name}: the same episode {what} (first difference at step {step}).")


def _check_refusals(env: VlaEnv, task: str | int) -> None:
    env.reset(seed=0, options={"task": task})
    size = env.suite.action_spec.size
    for wrong, what in (
        (np.full((1, size), np.nan), "NaN"),
        (np.zeros((1, size + 1)), "a wrong length"),
        (np.zeros((0, size)), "none"),
    ):
        try:
            env.step_chunk(wrong)
        except EnvError:
            continue
        raise EnvError(f"{env.suite.name}: step_chunk accepts an action with {what}.")


def _require(fine: Any, message: str) -> None:
    if not fine:
        raise EnvError(message)
