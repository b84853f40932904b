"""``vla-eval new``: a package of one's own with a suite or a policy that works, and a test that passes."""

from __future__ import annotations

import keyword
import re
import shlex
import shutil
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from ..._registry import ENTRY_POINTS, Registry
from ...conf import group_names
from ...envs.registry import BENCHMARKS
from ...errors import ConfigError
from ...policies.registry import POLICIES
from .arguments import CommandParser

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_REGISTRIES: dict[str, Registry[object]] = {"suite": BENCHMARKS, "policy": POLICIES}  # type: ignore[dict-item]  # only names are asked for
_SUMMARIES = {"suite": "A benchmark for vlagym", "policy": "A policy for vlagym"}


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval new ARGV``; returns 0.

    Raises:
        ConfigError: A name that cannot be one, or is taken, or a folder that is there already.
    """
    parser = CommandParser(
        prog="vla-eval new",
        description="Write a package of your own: a suite or a policy that works, its entry point and a test that passes.",
    )
    parser.add_argument("kind", choices=sorted(_REGISTRIES), help="what it offers")
    parser.add_argument("name", help="what it is called: suite=NAME or policy=NAME, and the package")
    parser.add_argument("--folder", type=Path, help="where to write it; a folder called NAME by default")
    arguments = parser.parse_args(argv)
    _check_name(arguments.kind, arguments.name)
    folder = write_package(arguments.kind, arguments.name, arguments.folder or Path(arguments.name))
    print(f"written: {folder}")
    print(f"next:    cd {shlex.quote(str(folder))} && python -m pip install -e . && python -m pytest")
    print(f"         vla-eval {arguments.kind}={arguments.name}{_with(arguments.kind)}")
    return 0


def write_package(kind: str, name: str, folder: Path) -> Path:
    """Write the package of a suite or a policy into a folder that is not there yet.

    Raises:
        ConfigError: It is there.
        OSError: It cannot be written; nothing of it is left.
    """
    words = {
        "name": name,
        "project": name.replace("_", "-"),
        "cls": "".join(part.capitalize() for part in name.split("_")) + kind.capitalize(),
        "module": kind,
        "group": ENTRY_POINTS[kind],
        "summary": _SUMMARIES[kind],
    }
    templates = files(__package__) / "templates"
    written = {
        "pyproject.toml": "pyproject.toml.txt",
        "README.md": f"{kind}_readme.md.txt",
        f"{name}/__init__.py": f"{kind}_init.py.txt",
        f"{name}/{kind}.py": f"{kind}.py.txt",
        f"tests/test_{kind}.py": f"{kind}_test.py.txt",
    }
    texts = {file: Template((templates / of).read_text(encoding="utf-8")).substitute(words) for file, of in written.items()}
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise ConfigError(f"{folder} is there already, and nothing of it is overwritten; choose another folder=FOLDER.") from error
    try:
        for file, text in texts.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(text, encoding="utf-8")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _check_name(kind: str, name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigError(f"{name!r} cannot be the name of a Python package: small letters, digits and _, a letter first.")
    if name in {*group_names(kind), *_REGISTRIES[kind].names()}:
        raise ConfigError(f"there is a {kind} {name!r} already; choose another name.")
    if find_spec(name) is not None:
        raise ConfigError(f"there is a Python package {name!r} already, which yours would hide; choose another name.")


def _with(kind: str) -> str:
    """What makes a first run of it a sensible one."""
    return " policy=random" if kind == "suite" else " policy.speed=0.5"
