"""Comparing with recorded numbers, and saying how close: `pytest -rP tests/policies` prints every largest difference."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import ArrayLike


def assert_close(ours: ArrayLike, recorded: ArrayLike, atol: float) -> None:
    """Every number within `atol` of the recorded one."""
    one, other = np.asarray(ours, np.float64), np.asarray(recorded, np.float64)
    assert one.shape == other.shape
    largest = float(np.abs(one - other).max(initial=0.0))
    test = os.environ["PYTEST_CURRENT_TEST"].partition("::")[2].removesuffix(" (call)")
    print(f"{test}: {one.size} numbers, largest difference {largest:.1e} (at most {atol:.0e})")
    assert largest <= atol
