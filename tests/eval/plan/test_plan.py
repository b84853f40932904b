from __future__ import annotations

import pytest
from toy_suite import ToySuite

from vlagym.episode import EpisodeSpec
from vlagym.errors import ConfigError
from vlagym.eval.plan.plan import EpisodeQueue, plan_episodes


def test_every_trial_is_planned_once_per_seed() -> None:
    plan = plan_episodes([ToySuite()], episodes_per_task=3, seeds=(0, 7))
    assert len(plan) == len(set(plan)) == 2 * 3 * 2
    assert plan[0] == EpisodeSpec("toy", "push_right", 0, 0)


def test_tasks_are_chosen_by_name_or_index() -> None:
    by_name = plan_episodes([ToySuite()], tasks=["push_far"])
    assert by_name == plan_episodes([ToySuite()], tasks=[1])
    assert {spec.task for spec in by_name} == {"push_far"}


def test_single_trials_can_be_chosen() -> None:
    plan = plan_episodes([ToySuite()], tasks=[0], trials=[7, 2], seeds=(0, 1))
    assert [(spec.trial, spec.seed) for spec in plan] == [(7, 0), (2, 0), (7, 1), (2, 1)]
    with pytest.raises(ConfigError, match=r"trials=\[2, 10\]: toy/push_right has trials 0\.\.9"):
        plan_episodes([ToySuite()], trials=[2, 10])


@pytest.mark.parametrize(
    ("tasks", "episodes", "named"),
    [(["push_fat"], None, "Did you mean 'push_far'"), ([2], None, "0..1"), (None, 11, "has 10 trials")],
)
def test_what_a_suite_does_not_have_is_refused(tasks: list[str | int] | None, episodes: int | None, named: str) -> None:
    with pytest.raises(ConfigError) as raised:
        plan_episodes([ToySuite()], tasks, episodes)
    assert named in str(raised.value)


def test_workers_stay_on_their_task_and_help_out_at_the_end() -> None:
    queue = EpisodeQueue(plan_episodes([ToySuite()], episodes_per_task=4))
    taken = [(worker, queue.take(worker)) for worker in (0, 1, 0, 1, 0, 1, 0, 0)]
    tasks = {(worker, spec.task) for worker, spec in taken[:7] if spec}
    assert tasks == {(0, "push_right"), (1, "push_far")}
    assert taken[7][1] == EpisodeSpec("toy", "push_far", 3)
    assert queue.take(1) is None


def test_an_episode_that_is_put_back_is_the_next_of_its_task() -> None:
    queue = EpisodeQueue(plan_episodes([ToySuite()], tasks=[0], episodes_per_task=3))
    first = queue.take(0)
    assert first is not None
    queue.take(1)
    queue.put_back(first, 0)
    assert queue.take(1) == first


def test_ten_thousand_tasks_are_handed_out_in_the_order_of_the_plan() -> None:
    episodes = [EpisodeSpec("toy", f"task_{number}", 0, 0) for number in range(10_000)]
    queue = EpisodeQueue(episodes)
    taken = [queue.take(number % 64) for number in range(5_000)]
    assert taken == episodes[:5_000]
    back = taken[:3]
    for worker, spec in enumerate(back):
        assert spec is not None
        queue.put_back(spec, worker)
    assert len(queue) == 5_003
    assert [queue.take(worker) for worker in range(4)] == [*back, episodes[5_000]]
