"""Hand-worked timelines: what is executed step by step while the policy thinks.

In a timeline ``a0 a1 a2 a3`` are the actions of the answer to the first observation, ``b0 ...`` of that to the second; ``--`` is a
step in which the robot holds still; ``|`` is where an observation is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from toy_suite import ToyEnv, ToySuite

from vlagym.envs.base import StepOutcome
from vlagym.envs.spec import ActionSpec
from vlagym.episode import EpisodeResult, EpisodeSpec
from vlagym.eval.plan.realtime import Realtime
from vlagym.eval.run.clock import Pending, SimulatedClock, _motion
from vlagym.eval.run.rollout import Rollout

SPEC = EpisodeSpec("toy", "push_right", 0)


class WatchedEnv(ToyEnv):
    """Writes down what is executed: an action is named by its gripper entry, and the robot moves in every action but the hold."""

    def _begin(self, *arguments: Any) -> None:
        super()._begin(*arguments)
        self._position, self.line = 0.0, "|"
        self.last_gripper = self.suite.action_spec.gripper_open

    def _advance(self, action: np.ndarray) -> StepOutcome:
        if action[0]:
            self.line += f" {name_of(action[1])}"
            self.last_gripper = action[1]
        else:
            self.line += " --"
            assert action[1] == self.last_gripper, "the gripper is held as it was"
        return super()._advance(action)


def name_of(gripper: float) -> str:
    return f"{chr(int(gripper) // 10)}{int(gripper) % 10}"


def chunk(letter: str, length: int, pushes: Sequence[int] = ()) -> np.ndarray:
    """Actions 0, 1, ... of an answer, of which some push the point 0.1 m on and the others hardly."""
    moves = [1.0 if index in pushes else 1e-6 for index in range(length)]
    return np.array([[move, 10 * ord(letter) + index] for index, move in enumerate(moves)], np.float32)


def run(
    realtime: Realtime, answers: Sequence[np.ndarray], done_at: int | None = None, **suite: Any
) -> tuple[str, list[Pending], Any]:
    """The timeline, what was known at every observation, and the episode's result (None while it goes on)."""
    env = WatchedEnv(ToySuite(**suite), ())
    rollout = Rollout(env, [], clock := SimulatedClock(realtime, env))
    rollout.begin(SPEC, 0)
    known: list[Pending] = [clock.pending]
    for number, answer in enumerate(answers):
        result = rollout.advance(answer, done=number == done_at)
        env.line += " |"
        if result.observation is None:
            return env.line, known, rollout.finish(result)
        known.append(clock.pending)
    return env.line, known, None


def fixed(steps: int, **others: Any) -> Realtime:
    return Realtime("fixed", delay_steps=steps, **others)


ABC = [chunk("a", 4), chunk("b", 4), chunk("c", 4)]


@pytest.mark.parametrize(
    ("realtime", "line"),
    [
        # No delay: chunks are played whole, or as far as the horizon.
        (fixed(0), "| a0 a1 a2 a3 | b0 b1 b2 b3 | c0 c1 c2 c3 |"),
        (fixed(0, horizon=2), "| a0 a1 | b0 b1 | c0 c1 |"),
        (fixed(0, horizon=5), "| a0 a1 a2 a3 -- | b0 b1 b2 b3 -- | c0 c1 c2 c3 -- |"),
        # A delay of 2 and an observation every 4 steps.
        (fixed(2, horizon=4, alignment="age"), "| -- -- a2 a3 | -- -- b2 b3 | -- -- c2 c3 |"),
        (fixed(2, horizon=4, alignment="start"), "| -- -- a0 a1 | a2 a3 b0 b1 | b2 b3 c0 c1 |"),
        # Every 2 steps: the policy never rests, and what it says last is always in flight.
        (fixed(2, horizon=2, alignment="age"), "| -- -- | a2 a3 | b2 b3 |"),
        (fixed(1, horizon=3, alignment="age"), "| -- a1 a2 | a3 b1 b2 | b3 c1 c2 |"),
        (fixed(1, horizon=2, alignment="start"), "| -- a0 | a1 b0 | b1 c0 |"),
        # Without a horizon: asked again when what was left of the answer has been played.
        (fixed(1, alignment="age"), "| -- a1 a2 a3 | -- b1 b2 b3 | -- c1 c2 c3 |"),
        (fixed(1, alignment="start"), "| -- a0 a1 a2 a3 | -- b0 b1 b2 b3 | -- c0 c1 c2 c3 |"),
        # All of it out of date: the last action is played all the same, or nothing ever would be.
        (fixed(5, alignment="age"), "| -- -- -- -- -- a3 | -- -- -- -- -- b3 | -- -- -- -- -- c3 |"),
        # The world stops: the timeline is that of no delay.
        (fixed(3, wait="sync"), "| a0 a1 a2 a3 | b0 b1 b2 b3 | c0 c1 c2 c3 |"),
        (Realtime("fixed", delay_ms=150.0, alignment="start"), "| -- -- a0 a1 a2 a3 | -- -- b0 b1 b2 b3 | -- -- c0 c1 c2 c3 |"),
    ],
)
def test_what_is_executed_step_by_step(realtime: Realtime, line: str) -> None:
    assert run(realtime, ABC)[0] == line


def test_a_policy_of_single_actions_acts_once_per_answer() -> None:
    assert run(fixed(2), [chunk("a", 1), chunk("b", 1)])[0] == "| -- -- a0 | -- -- b0 |"


def test_a_policy_may_know_what_is_executed_until_its_answer_acts() -> None:
    _, known, _ = run(fixed(2, horizon=4, alignment="start"), ABC)
    assert [pending.delay_steps for pending in known] == [2, 2, 2, 2]
    assert [[name_of(a[1]) for a in pending.previous_actions] for pending in known] == [
        [],
        ["a2", "a3"],
        ["b2", "b3"],
        ["c2", "c3"],
    ]
    _, known, _ = run(fixed(2, wait="sync"), ABC)
    assert [pending.delay_steps for pending in known] == [0, 0, 0, 0], "no step passes"


def test_a_subtask_that_changes_in_mid_flight_makes_void_what_was_made_for_the_last() -> None:
    """a2 finishes the first subtask while b is on its way: a3 is never executed, and nothing of b; c is asked for the new one."""
    answers = [chunk("a", 4, pushes=[0, 2]), chunk("b", 4), chunk("c", 4)]
    line, known, _ = run(fixed(2, horizon=4, alignment="start"), answers, chain=2, goal=0.15)
    assert line == "| -- -- a0 a1 | a2 | -- -- c0 c1 |"
    assert [len(pending.previous_actions) for pending in known] == [0, 2, 0, 2]


def test_an_episode_that_ends_in_mid_flight_counts_no_answer_that_never_acted() -> None:
    """At 10 Hz: success after step 5, while b is on its way."""
    answers = [chunk("a", 4, pushes=[0, 2]), chunk("b", 4)]
    line, _, result = run(fixed(2, horizon=4, alignment="start"), answers, goal=0.15)
    assert line == "| -- -- a0 a1 | a2 |"
    assert isinstance(result, EpisodeResult)
    assert result.timing is not None
    assert (result.steps, result.timing.held_steps, result.timing.decisions) == (5, 2, 1)
    assert result.timing.seconds == result.timing.completion_s == 0.5


def test_where_the_world_stops_its_clock_goes_on() -> None:
    """Two answers of 3 steps each are waited for before the second of b's actions: 3 + 4 + 3 + 2 steps at 10 Hz."""
    answers = [chunk("a", 4, pushes=[0]), chunk("b", 4, pushes=[1])]
    line, _, result = run(fixed(3, wait="sync"), answers, goal=0.15)
    assert line == "| a0 a1 a2 a3 | b0 b1 |"
    assert (result.steps, result.timing.held_steps, result.timing.decisions) == (6, 0, 2)
    assert result.timing.seconds == result.timing.completion_s == pytest.approx(1.2)


def test_a_policy_that_says_it_is_done_is_believed_when_its_answer_acts() -> None:
    line, _, result = run(fixed(2, horizon=4, alignment="start"), [chunk("a", 4), chunk("b", 4)], done_at=1)
    assert line == "| -- -- a0 a1 | a2 a3 b0 b1 |"
    assert (result.ended_by, result.success, result.timing.completion_s) == ("policy", False, None)


def test_recorded_delays_are_drawn_from_the_episodes_own_generator() -> None:
    """100, 200 and 300 ms are 1, 2 and 3 steps at 10 Hz; a slower one than the horizon is waited for."""
    recorded = Realtime("recorded", latencies_ms=(100.0, 200.0, 300.0), horizon=2, alignment="start")
    answers = [chunk("a", 4)] * 8
    line, known, _ = run(recorded, answers)
    assert {pending.delay_steps for pending in known} == {1, 2, 3}
    again, _, _ = run(recorded, answers)
    assert again == line
    windows = [window.split() for window in line.strip("| ").split("|")]
    assert [len(window) for window in windows] == [max(2, pending.delay_steps) for pending in known[: len(windows)]]


def test_what_holds_a_robot_still_is_the_embodiments() -> None:
    relative = ActionSpec(("x", "gripper"), (-1.0,) * 2, (1.0,) * 2, "delta", "base", "axis_angle", "m_rad", 1.0, -1.0, 10.0)
    absolute = ActionSpec(("x", "gripper"), (-1.0,) * 2, (1.0,) * 2, "absolute", "base", "axis_angle", "m_rad", 1.0, -1.0, 10.0)
    told_how_far = ActionSpec(
        ("x", "gripper"), (-1.0,) * 2, (1.0,) * 2, "delta", "base", "axis_angle", "m_rad", -1.0, 1.0, 3.0, gripper_still=0.0
    )
    last = np.array([0.3, -1.0])
    assert relative.hold(last).tolist() == [0.0, -1.0]
    assert relative.hold(None).tolist() == [0.0, 1.0], "open, as it begins"
    assert absolute.hold(last).tolist() == [0.3, -1.0]
    assert absolute.hold(None, np.array([0.7])).tolist() == [0.7, 1.0]
    assert told_how_far.hold(last).tolist() == [0.0, 0.0]


def test_path_and_jerk_are_those_of_the_tool() -> None:
    """x = t^3 at 10 Hz has a jerk of 6 m/s^3 everywhere; the toy suite's own state names no tool."""
    times = np.arange(6) / 10
    path, jerk = _motion([np.array([t**3, 0.0, 0.0]) for t in times], 10)
    assert path == pytest.approx(0.125)
    assert jerk == pytest.approx(36)
    assert _motion([None] * 6, 10) == (None, None)
    assert _motion([np.zeros(3)] * 3, 10) == (0.0, None), "too short for third differences"
