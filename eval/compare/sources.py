"""What can stand on one side of a comparison: a run of ours, or results of LeRobot, vla-evaluation-harness or OpenVLA's script.

The foreign formats are read as their writers write them: ``eval_info.json`` of lerobot's lerobot_eval.py, and the result or
aggregate file of vla-evaluation-harness (src/vla_eval/results/collector.py and merge.py). Neither says what protocol it measured
nor which initial state an episode started from, so such a side is compared as a sample of its own unless told otherwise.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ...conf import suite_names
from ...edges.files import FileKind
from ...edges.text import printable
from ...episode import EpisodeResult, Variant
from ...errors import ConfigError
from ..record.departures import Departures
from ..tables.runs import Run, load_run
from ..tables.success import links_done
from .foreign import CUT_AT, ForeignEpisode, is_rollouts, read_log, read_rollouts

# (trial, seed) -> the share of what an episode asked for that was done: 0 or 1, or links done / links of a chain.
TaskOutcomes = dict[tuple[int, int], float]


@dataclass(frozen=True)
class SuiteOutcomes:
    """What one side did on one suite.

    Attributes:
        tasks: Outcomes by task, in the suite's order.
        protocol: What was measured; None if the side does not say.
        protocol_sha256: Its hash.
        provenance: What it ran on.
        departures: How it departs from the suite's own protocol; None if the side does not say.
        states: Per task and (trial, seed), the hashes of the first and the last physics state; empty if the side does not say.
        plain_suite: The suite that this one perturbs; None if it stands for itself.
        variants: Per (task, trial), what it changes; empty if it stands for itself.
    """

    tasks: dict[str, TaskOutcomes]
    protocol: Mapping[str, Any] | None = None
    protocol_sha256: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    departures: Departures | None = None
    states: Mapping[str, Mapping[tuple[int, int], tuple[str | None, str | None]]] = field(default_factory=dict)
    plain_suite: str | None = None
    variants: Mapping[tuple[str, int], Variant] = field(default_factory=dict)


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        label: How to call it in outputs.
        suites: Its outcomes by suite.
        gaps: Why it is not complete, in words; empty if it is.
        notices: Sentences every output must carry.
        run: The run, if it is one of ours.
    """

    label: str
    suites: dict[str, SuiteOutcomes]
    gaps: list[str]
    notices: list[str]
    run: Run | None = None


def episode_value(result: EpisodeResult, chain_length: int) -> float:
    """The share of what the episode asked for that was done."""
    return links_done(result) / chain_length if chain_length > 1 else float(bool(result.success))


def side_of_run(run: Run) -> Side:
    """A run as one side of a comparison."""
    suites = {}
    for leg in run.header["legs"]:
        suite, length = leg["suite"], run.chain_lengths[leg["suite"]]
        tasks: dict[str, TaskOutcomes] = {task["name"]: {} for task in leg["tasks"]}
        states: dict[str, dict[tuple[int, int], tuple[str | None, str | None]]] = {task: {} for task in tasks}
        for result in run.results:
            spec = result.spec
            if spec.suite == suite and result.error is None:
                tasks[spec.task][spec.trial, spec.seed] = episode_value(result, length)
                states[spec.task][spec.trial, spec.seed] = (result.initial_state_sha256, result.final_state_sha256)
        provenance = {**leg["suite_provenance"], "policy": leg["policy"], "policy_provenance": leg["policy_provenance"]}
        variants = {(task, trial): v for (of, task, trial), v in run.variants.items() if of == suite}
        suites[suite] = SuiteOutcomes(
            tasks,
            leg["protocol"],
            leg["protocol_sha256"],
            provenance,
            leg.get("departures"),
            states,
            leg.get("plain_suite"),
            variants,
        )
    return Side(run.name, suites, _gaps(len(run.missing), len(run.errors)), run.notices, run)


def is_foreign(path: Path) -> bool:
    """Whether it is no run of ours: a file, or a folder of the reference script's videos."""
    return path.is_file() or is_rollouts(path)


def load_side(source: str, reference: Run | None) -> Side:
    """Read one side.

    Args:
        source: Folder of a run, or path of a foreign result file.
        reference: The run on the other side, by whose names a foreign file's suites and tasks are called.

    Raises:
        RunError: A folder that is not a run.
        ConfigError: A file that is not a result file, or that cannot be told apart without a run on the other side.
    """
    path = Path(source)
    if not is_foreign(path):
        return side_of_run(load_run(path))
    if reference is None:
        raise ConfigError(f"{path}: one side of a comparison has to be a run of vla-eval, by whose suites the other is read.")
    if path.is_dir():
        return _as_side(f"{path.name} (videos of the reference script)", read_rollouts(path), reference)
    if path.suffix == ".txt":
        logged = read_log(RESULT_FILE.text(path))
        if not logged:
            raise RESULT_FILE.fault(path, "no log of the reference script: it has no Task: and Success: lines")
        return _as_side(f"{path.name} (log of the reference script)", logged, reference)
    content = RESULT_FILE.json(path)
    if isinstance(content, dict) and "per_task" in content:
        episodes, kind = _read_lerobot(RESULT_FILE.converted(path, content, _LeRobot)), "LeRobot"
    elif isinstance(content, dict) and "tasks" in content:
        harness = RESULT_FILE.converted(path, content, _Harness)
        episodes, kind = _read_vla_evaluation_harness(path, harness), "vla-evaluation-harness"
    else:
        raise RESULT_FILE.fault(path, "neither LeRobot's (per_task) nor vla-evaluation-harness's (tasks)")
    return _as_side(f"{path.name} ({kind})", episodes, reference)


RESULT_FILE = FileKind(
    "a complete result file",
    ConfigError,
    "Give LeRobot's eval_info.json, a result file of vla-evaluation-harness or an EVAL-*.txt, whole.",
)
_Text = Annotated[str, Meta(min_length=1, max_length=1000)]
_Number = Annotated[int, Meta(ge=0, lt=2**31)]
_Outcome = bool | Literal[0, 1]  # LeRobot writes true and false, some of its versions 1 and 0


class _LeRobotMetrics(Struct):
    successes: list[_Outcome]


class _LeRobotTask(Struct):
    task_group: _Text
    task_id: _Number
    metrics: _LeRobotMetrics


class _LeRobot(Struct):
    per_task: list[_LeRobotTask]


class _HarnessMetrics(Struct):
    success: _Outcome | None = None
    completed_subtasks: _Number | None = None


class _HarnessEpisode(Struct):
    episode_id: _Number | str | None = None
    metrics: _HarnessMetrics | None = None
    success: _Outcome | None = None  # files of before 2026 keep it here
    completed_subtasks: _Number | None = None
    failure_reason: str | None = None


class _HarnessTask(Struct):
    task: _Text
    episodes: list[_HarnessEpisode]


class _HarnessConfig(Struct):
    params: dict[str, Any] | None = None
    subname: str | None = None


class _Harness(Struct):
    tasks: list[_HarnessTask]
    benchmark: str | None = None
    config: _HarnessConfig | None = None


def _read_lerobot(content: _LeRobot) -> list[ForeignEpisode]:
    return [
        ForeignEpisode(printable(task.task_group), task.task_id, trial, bool(success))
        for task in content.per_task
        for trial, success in enumerate(task.metrics.successes)
    ]


def _read_vla_evaluation_harness(path: Path, content: _Harness) -> list[ForeignEpisode]:
    config = content.config or _HarnessConfig()
    suite = (config.params or {}).get("suite") or config.subname or content.benchmark
    if not isinstance(suite, str):
        raise RESULT_FILE.fault(path, "benchmark: it does not say which")
    episodes = []
    for task in content.tasks:
        for index, episode in enumerate(task.episodes):
            # Of old files the id is a string that ends in the episode's number.
            number = re.search(r"[0-9]{1,9}$", str(index if episode.episode_id is None else episode.episode_id))
            trial = int(number.group()) if number else index
            metrics = episode.metrics or episode
            if metrics.success is None and not episode.failure_reason:
                raise RESULT_FILE.fault(path, f"tasks: episode {index} of {task.task!r} has no success")
            success = None if episode.failure_reason else bool(metrics.success)
            named = printable(task.task)
            episodes.append(ForeignEpisode(printable(suite), named, trial, success, metrics.completed_subtasks))
    return episodes


def _as_side(label: str, episodes: list[ForeignEpisode], reference: Run) -> Side:
    """Foreign episodes under the reference's names of suites and tasks."""
    legs = {leg["suite"]: leg for leg in reference.header["legs"]}
    suites: dict[str, dict[str, TaskOutcomes]] = defaultdict(lambda: defaultdict(dict))
    notices, errors = [], 0
    for episode in episodes:
        if not episode.suite and len(legs) > 1:
            raise ConfigError(f"{label} does not say of which suite it is, and {reference.name} has several: {', '.join(legs)}.")
        told = episode.suite in legs or episode.suite in suite_names() or len(legs) > 1
        suite = episode.suite if told else next(iter(legs))
        if not episode.suite:
            notices.append(
                f"{label} does not say of which suite it is; it is taken for {suite!r}, the only one of {reference.name}."
            )
        elif not told:
            notices.append(f"{label}: its suite {episode.suite!r} is taken for {suite!r}, the only one of {reference.name}.")
        if episode.success is None:
            errors += 1
            continue
        known = legs[suite]["tasks"] if suite in legs else []
        task, trial = _our_task(episode, known)
        chain = known[0]["chain"] if known else 1
        done = None if episode.links_done is None else min(episode.links_done, chain)
        value = done / chain if chain > 1 and done is not None else float(episode.success)
        suites[suite][task][trial, 0] = value
    notices.append(f"{label} does not say what protocol it measured.")
    outcomes = {suite: SuiteOutcomes({t: dict(o) for t, o in tasks.items()}) for suite, tasks in suites.items()}
    return Side(label, outcomes, _gaps(0, errors), list(dict.fromkeys(notices)))


def _our_task(episode: ForeignEpisode, known: list[dict[str, Any]]) -> tuple[str, int]:
    """Our name of the task and the trial: by number, by name, by instruction, or because the suite has one task only."""
    if isinstance(episode.task, int):
        return (known[episode.task]["name"] if episode.task < len(known) else str(episode.task)), episode.trial
    if len(known) == 1:  # what others call tasks are then trials, e.g. seq_0012 for CALVIN's 12th chain
        number = re.search(r"[0-9]{1,9}$", episode.task)
        return known[0]["name"], int(number.group()) if number else episode.trial
    wanted = _plain(episode.task)
    named = [(task["name"], _plain(task[key])) for task in known for key in ("name", "instruction")]
    matches = list(dict.fromkeys(name for name, plain in named if plain == wanted))
    if not matches and len(episode.task) == CUT_AT:
        matches = list(dict.fromkeys(name for name, plain in named if plain.startswith(wanted)))
    return (matches[0] if len(matches) == 1 else episode.task), episode.trial


def _plain(text: str) -> str:
    return re.sub(r"\W|_", "", text.lower())


def _gaps(missing: int, errors: int) -> list[str]:
    counted = ((missing, "not run"), (errors, "could not be run (errors)"))
    return [f"{count} episode{'s' if count > 1 else ''} {what}" for count, what in counted if count]
