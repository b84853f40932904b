"""Hydra configuration: config.yaml, suite/, policy/, and one file per (policy, suite) pair that needs its own settings.

Other packages and the user add folders of their own (`vlagym.conf.folders`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .folders import CONF_DIR, OURS, Folder, folders, in_force, package_folders

__all__ = [
    "CONF_DIR",
    "compose_files",
    "group_names",
    "in_force",
    "offered_suites",
    "setting_needed",
    "settings_file",
    "suite_members",
    "suite_names",
    "suite_settings",
    "whose",
]


def group_names(group: str) -> list[str]:
    """Names in a config group, e.g. ``suite``; those that start with ``_`` are shared parts, not choices."""
    return sorted(name for folder in folders() for name in folder.files(group) if not name.startswith("_"))


def settings_file(group: str, name: str) -> Path | None:
    """The file of a name in a config group; None where there is none."""
    found = _found(group, name)
    return found[1] if found else None


def whose(group: str, name: str) -> str | None:
    """Whose a file is: ``vlagym``, a package, or the user's folder; None where there is none."""
    found = _found(group, name)
    return found[0].whose if found else None


def _found(group: str, name: str) -> tuple[Folder, Path] | None:
    return next(((folder, files[name]) for folder in folders() if name in (files := folder.files(group))), None)


def suite_members(name: str) -> list[str]:
    """The suites that a name such as ``libero_all`` stands for; empty for a suite of its own or of another package."""
    match = _line(settings_file("suite", name), r"members: *\[(.*)\]")
    return [member.strip() for member in match.split(",")] if match else []


def suite_names() -> list[str]:
    """Every suite that is one benchmark's own; those that stand for several, or are nothing without a setting, are left out."""
    return _alone(folders())


def offered_suites() -> list[str]:
    """`suite_names` without those of the user's folder.

    Reads the files as text, and checks nothing: the names are needed whenever `vlagym.envs` is imported, so this must cost next to
    nothing and raise nothing.
    """
    return _alone((*package_folders(), OURS))


def _alone(among: Sequence[Folder]) -> list[str]:
    files = {name: file for folder in among for name, file in folder.files("suite").items()}
    return sorted(name for name, file in files.items() if not name.startswith("_") and not _line(file, _NOT_ALONE))


def setting_needed(name: str) -> str:
    """The setting without which a suite of conf/suite/ is nothing, such as a folder of the user's; empty for most."""
    return _line(settings_file("suite", name), r"([a-z_]+): *\?\?\?")


_NOT_ALONE = r"(members: *\[|[a-z_]+: *\?\?\?)"


def _line(file: Path | None, pattern: str) -> str:
    """What a line of a file that begins so says; empty where none does."""
    match = re.search(f"^{pattern}", file.read_text(encoding="utf-8"), re.MULTILINE) if file else None
    return match[1] if match else ""


def compose_files(config_name: str, overrides: Sequence[str]) -> Any:
    """What Hydra makes of a file of conf/ with overrides, in its own grammar: an OmegaConf node.

    Raises:
        ConfigError: A folder of settings is none.
        hydra.errors.HydraException: What is wrong with an override.
    """
    from hydra import compose, initialize_config_dir

    added = [f"'file://{_escaped(str(folder.path))}'" for folder in folders()[1:]]
    searched = [f"hydra.searchpath=[{','.join(added)}]"] if added else []
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return compose(config_name, overrides=[*overrides, *searched])


def _escaped(path: str) -> str:
    """A path within the quotes of Hydra's grammar."""
    return path.replace("\\", "\\\\").replace("'", "\\'")


def suite_settings(name: str) -> dict[str, Any]:
    """The settings in conf/suite/NAME.yaml, its defaults merged in."""
    from omegaconf import OmegaConf

    settings = OmegaConf.to_container(compose_files("config", [f"suite={name}"]).suite, resolve=True)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}
