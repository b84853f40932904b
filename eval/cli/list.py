"""`vla-eval list`: what can be run, without importing a simulator or a model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.measure import Measurement
from rich.table import Table

from ..._registry import unknown_name
from ...conf import group_names, setting_needed, suite_members, suite_settings
from ...envs.registry import BENCHMARKS, make_suite
from ...envs.suite import Suite
from ...errors import ConfigError
from ...policies.registry import POLICIES
from ..plan.config import compose_settings
from ..record.console import make_console
from .arguments import CommandParser

_PLURALS = {"suites": "suite", "suite": "suite", "policies": "policy", "policy": "policy"}


def main(argv: Sequence[str]) -> int:
    """List suites and policies, or the tasks and cameras of one suite; returns the exit code.

    Raises:
        ConfigError: No such suite or policy; near names are suggested.
    """
    parser = CommandParser(prog="vla-eval list", description="List suites and policies, or the tasks and cameras of one suite.")
    parser.add_argument("what", nargs="?", help="suites, policies, or the name of a suite, a set of suites or a policy")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    listed = _listed(arguments.what)
    if arguments.json:
        print(json.dumps(listed, indent=2))
        return 0
    console = make_console()
    for name, rows in listed.items():
        table = _table(name, rows)
        if not console.is_terminal:  # a file or a pipe is as wide as it takes
            console.width = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
        console.print(table)
    return 0


def _listed(what: str | None) -> dict[str, list[dict[str, Any]]]:
    """Rows by the title of their table."""
    what = what.removeprefix("suite=").removeprefix("policy=") if what else None
    if what is None:
        return {"suites": list(_suites()), "policies": list(_policies())}
    if what in _PLURALS:
        return {"suites": list(_suites())} if _PLURALS[what] == "suite" else {"policies": list(_policies())}
    if members := suite_members(what):
        return {member: _tasks(_suite(member)) for member in members}
    if what in group_names("suite") or what in BENCHMARKS.plugins():
        suite = _suite(what)
        return {what: _tasks(suite), f"cameras of {what}": _cameras(suite)}
    rows = [row for row in _policies() if row["policy"] == what]
    if rows:
        return {"policies": rows}
    known = {*group_names("suite"), *BENCHMARKS.plugins(), *group_names("policy"), *POLICIES.plugins()}
    raise unknown_name("suite or policy", what, known)


def _suite(name: str) -> Suite:
    if name in group_names("suite"):
        return make_suite(suite_settings(name))
    settings: dict[str, Any] = compose_settings([f"suite={name}"])["suite"]
    return make_suite(settings)


def _suites() -> Iterable[dict[str, Any]]:
    for name in group_names("suite"):
        if members := suite_members(name):
            yield {"suite": name, "tasks": "", "episodes": "", "cameras": "", "control": f"= {', '.join(members)}"}
            continue
        if needed := setting_needed(name):
            yield {"suite": name, "tasks": "", "episodes": "", "cameras": "", "control": f"with suite.{needed}=..."}
            continue
        suite = _suite(name)
        tasks = suite.tasks()
        yield {
            "suite": name,
            "tasks": len(tasks),
            "episodes": sum(task.trials for task in tasks),
            "cameras": ", ".join(f"{row['camera']} {row['width']}x{row['height']}" for row in _cameras(suite)),
            "control": f"{suite.action_spec.control_hz:g} Hz",
        }
    for name, entry in BENCHMARKS.plugins().items():
        yield {"suite": name, "tasks": "", "episodes": "", "cameras": "", "control": f"from {entry.value}"}


def _policies() -> Iterable[dict[str, Any]]:
    recipes = group_names("recipe")
    for name in group_names("policy"):
        suites = [recipe.removeprefix(f"{name}-") for recipe in recipes if recipe.startswith(f"{name}-")]
        yield {"policy": name, "recipes for": ", ".join(suites), "from": "vlagym"}
    for name, entry in POLICIES.plugins().items():
        yield {"policy": name, "recipes for": "", "from": entry.value}


def _tasks(suite: Suite) -> list[dict[str, Any]]:
    return [
        {"": index, "task": task.name, "instruction": task.instruction, "trials": task.trials, "horizon": task.horizon}
        for index, task in enumerate(suite.tasks())
    ]


def _cameras(suite: Suite) -> list[dict[str, Any]]:
    return [{"camera": name, "width": width, "height": height} for name, (height, width) in suite.camera_sizes.items()]


def _table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    """What does not fit a terminal is folded, not cut."""
    if not rows:
        raise ConfigError(f"{title}: there is nothing to list.")
    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(str, row.values()))
    return table
