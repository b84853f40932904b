"""Rooms: what imports what, read from the source. No module is in a circle, and no arrow points back up."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("rooms", Path(__file__).parents[1] / "docs" / "rooms.py")
assert _spec is not None
assert _spec.loader is not None
rooms = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(rooms)
FILES, GRAPH, floor = rooms.FILES, rooms.GRAPH, rooms.floor
BENCHMARKS = ("robosuite", "libero", "calvin", "simpler")


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
        if module != "eval" and floor(module) > floor(target)
    ]
    assert not up
    across = [
        f"{module} imports {target}"
        for module, targets in GRAPH.items()
        for target in targets
        if floor(module) == floor(target) and rooms.room(module) != rooms.room(target)
    ]
    assert not across


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_a_benchmark_is_settings_below_env_below_suite(benchmark: str) -> None:
    settings, env, suite = (f"envs.{benchmark}.{name}" for name in ("settings", "env", "suite"))
    assert settings in GRAPH[env]
    assert suite not in GRAPH[env]
    assert {settings, env} <= {*GRAPH[suite]}
    assert not {env, suite} & {*GRAPH[settings]}


def test_the_picture_in_the_documentation_is_current() -> None:
    page = rooms.PAGE.read_text(encoding="utf-8")
    assert rooms.page_with_picture(page) == page, "run: python docs/rooms.py"
