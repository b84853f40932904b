"""Recorded traffic between unmodified policy servers and their own clients."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="session")
def traffic(golden: Path) -> Callable[[str], bytes]:
    """Reads a recorded message by its name below golden/remote."""

    def read(name: str) -> bytes:
        file = golden / "remote" / name
        data = file.read_bytes()
        return gzip.decompress(data) if file.suffix == ".gz" else data

    return read


@pytest.fixture(scope="session")
def observed(golden: Path) -> Mapping[str, Any]:
    """What the recorded requests were made from, in each benchmark's stock orientation."""
    with np.load(golden / "remote" / "observations.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
