"""A run's folder of what others' evaluations have measured: results only, and marked as foreign in everything that shows them."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..._registry import unknown_name
from ...conf import suite_names, suite_settings
from ...envs.registry import default_suite
from ...envs.spec import Task
from ...envs.suite import protocol_sha256
from ...episode import EpisodeResult, EpisodeSpec, SubtaskResult
from ...errors import ConfigError
from ..compare.foreign import ForeignEpisode, ForeignResults
from ..compare.formats import read_foreign
from ..compare.sources import our_task
from ..plan.config import Leg, load_config
from ..plan.plan import plan_sha256
from ..record.provenance import environment
from ..tables.folder import RunFolder
from ..tables.runs import Run, load_run
from ..tables.subject import subjects
from ..tables.success import chain_sheet, group_sheet, write_summary

POLICY = "imported"


@dataclass(frozen=True)
class Named:
    """What a foreign file may not say.

    Attributes:
        suite: Of the episodes that do not name one.
        task: Likewise.
        policy: What was evaluated.
    """

    suite: str | None = None
    task: str | None = None
    policy: str = POLICY


def import_results(source: Path, folder: Path, named: Named) -> Run:
    """Make a run's folder of a foreign file or folder.

    Raises:
        ConfigError: It cannot be read, or it is not known of which suite or task its episodes are.
        RunError: The folder is taken.
    """
    foreign = read_foreign(source)
    by_suite: dict[str, list[ForeignEpisode]] = {}
    for episode in foreign.episodes:
        by_suite.setdefault(_suite_of(source, episode, named), []).append(episode)
    found = {suite: _results(source, suite, episodes, named) for suite, episodes in by_suite.items()}
    if not any(found.values()):
        raise ConfigError(f"{source} has no episodes.")
    results = [result for of_suite in found.values() for result in of_suite]
    legs = [_leg(suite, of_suite, foreign, named) for suite, of_suite in found.items()]
    config = replace(
        load_config(["video=none"]),
        legs=tuple(Leg(suite_settings(leg["suite"]), {"name": named.policy}) for leg in legs),
    )
    header = {
        "run_id": uuid.uuid4().hex,
        **environment(),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "stamp": time.strftime("%Y_%m_%d-%H_%M_%S"),
        "episodes": len(results),
        "plan_sha256": plan_sha256(result.spec for result in results),
        "legs": legs,
        "imported": {"source": foreign.label, "sha256": _sha256(source), "ordered": foreign.ordered},
    }
    with RunFolder(folder).create(config, header) as log:
        log.extend(results)
    run = load_run(folder)
    sheets = {"groups": (run.groups(), group_sheet), "chains": (run.chains(), chain_sheet)}
    write_summary(run.path, run.table(), run.notices, sheets, subjects(run))
    return run


def _suite_of(source: Path, episode: ForeignEpisode, named: Named) -> str:
    told = episode.suite or named.suite
    if told is None:
        raise ConfigError(f"{source} does not say of which suite its episodes are: name it with --suite.")
    if told in suite_names():
        return told
    if named.suite in suite_names():
        return str(named.suite)
    raise ConfigError(f"{unknown_name('suite', told, suite_names())} Name the suite with --suite.")


def _results(source: Path, suite: str, episodes: Sequence[ForeignEpisode], named: Named) -> list[EpisodeResult]:
    """The episodes by task, in the suite's order, and trial."""
    tasks = _tasks(suite)
    known = [asdict(task) for task in tasks.values()]
    found: dict[EpisodeSpec, EpisodeResult] = {}
    for episode in episodes:
        told = replace(episode, task=named.task) if named.task and not episode.task and episode.task != 0 else episode
        task, trial = our_task(told, known)
        if task not in tasks:
            raise ConfigError(f"{source}: {unknown_name(f'task of suite {suite}', task, tasks)}")
        spec = EpisodeSpec(suite, task, trial)
        if spec in found:
            raise ConfigError(f"{source} has two outcomes of {spec.id}; give each evaluation by itself.")
        found[spec] = _result(spec, tasks[task], episode)
    order = {name: number for number, name in enumerate(tasks)}
    return [found[spec] for spec in sorted(found, key=lambda spec: (order[spec.task], spec.trial))]


def _result(spec: EpisodeSpec, task: Task, episode: ForeignEpisode) -> EpisodeResult:
    done = min(episode.links_done or 0, task.chain) if task.chain > 1 else 0
    success = episode.success if task.chain == 1 or episode.success is None else done == task.chain
    links = [SubtaskResult(f"link {n + 1}", "", True, None, 0) for n in range(done)]
    return EpisodeResult(
        spec=spec,
        instruction=task.instruction,
        success=success,
        success_at_end=None,
        success_ever=None,
        first_success_step=None,
        steps=0,
        ended_by=None,
        initial_state_sha256=None,
        final_state_sha256=None,
        subtasks=tuple(links),
        error="the imported results have no outcome of it" if success is None else None,
    )


def _leg(suite: str, results: Sequence[EpisodeResult], foreign: ForeignResults, named: Named) -> dict[str, Any]:
    trials: dict[str, list[int]] = {}
    for result in results:
        trials.setdefault(result.spec.task, []).append(result.spec.trial)
    tasks = _tasks(suite)
    protocol = {"imported": foreign.label}
    notices = [
        f"Imported from {foreign.label}: results only, measured by others' code under a protocol that they do not tell.",
        *foreign.notes,
    ]
    return {
        "suite": suite,
        "tasks": [{**asdict(tasks[name]), "trials": len(chosen), "chosen": chosen} for name, chosen in trials.items()],
        "protocol": protocol,
        "protocol_sha256": protocol_sha256(protocol),
        "suite_provenance": {},
        "departures": None,
        "notices": notices,
        "policy": {"name": named.policy},
        "policy_provenance": None,
    }


def _tasks(suite: str) -> dict[str, Task]:
    known = default_suite(suite)
    assert known is not None  # one of suite_names()
    return {task.name: task for task in known.tasks()}


def _sha256(source: Path) -> str | None:
    """Of a file; a folder of videos has no hash, as only their names were looked at."""
    return hashlib.sha256(source.read_bytes()).hexdigest() if source.is_file() else None
