"""What a report's page shows: answers, notices, charts and tables of its runs, and what each ran on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...edges.sharing import shareable
from ...errors import VlagymError
from ..compare.comparison import Comparison, Question, compare_sides
from ..compare.output import comparison_sheet
from ..compare.sources import Side, side_of_run
from ..tables.methods import tasks_sheet
from ..tables.realtime import realtime_sheet
from ..tables.runs import Run
from ..tables.subtasks import steps_sheet, subtask_sheet
from ..tables.success import chain_sheet, success_sheet
from ..tables.variants import category_sheet
from . import charts
from .answers import answers
from .delays import delays_of, drops_sheet
from .why import Why

_MOST_NAMED = 3  # runs in a title


def page_of(runs: Mapping[str, Run], question: Question, why: Mapping[str, Why]) -> dict[str, Any]:
    """What the template shows."""
    tables = {name: run.table() for name, run in runs.items()}
    chains = {name: run.chains() for name, run in runs.items()}
    suites = list(dict.fromkeys(leg["suite"] for run in runs.values() for leg in run.header["legs"]))
    sides = {name: side_of_run(run) for name, run in runs.items()}
    comparisons = _comparisons(sides, question)
    seconds = {name: charts.mean_seconds(run) for name, run in runs.items()}
    figures = {"averages": charts.averages_chart(tables), "steps": charts.steps_chart(runs)}
    figures["time"] = charts.time_chart(runs, seconds)
    categories = {name: table for name, run in runs.items() if len(table := run.categories())}
    if categories:
        figures |= {"categories": charts.categories_chart(categories), "levels": charts.levels_chart(categories)}
    figures |= {f"tasks-{number}": charts.tasks_chart(tables, suite) for number, suite in enumerate(suites)}
    delays = delays_of(runs, question)
    if delays:
        figures |= {"delays": charts.delays_chart(delays.success), "drops": charts.drops_chart(delays.drop)}
    timings = {name: table for name, run in runs.items() if len(table := run.timings())}
    compared = [(number, c) for number, c in enumerate(comparisons) if isinstance(c, Comparison)]
    figures |= {f"differences-{number}": charts.differences_chart(comparison) for number, comparison in compared}
    return {
        "title": _title(runs),
        "runs": [_facts(name, run) for name, run in runs.items()],
        "notices": list(dict.fromkeys(notice for run in runs.values() for notice in run.notices)),
        "answers": [answer for name, run in runs.items() for answer in answers(name, run, tables[name], chains[name])],
        "gaps": [f"{name} is incomplete: {', '.join(gaps)}." for name, side in sides.items() if (gaps := side.gaps)],
        "success": [(name, success_sheet(table)) for name, table in tables.items()],
        "tasks": tasks_sheet(tables) if len(runs) > 1 else None,
        "chains": [(name, chain_sheet(table)) for name, table in chains.items() if len(table)],
        "subtasks": [(name, subtask_sheet(table)) for name, run in runs.items() if len(table := run.subtasks())],
        "durations": [(name, steps_sheet(table)) for name, run in runs.items() if len(table := run.steps())],
        "categories": [(name, category_sheet(table)) for name, table in categories.items()],
        "delays": drops_sheet(delays) if delays else None,
        "why": [(name, each.sheets) for name, each in why.items()],
        "timings": [(name, realtime_sheet(table)) for name, table in timings.items()],
        "suites": suites,
        "comparisons": [_shown(comparison) for comparison in comparisons],
        "seconds": [(name, suite, spent) for name, of_run in seconds.items() for suite, spent in of_run.items()],
        "several": len(runs) > 1,
        "figures": figures,
    }


def _title(runs: Mapping[str, Run]) -> str:
    """What the page is of: its runs by name; where they are many, the folder that they share, as those of a sweep do."""
    if len(runs) <= _MOST_NAMED:
        return ", ".join(runs)
    folders = {run.path.resolve().parent for run in runs.values()}
    return f"{folders.pop().name}: {len(runs)} runs" if len(folders) == 1 else f"{next(iter(runs))} and {len(runs) - 1} other runs"


def _comparisons(sides: Mapping[str, Side], question: Question) -> list[Comparison | str]:
    """Every run against the first; in words why one cannot be compared."""
    baseline, *others = sides.items()
    found: list[Comparison | str] = []
    for name, side in others:
        try:
            found.append(compare_sides(baseline[1], side, question))
        except VlagymError as error:
            found.append(f"{name} is not compared: {error}")
    return found


def _shown(comparison: Comparison | str) -> dict[str, Any]:
    if isinstance(comparison, str):
        return {"problem": comparison}
    return {
        "problem": None,
        "baseline": comparison.baseline,
        "current": comparison.current,
        "verdict": comparison.verdict,
        "reason": comparison.reason,
        "notes": comparison.notes,
        "sheet": comparison_sheet(comparison),
    }


_OF_THE_MACHINE = ("Machine", "Command")


def shareable_page(page: dict[str, Any]) -> dict[str, Any]:
    """What the template shows, for others: no paths, no hosts, no machine, no command."""
    for run in page["runs"]:
        run["path"] = run["name"]
        run["facts"] = {name: value for name, value in run["facts"].items() if name not in _OF_THE_MACHINE}
    shared: dict[str, Any] = shareable(page)
    return shared


def _facts(name: str, run: Run) -> dict[str, Any]:
    """What a run ran on."""
    header = run.header
    packages = ", ".join(f"{package} {version}" for package, version in header["packages"].items())
    facts = {
        "Started": header["created"],
        "Episodes": f"{len(run.results) - len(run.errors)} of {len(run.plan)}, {len(run.errors)} errors",
        "vlagym": f"{header['vlagym']}" + (f", commit {header['commit']}" if header["commit"] else ""),
        "Python": header["python"],
        "Packages": packages,
        "Machine": f"{header['platform']}, {header['cpu']}, {header['cores']} cores",
        "Command": " ".join(header["command"]),
        "Resumed": len(header.get("resumed", [])),
    }
    if gate := header.get("gate"):
        facts["Gate"] = f"{gate['verdict']} (look {gate['look']} of {gate['looks']} against {gate['baseline']}): {gate['reason']}"
    return {"name": name, "path": str(run.path), "facts": facts, "legs": [_leg_facts(leg) for leg in header["legs"]]}


def _leg_facts(leg: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "suite": leg["suite"],
        "policy": leg["policy"]["name"],
        "facts": {
            "protocol": leg["protocol_sha256"],
            **_flat(leg["suite_provenance"], "suite: "),
            **_flat(leg["policy_provenance"] or {}, "policy: "),
        },
        "details": {"Protocol": json.dumps(leg["protocol"], indent=2), "Policy's settings": json.dumps(leg["policy"], indent=2)},
    }


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, str]:
    """Nested records as one, with dotted names."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return flat
