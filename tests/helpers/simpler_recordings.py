"""Episodes that were recorded from SimplerEnv's own code, in the folder simpler/ of the one that $VLAGYM_GOLDEN names."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from vlagym.conf import suite_settings
from vlagym.envs.registry import make_suite
from vlagym.envs.simpler.setups import Setup
from vlagym.envs.simpler.upstream import setup_from_upstream

VARIABLE = "VLAGYM_GOLDEN"

# Every suite, with the settings under which it has further trials.
SUITES: list[tuple[str, dict[str, Any]]] = [
    ("simpler_widowx", {}),
    ("simpler_google_vm", {}),
    ("simpler_google_vm", {"move_near": "baked_v1"}),
    ("simpler_google_va", {"camera_variants": True}),
]


@dataclass(frozen=True)
class Recording:
    """One episode: its metadata and its arrays, row 0 after the reset, row i after action i."""

    meta: dict[str, Any]
    arrays: dict[str, Any]

    @property
    def setup(self) -> Setup:
        return setup_from_upstream(self.meta["env_id"], self.meta["make_kwargs"], self.meta["reset_options"])

    @property
    def frame_steps(self) -> list[int]:
        """The steps of which an excerpt of the picture was kept."""
        return list(self.meta["frame_steps"])

    @property
    def success(self) -> bool:
        """Whether it succeeds by actions alone, at its end."""
        return bool(self.arrays["terminated"][-1]) and not self.meta["pre_steps"]

    def __getitem__(self, name: str) -> Any:
        return self.arrays[name]


class OfficialTrial(NamedTuple):
    """Which trial of which suite a setup is, and the settings that the suite needs for it."""

    suite: str
    settings: dict[str, Any]
    task: str
    trial: int


def recording_names() -> list[str]:
    """All recorded episodes; one that is absent where there are none, so that tests say why they skip."""
    folder = _folder()
    names = sorted(file.stem for file in folder.glob("*.npz") if not file.name.startswith("rt_")) if folder else []
    return names or ["absent"]


def success_names() -> list[str]:
    """The recorded episodes that succeed by actions alone."""
    names = [name for name in recording_names() if name != "absent" and load_recording(name, ("meta", "terminated")).success]
    return names or ["absent"]


def load_recording(name: str, only: tuple[str, ...] = ()) -> Recording:
    """A recorded episode, or only some of its arrays; the test that asks for an absent one is skipped."""
    arrays = load_arrays(name, only)
    return Recording(json.loads(str(arrays.pop("meta"))), arrays)


def load_arrays(name: str, only: tuple[str, ...] = ()) -> dict[str, Any]:
    folder = _folder()
    if folder is None or not (folder / f"{name}.npz").is_file():
        pytest.skip(f"needs recordings of upstream, in the folder that ${VARIABLE} names: {name}")
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in only or file.files}


def official_trial(setup: Setup) -> OfficialTrial | None:
    """The trial that a setup is, whatever draws it; None if the official evaluation has none like it."""
    return _trials().get(_key(setup))


@cache
def _trials() -> dict[Any, OfficialTrial]:
    found: dict[Any, OfficialTrial] = {}
    for name, settings in SUITES:
        suite = make_suite({**suite_settings(name), **settings})
        for task in suite.tasks():
            for index in range(task.trials):
                found.setdefault(_key(suite.trial(task.name, index).setup), OfficialTrial(name, settings, task.name, index))
    return found


def _key(setup: Setup) -> Any:
    """A setup with its numbers in single precision, which is what the simulator gets of them."""
    values = asdict(replace(setup, shader="rasterizer")).items()
    return type(setup), tuple((name, _single(value)) for name, value in values)


def _single(value: Any) -> Any:
    return np.float32(value).tobytes() if isinstance(value, tuple) and value and isinstance(value[0], float | int) else value


def _folder() -> Path | None:
    named = os.environ.get(VARIABLE)
    return Path(named) / "simpler" if named else None
