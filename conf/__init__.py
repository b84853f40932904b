"""Hydra configuration: config.yaml, suite/, policy/, and one file per (policy, suite) pair that needs its own settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

CONF_DIR = Path(__file__).parent


def group_names(group: str) -> list[str]:
    """Names in a config group, e.g. ``suite``; those that start with ``_`` are shared parts, not choices."""
    return sorted(f.stem for f in (CONF_DIR / group).glob("*.yaml") if not f.stem.startswith("_"))


def suite_members(name: str) -> list[str]:
    """The suites that a name such as ``libero_all`` stands for; empty for a suite of its own or of another package."""
    file = CONF_DIR / "suite" / f"{name}.yaml"
    match = re.search(r"^members: *\[(.*)\]", file.read_text(encoding="utf-8"), re.MULTILINE) if file.exists() else None
    return [member.strip() for member in match.group(1).split(",")] if match else []


def suite_names() -> list[str]:
    """Every suite that is one benchmark's own; those that stand for several, or are nothing without a setting, are left out.

    Reads the files as text: the names are needed whenever `vlagym.envs` is imported, so this must cost next to nothing.
    """
    return [name for name in group_names("suite") if not suite_members(name) and not setting_needed(name)]


def setting_needed(name: str) -> str:
    """The setting without which a suite of conf/suite/ is nothing, such as a folder of the user's; empty for most."""
    file = CONF_DIR / "suite" / f"{name}.yaml"
    match = re.search(r"^([a-z_]+): *\?\?\?", file.read_text(encoding="utf-8"), re.MULTILINE) if file.exists() else None
    return match.group(1) if match else ""


def suite_settings(name: str) -> dict[str, Any]:
    """The settings in conf/suite/NAME.yaml, its defaults merged in."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        settings = OmegaConf.to_container(compose("config", overrides=[f"suite={name}"]).suite, resolve=True)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}
