"""`vla-eval list`: what can be run, without importing a simulator or a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.table import Table

from ...conf import group_names, suite_members, suite_settings
from ...envs.registry import BENCHMARKS, make_suite
from ...policies.registry import POLICIES
from ..record.console import make_console


def main(argv: Sequence[str]) -> int:
    """List suites and policies, or the tasks of one suite; returns the exit code."""
    parser = argparse.ArgumentParser(prog="vla-eval list", description="List suites and policies, or the tasks of one suite.")
    parser.add_argument("suite", nargs="?", help="list this suite's tasks with their instructions")
    arguments = parser.parse_args(argv)
    console = make_console()
    console.print(_tasks(arguments.suite) if arguments.suite else _suites())
    if not arguments.suite:
        console.print(_policies())
    return 0


def _suites() -> Table:
    table = Table("suite", "tasks", "episodes", "cameras", "control")
    for name in group_names("suite"):
        members = suite_members(name)
        if members:
            table.add_row(name, "", "", "", f"= {', '.join(members)}")
            continue
        suite = make_suite(suite_settings(name))
        tasks = suite.tasks()
        cameras = ", ".join(f"{camera} {width}x{height}" for camera, (height, width) in suite.camera_sizes.items())
        table.add_row(name, str(len(tasks)), str(sum(t.trials for t in tasks)), cameras, f"{suite.action_spec.control_hz:g} Hz")
    for name, entry in BENCHMARKS.plugins().items():
        table.add_row(name, "", "", "", f"from {entry.value}")
    return table


def _policies() -> Table:
    table = Table("policy", "recipes for", "from")
    recipes = group_names("recipe")
    for name in group_names("policy"):
        suites = [recipe.removeprefix(f"{name}-") for recipe in recipes if recipe.startswith(f"{name}-")]
        table.add_row(name, ", ".join(suites), "vlagym")
    for name, entry in POLICIES.plugins().items():
        table.add_row(name, "", entry.value)
    return table


def _tasks(name: str) -> Table:
    suite = make_suite(suite_settings(name))
    table = Table("", "task", "instruction", "trials", "horizon")
    for index, task in enumerate(suite.tasks()):
        table.add_row(str(index), task.name, task.instruction, str(task.trials), str(task.horizon))
    return table
