"""The table of the simulated clock: sums within a task, means over tasks."""

from __future__ import annotations

from vlagym.episode import EpisodeResult, EpisodeSpec, Timing
from vlagym.eval.tables.realtime import realtime_sheet, realtime_table


def episode(task: str, trial: int, steps: int, timing: Timing | None) -> EpisodeResult:
    done = timing is not None and timing.completion_s is not None
    spec = EpisodeSpec("toy", task, trial)
    return EpisodeResult(spec, task, done, done, done, steps if done else None, steps, "horizon", "a", "b", timing=timing)


RESULTS = [
    episode("one", 0, 10, Timing(2, 4, 1.0, 1.0, 0.5, 8.0)),
    episode("one", 1, 30, Timing(4, 6, 3.0, None, 1.5, 4.0)),
    episode("two", 0, 20, Timing(5, 0, 2.0, None, None, None)),
]
PLAN = [result.spec for result in RESULTS]


def test_shares_and_rates_are_of_all_steps_and_seconds_of_a_task() -> None:
    one, two, average = realtime_table(RESULTS, PLAN).to_dict("records")
    assert one == {
        **{"suite": "toy", "task": "one", "episodes": 2},
        **{"held_share": 10 / 40, "decision_hz": 6 / 4, "completion_s": 1.0, "path_length_m": 1.0, "mean_squared_jerk": 6.0},
    }
    assert (two["held_share"], two["decision_hz"], two["completion_s"], two["path_length_m"]) == (0.0, 2.5, None, None)
    assert (average["task"], average["episodes"], average["held_share"], average["decision_hz"]) == ("average", 3, 0.125, 2.0)
    assert average["completion_s"] == 1.0, "of the tasks that have one"


def test_people_read_per_cent_and_dashes() -> None:
    sheet = realtime_sheet(realtime_table(RESULTS, PLAN))
    assert sheet.rows[0] == ["toy", "one", "25.0 %", "1.5", "1", "1", "6"]
    assert sheet.rows[1] == ["toy", "two", "0.0 %", "2.5", "-", "-", "-"]
    assert sheet.strong == {2}


def test_runs_in_which_the_world_waits_have_none() -> None:
    assert realtime_table([episode("one", 0, 10, None)], PLAN).empty


def test_a_timing_survives_its_line() -> None:
    for result in RESULTS:
        assert EpisodeResult.from_json(result.to_json()) == result
    assert "timing" not in episode("one", 0, 10, None).to_json(), "lines of plain runs are what they were"
