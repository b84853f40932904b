"""What can stand on one side of a comparison: a run of ours, or what others' evaluations leave (see `formats`).

None of those says what protocol it measured, nor which initial state an episode started from, so such a side is compared as a
sample of its own unless told otherwise.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...conf import suite_names
from ...episode import EpisodeResult, Variant
from ...errors import ConfigError
from ..record.departures import Departures
from ..tables.runs import Run, load_run
from ..tables.success import links_done
from .foreign import CUT_AT, ForeignEpisode, ForeignResults
from .formats import is_foreign, read_foreign

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
        ordered: Whether the n-th outcome of a task is that of a certain trial.
    """

    label: str
    suites: dict[str, SuiteOutcomes]
    gaps: list[str]
    notices: list[str]
    run: Run | None = None
    ordered: bool = True


def episode_value(result: EpisodeResult, chain_length: int) -> float:
    """The share of what the episode asked for that was done."""
    return links_done(result) / chain_length if chain_length > 1 else float(bool(result.success))


def side_of_run(run: Run) -> Side:
    """A run as one side of a comparison; of an imported one, only the outcomes."""
    suites = {}
    ran: dict[str, list[EpisodeResult]] = defaultdict(list)
    for result in run.results:
        if result.error is None:
            ran[result.spec.suite].append(result)
    for leg in run.header["legs"]:
        suite, length = leg["suite"], run.chain_lengths[leg["suite"]]
        tasks: dict[str, TaskOutcomes] = {task["name"]: {} for task in leg["tasks"]}
        states: dict[str, dict[tuple[int, int], tuple[str | None, str | None]]] = {task: {} for task in tasks}
        for result in ran[suite]:
            spec = result.spec
            tasks[spec.task][spec.trial, spec.seed] = episode_value(result, length)
            states[spec.task][spec.trial, spec.seed] = (result.initial_state_sha256, result.final_state_sha256)
        if run.imported:
            suites[suite] = SuiteOutcomes(tasks)
            continue
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
    gaps = _gaps(len(run.missing), len(run.errors))
    if run.imported:
        return Side(run.name, suites, gaps, run.notices, ordered=run.imported["ordered"])
    return Side(run.name, suites, gaps, run.notices, run)


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
    return _as_side(read_foreign(path), reference)


def _as_side(results: ForeignResults, reference: Run) -> Side:
    """Foreign episodes under the reference's names of suites and tasks."""
    label = results.label
    legs = {leg["suite"]: leg for leg in reference.header["legs"]}
    suites: dict[str, dict[str, TaskOutcomes]] = defaultdict(lambda: defaultdict(dict))
    notices, errors, names = [*results.notes], 0, set(suite_names())
    for episode in results.episodes:
        if not episode.suite and len(legs) > 1:
            raise ConfigError(f"{label} does not say of which suite it is, and {reference.name} has several: {', '.join(legs)}.")
        told = episode.suite in legs or episode.suite in names or len(legs) > 1
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
        task, trial = our_task(episode, known)
        chain = known[0]["chain"] if known else 1
        done = None if episode.links_done is None else min(episode.links_done, chain)
        value = done / chain if chain > 1 and done is not None else float(episode.success)
        suites[suite][task][trial, 0] = value
    notices.append(f"{label} does not say what protocol it measured.")
    outcomes = {suite: SuiteOutcomes({t: dict(o) for t, o in tasks.items()}) for suite, tasks in suites.items()}
    return Side(label, outcomes, _gaps(0, errors), list(dict.fromkeys(notices)), ordered=results.ordered)


def our_task(episode: ForeignEpisode, known: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
    """Our name of the task and the trial: by number, by name, by instruction, or because the suite has one task only.

    Raises:
        ConfigError: The episode does not say of which task it is, and the suite has several.
    """
    if not episode.task and len(known) > 1 and isinstance(episode.task, str):
        raise ConfigError(f"the results do not say of which task they are, and there are several: {known[0]['name']}, ...")
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
