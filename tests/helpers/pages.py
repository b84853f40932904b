"""The documentation as text: README, what stands beside it, and docs/; and the commands in it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

REPO = Path(__file__).parents[2]
SITE = tuple(sorted((REPO / "docs").rglob("*.md")))
PAGES = (*(REPO / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *SITE)
_COMMAND = re.compile(r"`vla-eval ([^`]+)`|^\s*vla-eval ([^&#\n]+)", re.M)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def named(page: Path) -> str:
    """The page's path in the repository."""
    return page.relative_to(REPO).as_posix()


def commands_of(page: Path) -> list[str]:
    """What follows `vla-eval` in a page, in its text and in its blocks, each once."""
    return sorted({(a or b).strip() for a, b in _COMMAND.findall(text_of(page))})


def write_files(folder: Path) -> None:
    """Write the files that pages show whole: a block whose first line (of a recipe: the second) is its name."""
    for page in PAGES:
        for code in re.findall(r"^ *```(?:python|yaml)\n(.*?)^ *```", text_of(page), re.S | re.M):
            if named_file := re.match(r" *(?:# @package policy\n)?# (\w[\w/-]*\.(?:py|yaml))\n", code):
                (folder / named_file[1]).parent.mkdir(parents=True, exist_ok=True)
                (folder / named_file[1]).write_text(textwrap.dedent(code), encoding="utf-8")


def write_demonstrations(folder: Path) -> None:
    """Write files of demonstrations that pages name; what is in them is enough for reading a command."""
    import h5py
    import numpy as np

    for name in {name for page in PAGES for name in re.findall(r"policy\.run=(\w+_demo\.hdf5)", text_of(page))}:
        with h5py.File(folder / name, "w") as file:
            file["data/demo_0/actions"], file["data/demo_0/states"] = np.zeros((2, 7)), np.zeros((2, 5))


def blocks_of(page: Path, language: str) -> list[str]:
    """The blocks of code of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.S | re.M)
