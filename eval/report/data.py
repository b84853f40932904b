"""What a report's script is given: every planned episode of any run, column by column, so that the page stays fast with many."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...episode import EpisodeResult, EpisodeSpec
from ..tables.runs import Run
from ..tables.success import links_done

Placed = dict[tuple[str, EpisodeSpec], str | None]  # (run, episode) -> name of its video in the report; None: it is not there

# Codes of outcomes in the page's data.
_FAILURE, _SUCCESS, _ERROR, _NOT_RUN, _NOT_PLANNED = range(5)


def page_data(
    runs: Mapping[str, Run], placed: Placed, reasons_of: Mapping[str, Mapping[EpisodeSpec, str]] | None = None
) -> dict[str, Any]:
    """Every planned episode of any run, column by column, names as indices into lists.

    Args:
        runs: By their names.
        placed: Their videos.
        reasons_of: What went wrong in failed episodes, for runs where that is known.
    """
    specs = list(dict.fromkeys(spec for run in runs.values() for spec in run.plan))
    suites, tasks, instructions, categories, reasons = (_Index() for _ in range(5))
    variants = {key: variant for run in runs.values() for key, variant in run.variants.items()}
    changes = [variants.get((spec.suite, spec.task, spec.trial)) for spec in specs]
    planned = {key: sentence for run in runs.values() for key, sentence in _planned_sentences(run)}
    sentences = {result.spec: result.instruction for run in runs.values() for result in run.results}
    return {
        "runs": list(runs),
        "suite": [suites[spec.suite] for spec in specs],
        "task": [tasks[spec.task] for spec in specs],
        "trial": [spec.trial for spec in specs],
        "seed": [spec.seed for spec in specs],
        "instruction": [instructions[sentences.get(spec, planned.get((spec.suite, spec.task), ""))] for spec in specs],
        "category": [categories[change.category] if change else None for change in changes],
        "level": [change.level if change else None for change in changes],
        "variant": [change.name if change else "" for change in changes],
        "categories": categories.names,
        "suites": suites.names,
        "tasks": tasks.names,
        "instructions": instructions.names,
        "columns": [
            {**_columns(name, run, specs, placed), "reason": _numbered((reasons_of or {}).get(name, {}), specs, reasons)}
            for name, run in runs.items()
        ],
        "reasons": reasons.names,
    }


def _planned_sentences(run: Run) -> Iterator[tuple[tuple[str, str], str]]:
    """What will be asked for in a task, as far as the plan says."""
    for leg in run.header["legs"]:
        for task in leg["tasks"]:
            yield (leg["suite"], task["name"]), task["instruction"]


def _numbered(reasons_of: Mapping[EpisodeSpec, str], specs: Sequence[EpisodeSpec], reasons: _Index) -> dict[int, int]:
    return {number: reasons[reasons_of[spec]] for number, spec in enumerate(specs) if spec in reasons_of}


class _Index(dict[str, int]):
    """Numbers names in the order in which they are asked for."""

    def __missing__(self, name: str) -> int:
        self[name] = len(self)
        return self[name]

    @property
    def names(self) -> list[str]:
        return list(self)


def _columns(name: str, run: Run, specs: Sequence[EpisodeSpec], placed: Placed) -> dict[str, Any]:
    """One run's side of every episode; of what only some have (videos, errors), by number."""
    missing = set(run.missing)
    outcome, steps, links = [], [], []
    found: dict[str, dict[int, Any]] = {"video": {}, "missing": {}, "error": {}, "subtasks": {}}
    for number, spec in enumerate(specs):
        result = run.by_spec.get(spec)
        outcome.append(_outcome(result) if result else _NOT_RUN if spec in missing else _NOT_PLANNED)
        steps.append(result.steps if result else 0)
        links.append(links_done(result) if result else 0)
        if result is None:
            continue
        if result.subtasks:
            found["subtasks"][number] = [[subtask.name, subtask.success] for subtask in result.subtasks]
        if result.error:
            found["error"][number] = result.error[-2000:]
        if said := result.execution.get("video"):
            video = placed.get((name, spec))
            found["video" if video else "missing"][number] = video or Path(said).name
    return {"outcome": outcome, "steps": steps, "links": links if any(links) else None, **found}


def _outcome(result: EpisodeResult) -> int:
    if result.error is not None:
        return _ERROR
    return _SUCCESS if result.success else _FAILURE


def script_json(value: Any) -> str:
    """JSON that can stand in a script: no ``</script>``, no line separators that JavaScript would take for line ends."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
