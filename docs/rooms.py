"""The rooms of the package and what imports what, read from the source; draws the picture in architecture.md.

Run it again when rooms change: ``python docs/rooms.py``. A test compares the picture, and finds circles and arrows that point up.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).parents[1]
PARTS = ("conf", "edges", "envs", "eval", "policies")
# From the top floor down: a module imports from its own room and from floors further down.
FLOORS = (
    {"eval/python"},
    {"eval/cli"},
    {"eval/bench", "eval/failures", "eval/gate", "eval/publish", "eval/report"},
    {"eval/run", "eval/compare"},
    {"eval/record"},
    {"eval/tables"},
    {"eval/plan"},
    {"policies"},
    {"envs"},
    {"conf"},
    {"edges"},
)
PAGE = REPO / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: made by docs/rooms.py -->", "<!-- end of rooms -->"


def module_name(file: Path) -> str:
    """``eval.run.runner`` for eval/run/runner.py."""
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


def room(module: str) -> str:
    """``eval/run`` for eval.run.runner."""
    return "/".join(module.split(".")[: 2 if module.startswith("eval.") else 1])


def floor(module: str) -> int | None:
    """Number of the floor that a module is on, 0 at the top; None for one outside all rooms."""
    return next((number for number, rooms in enumerate(FLOORS) if room(module) in rooms), None)


def picture() -> str:
    """One line per room, top floor first: its name and the rooms that it imports from."""
    lines = []
    for rooms in FLOORS:
        for name in sorted(rooms):
            targets = {room(target) for module, found in GRAPH.items() if room(module) == name for target in found} - {name}
            below = [other for others in FLOORS for other in sorted(others) if other in targets]
            lines.append(f"{name:<12} -> {', '.join(below)}" if below else name)
        lines.append("")
    return "\n".join(lines).rstrip()


def page_with_picture(text: str) -> str:
    """The page's text with the picture made anew."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n```text\n{picture()}\n```\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page_with_picture(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
