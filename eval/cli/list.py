"""`vla-eval list`: what can be run, without importing a simulator or a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.measure import Measurement
from rich.table import Table

from ..._registry import unknown_name
from ...conf import group_names, setting_needed, suite_members, suite_settings, whose
from ...envs.registry import BENCHMARKS, make_suite
from ...envs.suite import Suite
from ...envs.variation import described, read_variation
from ...errors import ConfigError
from ...policies.registry import POLICIES
from ..plan.config import compose_settings
from ..record.console import make_console
from .arguments import CommandParser

_PLURALS = {
    **dict.fromkeys(("suites", "suite"), "suites"),
    **dict.fromkeys(("policies", "policy"), "policies"),
    **dict.fromkeys(("recipes", "recipe"), "recipes"),
    **dict.fromkeys(("variations", "variation"), "variations"),
}


def main(argv: Sequence[str]) -> int:
    """List suites and policies, or the tasks and cameras of one suite; returns the exit code.

    Raises:
        ConfigError: No such suite or policy; near names are suggested.
    """
    parser = CommandParser(prog="vla-eval list", description="List suites and policies, or the tasks and cameras of one suite.")
    parser.add_argument(
        "what",
        nargs="?",
        help="suites, policies, recipes, variations, or the name of a suite, a set of suites or a policy",
    )
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
        return {_PLURALS[what]: list(_LISTS[_PLURALS[what]]())}
    if members := suite_members(what):
        return {title: rows for member in members for title, rows in _one_suite(member).items()}
    if what in group_names("suite") or what in BENCHMARKS.plugins():
        return _one_suite(what)
    rows = [row for row in _policies() if row["policy"] == what]
    if rows:
        return {"policies": rows}
    known = {*group_names("suite"), *BENCHMARKS.plugins(), *group_names("policy"), *POLICIES.plugins()}
    raise unknown_name("suite or policy", what, known)


def _one_suite(name: str) -> dict[str, list[dict[str, Any]]]:
    suite = _suite(name)
    return {name: _tasks(suite), f"cameras of {name}": _cameras(suite)}


def _suite(name: str) -> Suite:
    if name in group_names("suite"):
        return make_suite(suite_settings(name))
    settings: dict[str, Any] = compose_settings([f"suite={name}"])["suite"]
    return make_suite(settings)


def _suites() -> Iterable[dict[str, Any]]:
    for name in group_names("suite"):
        if members := suite_members(name):
            yield _suite_row(name, control=f"= {', '.join(members)}")
            continue
        if needed := setting_needed(name):
            yield _suite_row(name, control=f"with suite.{needed}=...")
            continue
        try:
            suite = _suite(name)
        except ConfigError as error:  # a file of the user's, or of another package
            yield _suite_row(name, control=str(error))
            continue
        tasks = suite.tasks()
        cameras = ", ".join(f"{row['camera']} {row['width']}x{row['height']}" for row in _cameras(suite))
        episodes = sum(task.trials for task in tasks)
        yield _suite_row(name, len(tasks), episodes, cameras, f"{suite.action_spec.control_hz:g} Hz")
    for name, entry in BENCHMARKS.plugins().items():
        if name not in group_names("suite"):
            yield {**_suite_row(name), "from": entry.value}


def _suite_row(name: str, tasks: Any = "", episodes: Any = "", cameras: str = "", control: str = "") -> dict[str, Any]:
    row = {"suite": name, "tasks": tasks, "episodes": episodes, "cameras": cameras, "control": control}
    return {**row, "from": whose("suite", name) or ""}


def _policies() -> Iterable[dict[str, Any]]:
    recipes = group_names("recipe")
    plugins = {name: entry.value for name, entry in POLICIES.plugins().items()}
    for name in [*group_names("policy"), *(name for name in plugins if name not in group_names("policy"))]:
        suites = [recipe.removeprefix(f"{name}-") for recipe in recipes if recipe.startswith(f"{name}-")]
        yield {"policy": name, "recipes for": ", ".join(suites), "from": whose("policy", name) or plugins[name]}


def _recipes() -> Iterable[dict[str, Any]]:
    for name in group_names("recipe"):
        policy, _, suite = name.partition("-")
        yield {"recipe": name, "policy": policy, "suite": suite, "from": whose("recipe", name)}


def _variations() -> Iterable[dict[str, Any]]:
    for name in group_names("variation"):
        yield {"variation": name, "changes": described(read_variation(name)), "from": whose("variation", name)}


_LISTS: dict[str, Callable[[], Iterable[dict[str, Any]]]] = {
    "suites": _suites,
    "policies": _policies,
    "recipes": _recipes,
    "variations": _variations,
}


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
