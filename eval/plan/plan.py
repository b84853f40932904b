"""Which episodes a run consists of, and in what order they are handed to workers."""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence

from ..._registry import unknown_name
from ...envs.spec import Task
from ...envs.suite import Suite
from ...episode import EpisodeSpec
from ...errors import ConfigError


def plan_episodes(
    suites: Sequence[Suite],
    tasks: Sequence[str | int] | None = None,
    episodes_per_task: int | None = None,
    seeds: Sequence[int] = (0,),
    trials: Sequence[int] | None = None,
) -> list[EpisodeSpec]:
    """All episodes of a run, by suite, task, seed and trial.

    Args:
        suites: In the order in which they run.
        tasks: Names or indices to keep; a name must be known to at least one suite, an index to all. None keeps all.
        episodes_per_task: Trials 0 .. N - 1 of each task; None for all that the suite has. Of the trials that a suite's settings
            select, the first N, or as many as there are.
        seeds: Each (task, trial) is planned once per seed.
        trials: Exactly these trials of each task, instead of the first ones.

    Raises:
        ConfigError: An unknown task or trial, nothing to run, or more episodes than a task has trials.
    """
    if tasks is not None:
        _check_known(suites, tasks)
    plan = []
    for suite in suites:
        for index, task in enumerate(suite.tasks()):
            if tasks is None or task.name in tasks or index in tasks:
                chosen = _trials(suite, task, episodes_per_task, trials)
                plan += [EpisodeSpec(suite.name, task.name, trial, seed) for seed in seeds for trial in chosen]
    if not plan:
        raise ConfigError(
            f"nothing to run: tasks={list(tasks or [])}, seeds={list(seeds)} and the settings of "
            f"{', '.join(suite.name for suite in suites)} leave no episode."
        )
    return plan


def plan_sha256(plan: Iterable[EpisodeSpec]) -> str:
    """Hash of the planned episodes, in order."""
    return hashlib.sha256("\n".join(spec.id for spec in plan).encode()).hexdigest()


class EpisodeQueue:
    """Hands out planned episodes so that a worker stays on the task whose model it has compiled.

    Args:
        episodes: What is to be run, in the order of the plan.
    """

    def __init__(self, episodes: Iterable[EpisodeSpec]) -> None:
        # Tasks that have episodes left, in the order of the plan: no step may cost more where there are thousands of tasks.
        self._waiting: OrderedDict[tuple[str, str], deque[EpisodeSpec]] = OrderedDict()
        for spec in episodes:
            self._waiting.setdefault((spec.suite, spec.task), deque()).append(spec)
        self._place = {task: number for number, task in enumerate(self._waiting)}
        self._left = sum(map(len, self._waiting.values()))
        self._task_of_worker: dict[int, tuple[str, str]] = {}

    def __len__(self) -> int:
        return self._left

    def take(self, worker: int) -> EpisodeSpec | None:
        """The next episode for a worker: of its own task, else of a task nobody is on, else of the one with most left."""
        if not self._waiting:
            return None
        task = self._task_of_worker.get(worker)
        if task is None or task not in self._waiting:
            others = {t for w, t in self._task_of_worker.items() if w != worker}
            unclaimed = next((t for t in self._waiting if t not in others), None)
            task = unclaimed or max(self._waiting, key=lambda t: len(self._waiting[t]))
            self._task_of_worker[worker] = task
        spec = self._waiting[task].popleft()
        if not self._waiting[task]:
            del self._waiting[task]
        self._left -= 1
        return spec

    def put_back(self, spec: EpisodeSpec, worker: int) -> None:
        """Return an episode whose worker failed; it is the next of its task, for any worker."""
        task = (spec.suite, spec.task)
        if task not in self._waiting:
            place = self._place.setdefault(task, len(self._place))
            self._waiting[task] = deque()
            for later in [other for other in self._waiting if self._place[other] > place]:
                self._waiting.move_to_end(later)
        self._waiting[task].appendleft(spec)
        self._left += 1
        self._task_of_worker.pop(worker, None)


class RoundsQueue(EpisodeQueue):
    """Hands out episodes round by round, and no more of them once there are enough.

    Args:
        rounds: What is to be run first, second, ...
        enough: Asked before every episode.
    """

    def __init__(self, rounds: Iterable[Iterable[EpisodeSpec]], enough: Callable[[], bool]) -> None:
        super().__init__(())
        self._rounds = [EpisodeQueue(episodes) for episodes in rounds]
        self._enough = enough
        for queue in self._rounds:
            queue._task_of_worker = self._task_of_worker

    def __len__(self) -> int:
        return 0 if self._enough() else sum(map(len, self._rounds))

    def take(self, worker: int) -> EpisodeSpec | None:
        if self._enough():
            return None
        return next((queue.take(worker) for queue in self._rounds if len(queue)), None)

    def put_back(self, spec: EpisodeSpec, worker: int) -> None:
        self._rounds[0].put_back(spec, worker)  # it is overdue, whatever its round


def _check_known(suites: Sequence[Suite], tasks: Sequence[str | int]) -> None:
    names = [task.name for suite in suites for task in suite.tasks()]
    smallest = min(len(suite.tasks()) for suite in suites)
    for task in tasks:
        if isinstance(task, str) and task not in names:
            raise unknown_name(f"task of suite {', '.join(suite.name for suite in suites)}", task, names)
        if isinstance(task, int) and not 0 <= task < smallest:
            raise ConfigError(f"task index {task} is out of range: tasks are numbered 0..{smallest - 1}.")


def _trials(suite: Suite, task: Task, episodes_per_task: int | None, trials: Sequence[int] | None) -> Sequence[int]:
    if trials is not None:
        if not all(0 <= trial < task.trials for trial in trials):
            raise ConfigError(f"trials={list(trials)}: {suite.name}/{task.name} has trials 0..{task.trials - 1}.")
        if task.chosen is not None and not set(trials) <= set(task.chosen):
            raise ConfigError(f"trials={list(trials)}: not all are among those that the settings of {suite.name} select.")
        return trials
    possible = task.selected_trials
    if episodes_per_task is None or task.chosen is not None:
        return possible[:episodes_per_task]
    if episodes_per_task > task.trials:
        raise ConfigError(
            f"episodes_per_task={episodes_per_task}: {suite.name}/{task.name} has {task.trials} trials (initial states). "
            "Use seeds=[0,1,...] to run each of them several times."
        )
    return possible[:episodes_per_task]
