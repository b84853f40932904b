"""Runs on the simulated clock: no delay is the plain run bit for bit on every suite, a delay leaves an episode a pure function."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needs import need_suite

from vlagym.conf import suite_settings
from vlagym.envs.base import VlaEnv
from vlagym.envs.registry import make_suite
from vlagym.envs.suite import protocol_sha256
from vlagym.episode import EpisodeSpec
from vlagym.errors import ConfigError
from vlagym.eval.plan.config import load_config
from vlagym.eval.plan.plan import EpisodeQueue
from vlagym.eval.plan.realtime import Realtime
from vlagym.eval.run.clock import SimulatedClock
from vlagym.eval.run.evaluation import Outcome, evaluate, resume
from vlagym.eval.run.rollout import Recorder, Rollout
from vlagym.eval.tables.folder import RunFolder
from vlagym.trajectory import load_trajectory

Run = Callable[..., Outcome]
Records = Callable[[Path], list[dict[str, Any]]]
NO_DELAY = Realtime("fixed", delay_steps=0)


class _Watch(Recorder):
    """Keeps the state after every step."""

    def started(self, spec: EpisodeSpec, index: int, env: VlaEnv) -> None:
        self._env, self.states = env, [env.physics_state()]

    def stepped(self) -> None:
        self.states.append(self._env.physics_state())


def play(env: VlaEnv, clock: SimulatedClock | None, chunk: int, steps: int) -> tuple[list[Any], list[Any]]:
    """An episode's physics states, and what was observed and executed chunk by chunk, under random actions."""
    watch = _Watch()
    rollout = Rollout(env, [watch], clock)
    generator = np.random.default_rng(0)
    space = env.suite.action_spec.space
    seen: list[Any] = [rollout.begin(EpisodeSpec(env.suite.name, env.suite.tasks()[0].name, 0), 0)]
    while rollout.steps < steps:
        actions = generator.uniform(space.low, space.high, (chunk, env.suite.action_spec.size)).astype(np.float32)
        result = rollout.advance(actions)
        seen += [result.observation, result.executed, result.successes.tolist(), result.ended_by, result.new_subtask]
        if result.observation is None:
            seen.append(rollout.finish(result).final_state_sha256)
            break
    return watch.states, seen


@pytest.mark.parametrize("chunk", [1, 8])
@pytest.mark.parametrize(
    "suite",
    [
        "robosuite",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("libero_goal", "calvin_d", "simpler_widowx", "simpler_google_vm")
        ),
    ],
)
def test_no_delay_is_the_plain_run_bit_for_bit(suite: str, chunk: int) -> None:
    need_suite(suite)
    env = make_suite(suite_settings(suite)).make_env(("primary",))
    try:
        plain_states, plain_seen = play(env, None, chunk, 24)
        states, seen = play(env, SimulatedClock(NO_DELAY, env), chunk, 24)
    finally:
        env.close()
    np.testing.assert_array_equal(states, plain_states)
    np.testing.assert_equal(seen, plain_seen)
    assert len(states) == 25


@pytest.mark.slow
@pytest.mark.parametrize(("suite", "setting"), [("libero_goal", "control"), ("calvin_d", "action_form")])
def test_a_robot_under_absolute_control_stays_where_it_is_before_the_first_answer(suite: str, setting: str) -> None:
    """Within 5 mm over half a second."""
    need_suite(suite)
    values = ("absolute",) if setting == "control" else ("absolute_euler", "absolute_quat")
    for value in values:
        env = make_suite({**suite_settings(suite), setting: value}).make_env(())
        env.reset(options={"trial": 0})
        where = env.suite.state_spec.tool_position
        began = env.precise_state()[where]
        hold = env.hold_action(None)
        env.step_chunk(np.tile(hold, (int(env.suite.action_spec.control_hz / 2), 1)))
        moved = np.linalg.norm(env.precise_state()[where] - began)
        env.close()
        assert moved < 0.005, f"{value}: it moved by {moved} m"


@pytest.mark.parametrize("chunk", [1, 8])
def test_no_delay_records_the_plain_run(run_toy: Run, records: Records, chunk: int) -> None:
    settings = (f"policy.chunk={chunk}", "episodes_per_task=2", "video=none", "suite.chain=2")
    plain = run_toy(*settings, policy="random", name="plain")
    clocked = run_toy(*settings, "realtime.delay_steps=0", policy="random", name="clocked")
    with_timing = records(clocked.folder)
    assert [{key: value for key, value in line.items() if key != "timing"} for line in with_timing] == records(plain.folder)
    assert all(line["timing"]["held_steps"] == 0 for line in with_timing)
    assert hash_of(clocked) == hash_of(plain), "it counts as the same protocol"
    for file in sorted((plain.folder / "trajectories").iterdir()):
        one, other = load_trajectory(file), load_trajectory(clocked.folder / "trajectories" / file.name)
        for name in ("actions", "render_states", "physics_states"):
            np.testing.assert_array_equal(one[name], other[name])  # type: ignore[literal-required]


def hash_of(outcome: Outcome) -> str:
    sha: str = RunFolder(outcome.folder).header()["legs"][0]["protocol_sha256"]
    return sha


def shuffled(episodes: Sequence[EpisodeSpec]) -> EpisodeQueue:
    return EpisodeQueue(random.Random(0).sample(list(episodes), len(episodes)))


@pytest.mark.parametrize("delay", ["fixed", "recorded"])
def test_a_late_episode_is_a_pure_function_of_its_spec(
    run_toy: Run, records: Records, faults: Callable[..., None], tmp_path: Path, delay: str
) -> None:
    """One worker, two in another order with one killed, and a run that is cut off in the middle and resumed."""
    (tmp_path / "profile.json").write_text(
        '{"latencies_ms": [90, 250, 410], "policy": "p", "batch": 1, "measured_on": "a machine"}', encoding="utf-8"
    )
    late = "realtime.delay_steps=3" if delay == "fixed" else f"realtime.profile={tmp_path / 'profile.json'}"
    settings = ("policy.chunk=5", "episodes_per_task=4", "video=none", "realtime.alignment=start", late)
    alone = run_toy(*settings, "workers=1", name="alone")
    assert {record["timing"]["held_steps"] > 0 for record in records(alone.folder)} == {True}
    faults("dies1")
    typed = ["suite=toy", "policy=push", *settings, "workers=2", f"run_dir={tmp_path / 'shuffled'}"]
    assert records(evaluate(load_config(typed), make_queue=shuffled).folder) == records(alone.folder)
    expected = records(alone.folder)
    file = alone.folder / "episodes.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:3]))
    (tmp_path / "profile.json").unlink()
    assert resume(alone.folder).complete
    assert records(alone.folder) == expected


def test_a_delayed_run_says_so_and_counts_as_another_protocol(run_toy: Run) -> None:
    plain = run_toy("episodes_per_task=1", "video=none", name="plain")
    late = run_toy("episodes_per_task=1", "video=none", "realtime.delay_ms=250", name="late")
    leg = RunFolder(late.folder).header()["legs"][0]
    assert hash_of(late) != hash_of(plain)
    assert leg["protocol_sha256"] == protocol_sha256(leg["protocol"])
    assert "This is not the protocol of toy: the world goes on for 3 control steps until the policy has answered" in "".join(
        late.notices
    )
    assert not any("control steps" in notice for notice in plain.notices)


def test_a_delay_costs_the_steps_that_it_holds(run_toy: Run) -> None:
    """The policy pushes 4 steps per answer at 0.1 m each; 2 held steps come before each answer."""
    plain = run_toy("episodes_per_task=1", "tasks=[push_right]", "video=none", name="plain")
    late = run_toy(
        *("episodes_per_task=1", "tasks=[push_right]", "video=none"),
        *("realtime.delay_steps=2", "realtime.alignment=start"),
        name="late",
    )
    (before,), (after,) = RunFolder(plain.folder).results(), RunFolder(late.folder).results()
    assert after.timing is not None
    assert after.success
    assert after.steps - after.timing.held_steps == before.steps
    assert after.timing.decisions == -(-before.steps // 4)
    assert after.timing.held_steps == 2 * after.timing.decisions
    assert after.timing.seconds == pytest.approx(after.steps / 10)


def test_a_delay_over_the_horizon_is_refused_before_anything_is_run(run_toy: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="longer than the horizon"):
        run_toy("realtime.delay_steps=4", "realtime.horizon=3")
    assert not (tmp_path / "run").exists()
