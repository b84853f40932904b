"""In what a run departs from its suite's own protocol: settings changed, tasks or trials left out. Every output says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypedDict

from ...envs.registry import default_suite
from ...envs.suite import Suite
from ...envs.variation import described
from ...episode import EpisodeSpec


class Departures(TypedDict):
    """How a leg differs from what its suite is by default, as plain JSON values.

    Attributes:
        settings: Setting -> [its value, the suite's own].
        trials: Task -> [trials planned, trials it has], for the tasks of which some are left out.
    """

    settings: dict[str, list[Any]]
    trials: dict[str, list[int]]


def departures(suite: Suite, plan: Sequence[EpisodeSpec]) -> Departures | None:
    """What a plan leaves out of a suite, and which of its settings are not its own; None for a suite that only the user knows."""
    own = default_suite(suite.name)
    if own is None:
        return None
    chosen, default = ({**asdict(s), "variation": described(s.variation)} for s in (suite, own))
    planned = Counter(task for task, _ in {(spec.task, spec.trial) for spec in plan if spec.suite == suite.name})
    return {
        "settings": {name: [chosen[name], default[name]] for name in default if chosen.get(name) != default[name]},
        "trials": {task.name: [planned[task.name], task.trials] for task in own.tasks() if planned[task.name] < task.trials},
    }


def departure_notice(suite: str, found: Departures, tasks: int) -> str | None:
    """The sentence that every output carries; None where nothing differs.

    Args:
        suite: Its name.
        found: How it differs.
        tasks: How many tasks the run has.
    """
    parts = [f"{name} is {value!r} instead of {own!r}" for name, (value, own) in found["settings"].items()]
    missing = sum(not planned for planned, _ in found["trials"].values())
    if missing:
        parts.append(f"{tasks} of {tasks + missing} tasks")
    partial = {(planned, own) for planned, own in found["trials"].values() if planned}
    parts += [f"{planned} of {own} trials per task" for planned, own in sorted(partial)[:3]]
    return f"This is not the whole protocol of {suite}: {', '.join(parts)}. It is not the suite's score." if parts else None
