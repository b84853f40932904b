"""Where settings are: vlagym's own conf/, folders that installed packages offer, and one of the user's (``--config-dir FOLDER``).

A folder of another's holds ``suite/``, ``policy/``, ``recipe/`` and ``variation/`` with NAME.yaml files, as conf/ does. No two
folders have a file of the same name: what a name means never depends on which folder is looked at first.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .._registry import ENTRY_POINTS, did_you_mean
from ..errors import ConfigError

CONF_DIR = Path(__file__).parent
GROUPS = ("policy", "recipe", "suite", "variation")  # what a folder of another's may add to
VARIABLE = "VLAGYM_CONFIG_DIR"
PACKAGES = "vlagym.conf"  # entry points: NAME = "package.folder"

_NAME = re.compile(r"\w[\w.-]*")
_PACKAGE = re.compile(r"#\s*@package\s+(\S+)")
_HOLDS = f"A folder of settings holds {', '.join(f'{group}/' for group in GROUPS)} with NAME.yaml files in them."


@dataclass(frozen=True)
class Folder:
    """A folder of settings.

    Attributes:
        path: Where it is.
        whose: What lists call it: ``vlagym``, a package, or the path of a folder of the user's.
    """

    path: Path
    whose: str

    def files(self, group: str) -> dict[str, Path]:
        """The files of a group by their names; those that start with ``_`` are shared parts, not choices."""
        return {file.stem: file for file in sorted((self.path / group).glob("*.yaml"))}


OURS = Folder(CONF_DIR, "vlagym")


def folders() -> tuple[Folder, ...]:
    """All folders of settings, vlagym's own first.

    Raises:
        ConfigError: One of the others is not a folder of settings, or two have a file of one name.
    """
    own = os.environ.get(VARIABLE)
    added = [*package_folders(), *([Folder(Path(own).expanduser().absolute(), own)] if own else [])]
    for folder in added:
        _check_layout(folder)
    _check_names((OURS, *added))
    if own:
        _check_not_offered(added[-1])
    return (OURS, *added)


def package_folders() -> tuple[Folder, ...]:
    """The folders that installed packages offer; nothing of the packages is imported, and nothing checked."""
    return _package_folders(tuple(sys.path))


@contextmanager
def in_force(folder: str | os.PathLike[str] | None) -> Iterator[None]:
    """While it lasts this folder is the user's own, in this process and in those that it starts; None leaves it as it is."""
    if folder is None:
        yield
        return
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(Path(folder).expanduser().absolute())
    try:
        folders()
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


@cache
def _package_folders(path: tuple[str, ...]) -> tuple[Folder, ...]:
    """As above, for a `sys.path`: what is installed is looked up once."""
    from importlib.metadata import entry_points

    found = {}
    for entry in entry_points(group=PACKAGES):
        package, *rest = entry.value.split(".")
        spec = find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            found[entry.value] = Folder(Path(place, *rest), entry.value)
    return tuple(found[name] for name in sorted(found))


def _check_layout(folder: Folder) -> None:
    """Make sure that nothing in a folder would be passed over."""
    if not folder.path.is_dir():
        raise ConfigError(f"{folder.path} is no folder, so it holds no settings.")
    for entry in sorted(folder.path.iterdir()):
        if entry.name.startswith((".", "__")) or entry.name in GROUPS:
            continue
        if entry.is_dir():
            raise ConfigError(f"{entry}: there is no such group of settings.{did_you_mean(entry.name, GROUPS)} {_HOLDS}")
        if entry.suffix in (".yaml", ".yml"):
            raise ConfigError(f"{entry} belongs to no group of settings, so nothing would read it. {_HOLDS}")
    for group in GROUPS:
        for entry in sorted((folder.path / group).glob("*")):
            if entry.is_dir() and not entry.name.startswith((".", "__")):
                raise ConfigError(f"{entry} is a folder, and nothing would read what is in it; put its files into {entry.parent}.")
            if entry.suffix == ".yml":
                raise ConfigError(f"{entry}: call it {entry.stem}.yaml, or it is not found.")
            if entry.suffix == ".yaml":
                stat = entry.stat()
                _check_file(group, entry, stat.st_mtime_ns, stat.st_size)
    if not any(folder.files(group) for group in GROUPS):
        raise ConfigError(f"{folder.path} holds no settings. {_HOLDS}")


@cache
def _check_file(group: str, file: Path, changed: int, size: int) -> None:
    """Make sure that a file is one of its group; looked at again when it has changed."""
    from ..edges.files import FileKind

    if not _NAME.fullmatch(file.stem):
        raise ConfigError(f"{file}: {group}={file.stem} could not be typed; name it with letters, digits, _ and - only.")
    kind = FileKind(f"a file of settings ({group}=NAME)", ConfigError, "Compare it with those in vlagym's conf/.", 1 << 20)
    if not isinstance(kind.yaml(file), dict):
        raise kind.fault(file, "it is no mapping of settings")
    package = _PACKAGE.match(kind.text(file).lstrip())  # Hydra looks no further than the first line
    if group == "recipe" and (package is None or package[1] != "policy"):
        raise ConfigError(f"{file}: a recipe begins with the line `# @package policy`, which says whose settings it gives.")
    if group != "recipe" and package is not None:
        raise ConfigError(f"{file}: `{package[0]}` cannot be said here; a file of {group}/ gives settings of the {group} only.")


def _check_names(everyone: tuple[Folder, ...]) -> None:
    for group in GROUPS:
        seen: dict[str, Path] = {}
        for folder in everyone:
            for name, file in folder.files(group).items():
                if name in seen:
                    change = f", and begin it with `defaults: [{name}, _self_]` to change a part of that one"
                    raise ConfigError(
                        f"{file}: there is a {group} {name!r} already, in {seen[name]}. Give yours another name"
                        f"{change if group != 'variation' else ''}."
                    )
                seen[name] = file


def _check_not_offered(own: Folder) -> None:
    """A package's own suite or policy keeps its name, too."""
    from importlib.metadata import entry_points

    for group, offered in ENTRY_POINTS.items():
        files = own.files(group)
        for entry in entry_points(group=offered) if files else ():
            if entry.name in files:
                raise ConfigError(
                    f"{files[entry.name]}: there is a {group} {entry.name!r} already, from {entry.value}. Give yours another name."
                )
