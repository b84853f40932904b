"""Rooms: what imports what, read from the source. No module is in a circle, and no arrow points back up."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
PARTS = ("conf", "envs", "eval", "policies")
# From the top floor down: a module imports from its own room and from floors further down.
FLOORS = (
    {"eval/cli"},
    {"eval/bench", "eval/gate", "eval/report"},
    {"eval/run", "eval/compare"},
    {"eval/record"},
    {"eval/tables"},
    {"eval/plan"},
    {"policies"},
    {"envs"},
    {"conf"},
)
BENCHMARKS = ("robosuite", "libero", "calvin", "simpler")


def module_name(file: Path) -> str:
    parts = file.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(file): file for part in PARTS for file in (REPO / part).rglob("*.py")}


def imported_modules(module: str) -> Iterator[str]:
    """Modules of these parts that a module imports anywhere in its text, for types only or within a function included."""
    file = FILES[module]
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        parents = package.split(".")
        base = parents[: len(parents) - node.level + 1]
        named = ".".join([*base, *([node.module] if node.module else [])])
        for alias in node.names:
            submodule = f"{named}.{alias.name}".lstrip(".")
            target = submodule if submodule in FILES else named
            if target in FILES:
                yield target


GRAPH = {module: sorted({*imported_modules(module)} - {module}) for module in FILES}


def floor(module: str) -> int | None:
    room = "/".join(module.split(".")[: 2 if module.startswith("eval.") else 1])
    return next((number for number, rooms in enumerate(FLOORS) if room in rooms), None)


def circle(graph: dict[str, list[str]]) -> list[str]:
    """The modules of one circle, the first repeated at the end; empty if there is none."""
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        found = next((c for target in graph[module] if (c := walk(target, [*path, module]))), [])
        done.add(module)
        return found

    return next((c for module in sorted(graph) if (c := walk(module, []))), [])


def test_no_module_is_in_a_circle() -> None:
    assert not circle(GRAPH)


def test_the_check_finds_a_circle() -> None:
    assert circle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]


def test_every_arrow_points_down() -> None:
    assert [m for m in FILES if floor(m) is None] == ["eval"], "a room without a floor"
    up = [
        f"{module} imports {target}"
        for module, targets in GRAPH.items()
        for target in targets
        if floor(module) is not None and floor(target) is not None and floor(module) > floor(target)  # type: ignore[operator]
    ]
    assert not up
    across = [
        f"{module} imports {target}"
        for module, targets in GRAPH.items()
        for target in targets
        if floor(module) == floor(target) and module.split(".")[:2] != target.split(".")[:2] and module.startswith("eval.")
    ]
    assert not across


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_a_benchmark_is_settings_below_env_below_suite(benchmark: str) -> None:
    settings, env, suite = (f"envs.{benchmark}.{name}" for name in ("settings", "env", "suite"))
    assert settings in GRAPH[env]
    assert suite not in GRAPH[env]
    assert {settings, env} <= {*GRAPH[suite]}
    assert not {env, suite} & {*GRAPH[settings]}
