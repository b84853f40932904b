"""Episodes that were recorded from SimplerEnv's own code, in the folder simpler/ of the one that $VLAGYM_GOLDEN names."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlagym.envs.simpler.setups import Setup
from vlagym.envs.simpler.upstream import setup_from_upstream

VARIABLE = "VLAGYM_GOLDEN"


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

    def __getitem__(self, name: str) -> Any:
        return self.arrays[name]


def recording_names() -> list[str]:
    """All recorded episodes; one that is absent where there are none, so that tests say why they skip."""
    folder = _folder()
    names = sorted(file.stem for file in folder.glob("*.npz") if not file.name.startswith("rt_")) if folder else []
    return names or ["absent"]


def load_recording(name: str) -> Recording:
    arrays = load_arrays(name)
    return Recording(json.loads(str(arrays.pop("meta"))), arrays)


def load_arrays(name: str) -> dict[str, Any]:
    folder = _folder()
    if folder is None or not (folder / f"{name}.npz").is_file():
        pytest.skip(f"needs recordings of upstream, in the folder that ${VARIABLE} names: {name}")
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def _folder() -> Path | None:
    named = os.environ.get(VARIABLE)
    return Path(named) / "simpler" if named else None
