"""What tests need and may not find: a benchmark's packages, data and renderer. Then they are skipped, with what to do about it.

CI has all of it and denies skips (see tests/conftest.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from vlagym.conf import suite_settings
from vlagym.envs.assets import NotFetchedError, fetch, locate
from vlagym.envs.registry import make_suite
from vlagym.errors import AssetError, DependencyError

T = TypeVar("T")


def need_driver(probe: Callable[[], T]) -> T:
    """What a probe of a graphics driver finds."""
    try:
        return probe()
    except DependencyError as error:
        pytest.skip(str(error))  # a machine without a driver cannot draw; CI installs both and denies skips


def need_suite(name: str) -> None:
    """Skip where a suite cannot be run."""
    try:
        make_suite(suite_settings(name)).check_ready()
    except (AssetError, DependencyError) as error:
        pytest.skip(f"{name} cannot be run here: {error}")  # CI has the packages and the data, and denies skips


def need_assets(name: str) -> Path:
    """Folder of an asset set, fetched from the mirror where there is one."""
    try:
        return locate(name).path
    except NotFetchedError as error:
        if not os.environ.get("VLAGYM_ASSETS_MIRROR"):
            pytest.skip(str(error))  # where there is a mirror it is fetched from there; CI has one, and denies skips
        return fetch(name).path


def need_case(name: str) -> Path:
    """A file or folder of the collected cases, which are no part of the project: below $VLAGYM_CASES, or beside $VLAGYM_GOLDEN."""
    folder = os.environ.get("VLAGYM_CASES")
    golden = os.environ.get("VLAGYM_GOLDEN")
    cases = Path(folder) if folder else Path(golden).parent / "cases" if golden else None
    if cases is None or not (cases / name).exists():
        pytest.skip(f"needs the case {name}, see $VLAGYM_CASES")  # no part of the project; CI has them, denies skips
    return cases / name
