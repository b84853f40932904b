"""Lives failed episodes through again, in worker processes, and says which group each belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import methodcaller

from ...envs.env import VlaEnv
from ...envs.landmarks import Landmarks
from ...envs.suite import Suite
from ...episode import EpisodeResult
from ...errors import VlagymError
from ...trajectory import Trajectory
from ..run.again import live_again, trajectory_of
from ..run.pool import in_pool
from ..run.workers import default_worker_count
from ..tables.runs import Run
from .questions import group_of


@dataclass(frozen=True)
class Failure:
    """A failed episode.

    Attributes:
        result: The episode.
        asked: The task, or the subtask of the chain that was not done.
        group: One of `vlagym.eval.failures.questions.GROUPS`; None if it could not be lived through again.
        error: Why not.
    """

    result: EpisodeResult
    asked: str
    group: str | None
    error: str | None = None


def failures_of(run: Run, suite: Suite, workers: int | None = None) -> Iterator[Failure]:
    """The failed episodes of a suite in a run, each as it is done, in the order of the plan.

    Args:
        run: The run.
        suite: One of its suites, as it was then.
        workers: Processes; one per core by default.

    Raises:
        RunError: A trajectory is missing or damaged, or a process died.
    """
    of_suite = [result for result in run.results if result.spec.suite == suite.name]
    failed = [result for result in of_suite if result.error is None and not result.success]
    if not failed:
        return
    jobs = [(result, trajectory_of(run, result)) for result in failed]
    size = default_worker_count(len(jobs), workers)
    yield from in_pool(size, _start, (suite,), _look_at, jobs, "plays episodes again")


_env: VlaEnv | None = None


def _start(suite: Suite) -> None:
    global _env  # noqa: PLW0603  # a process of a pool has no other place to keep its environment
    _env = suite.make_env(())


def _look_at(job: tuple[EpisodeResult, Trajectory]) -> Failure:
    assert _env is not None
    result, trajectory = job
    asked, begun = _under_way(result)
    moments: list[Landmarks | None] = []
    try:
        live_again(_env, result, trajectory, methodcaller("landmarks"), lambda moment, *_: moments.append(moment))
        moments.append(_env.landmarks())
    except VlagymError as error:  # about this episode: the others can still be looked at
        return Failure(result, asked, None, str(error))
    return Failure(result, asked, group_of(moments[begun:], bool(result.success_ever)))


def _under_way(result: EpisodeResult) -> tuple[str, int]:
    """What was asked for at the end, and the step at which it began to be."""
    if not result.subtasks:
        return result.spec.task, 0
    return result.subtasks[-1].name, sum(link.steps for link in result.subtasks[:-1])
