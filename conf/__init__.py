"""Hydra configuration: config.yaml, suite/, policy/, and one file per (policy, suite) pair that needs its own settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

CONF_DIR = Path(__file__).parent


def group_names(group: str) -> list[str]:
    """Names in a config group, e.g. ``suite``; those that start with ``_`` are shared parts, not choices."""
    return sorted(f.stem for f in (CONF_DIR / group).glob("*.yaml") if not f.stem.startswith("_"))


def _read(group: str, name: str) -> str:
    return (CONF_DIR / group / f"{name}.yaml").read_text(encoding="utf-8")


def suite_names() -> list[str]:
    """Every suite that is one benchmark's own (``libero_all`` and the like, which stand for several, are left out).

    Reads the files as text: the names are needed whenever `vlagym.envs` is imported, so this must cost next to nothing.
    """
    return [name for name in group_names("suite") if not re.search("^members:", _read("suite", name), re.MULTILINE)]


def suite_settings(name: str) -> dict[str, Any]:
    """The settings in conf/suite/NAME.yaml, its defaults merged in."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        settings = OmegaConf.to_container(compose("config", overrides=[f"suite={name}"]).suite, resolve=True)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}
