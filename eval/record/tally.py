"""What there is to count while a run is under way."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...episode import EpisodeResult, EpisodeSpec

if TYPE_CHECKING:
    from ..tables.statistics import Rate

Task = tuple[str, str]


class Tally:
    """Counts episodes, successes and errors by task, and how fast they come.

    Args:
        plan: All episodes of the run.
        finished: Results of earlier sessions.
    """

    def __init__(self, plan: Sequence[EpisodeSpec], finished: Sequence[EpisodeResult]) -> None:
        self.planned: Counter[Task] = Counter((spec.suite, spec.task) for spec in plan)
        self.done: Counter[Task] = Counter()
        self.successes: Counter[Task] = Counter()
        self.errors = 0
        self.resumed = len(finished)
        self.started = time.monotonic()
        self._outcomes: dict[Task, dict[int, list[bool]]] = defaultdict(dict)
        self._rate: tuple[int, Rate] | None = None
        for result in finished:
            self.add(result)

    def add(self, result: EpisodeResult) -> None:
        """Count a result."""
        task = (result.spec.suite, result.spec.task)
        self.done[task] += 1
        self.successes[task] += bool(result.success)
        self.errors += result.error is not None
        if result.error is None:
            self._outcomes[task].setdefault(result.spec.trial, []).append(bool(result.success))

    @property
    def total(self) -> int:
        """Episodes in the plan."""
        return self.planned.total()

    def success(self) -> str:
        """The success rate of what ran, as the table will have it: the mean over tasks, with its 95 % interval."""
        count = self.done.total()
        if count == self.errors:
            return "no outcome yet"
        if self._rate is None or self._rate[0] != count:
            self._rate = count, self._rate_so_far()
        rate = self._rate[1]
        return f"{100 * rate.value:.1f} % success so far ({100 * rate.low:.1f} - {100 * rate.high:.1f} %)"

    def pace(self) -> str:
        """The time since the session began, and what is left at its pace."""
        elapsed, ran = time.monotonic() - self.started, self.done.total() - self.resumed
        if ran < 1:
            return f"{duration(elapsed)} elapsed"
        left = (self.total - self.done.total()) * elapsed / ran
        return f"{duration(elapsed)} elapsed, {duration(left)} left at {3600 * ran / elapsed:.0f} episodes/h"

    def _rate_so_far(self) -> Rate:
        from ..tables.statistics import mean_interval  # with scipy, which would keep the first line of a run waiting

        suites: dict[str, list[list[float]]] = defaultdict(list)
        for (suite, _), trials in list(self._outcomes.items()):  # copies: a display may have a thread of its own
            suites[suite].append([sum(seeds) / len(seeds) for seeds in list(trials.values())])
        weights = [1 / (len(suites) * len(tasks)) for tasks in suites.values() for _ in tasks]
        return mean_interval([trials for tasks in suites.values() for trials in tasks], weights)


def duration(seconds: float) -> str:
    """A time as a person says it, to the minute from the first minute on."""
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"
