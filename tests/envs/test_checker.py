"""The contract of a suite: the toy suite keeps it, and each way of breaking it is found and named."""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium
import numpy as np
import pytest
from toy_suite import ToyEnv, ToySuite

from vlagym.envs import StepOutcome, Task, check_suite
from vlagym.errors import EnvError


def test_a_suite_that_keeps_the_contract_passes() -> None:
    check_suite(ToySuite())
    check_suite(ToySuite(chain=3), task="push_far")


class _RemembersItsPast(ToyEnv):
    resets = 0

    def _begin(self, task: Task, trial: int, seed: int) -> None:
        super()._begin(task, trial, seed)
        type(self).resets += 1
        self._position += 1e-9 * type(self).resets * (seed == 0 and type(self).resets > 4)


class _DrawsFromTheGlobalGenerator(ToyEnv):
    def _begin(self, task: Task, trial: int, seed: int) -> None:
        super()._begin(task, trial, seed)
        np.random.uniform()


class _DrawingDisturbs(ToyEnv):
    def draw(self, render_state: np.ndarray, camera: str, height: int, width: int) -> np.ndarray:
        self._position += 1e-9 * self._steps
        return super().draw(render_state, camera, height, width)


class _ForgetsWhenSaved(ToyEnv):
    def _load(self, state: dict[str, np.ndarray]) -> None:
        self._link = 0


class _AcceptsAnything(ToyEnv):
    def _check_actions(self, actions: np.ndarray) -> np.ndarray:
        return np.nan_to_num(np.asarray(actions, np.float32))


class _Unsteady(ToyEnv):
    def _advance(self, action: np.ndarray) -> StepOutcome:
        outcome = super()._advance(action)
        self._position += 1e-9 * float(action[1] > 0.5) * len(self.observation_cameras)
        return outcome


@dataclass(frozen=True)
class _BrokenSuite(ToySuite):
    env_class: type[ToyEnv] = ToyEnv

    def make_env(self, cameras: tuple[str, ...]) -> ToyEnv:
        return self.env_class(self, cameras)

    def protocol(self) -> dict[str, object]:
        return {"name": self.name}


@pytest.mark.parametrize(
    ("env_class", "named"),
    [
        (_RemembersItsPast, "depends on what ran before"),
        (_DrawsFromTheGlobalGenerator, "global generator"),
        (_DrawingDisturbs, "comes out differently"),
        (_ForgetsWhenSaved, "set_state"),
        (_AcceptsAnything, "accepts an action with NaN"),
        (_Unsteady, "without cameras"),
    ],
)
def test_a_broken_promise_is_named(env_class: type[ToyEnv], named: str) -> None:
    with pytest.raises(EnvError) as raised:
        check_suite(_BrokenSuite(env_class=env_class))
    assert named in str(raised.value)


def test_a_suite_can_be_made_by_gymnasium() -> None:
    import vlagym.envs  # noqa: F401  # registers the suites

    assert "vlagym/robosuite-v0" in gymnasium.registry


@pytest.mark.parametrize(
    ("options", "named"),
    [({"task": "push_rigth"}, "Did you mean 'push_right'"), ({"task": 7}, "0..1"), ({"trial": 10}, "0..9"), ({"tsak": 1}, "tsak")],
)
def test_reset_names_what_it_does_not_know(options: dict[str, object], named: str) -> None:
    with pytest.raises(EnvError) as raised:
        ToySuite().make_env(()).reset(options=options)
    assert named in str(raised.value)


def test_an_episode_that_is_over_cannot_be_stepped() -> None:
    env = ToySuite(goal=-1.0).make_env(())
    env.reset()
    env.step(np.zeros(2, np.float32))
    with pytest.raises(EnvError, match="call reset"):
        env.step(np.zeros(2, np.float32))
