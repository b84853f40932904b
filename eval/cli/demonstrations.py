"""What a run that played demonstrations says of each: how it ended, and whether the simulator went where it went then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ...envs.demonstrations import Demonstrated
from ...envs.registry import make_suite
from ...errors import VlagymError
from ...trajectory import load_trajectory
from ..tables.runs import Run

if TYPE_CHECKING:
    from ...envs.spec import Float64Array
    from ...episode import EpisodeResult


def demonstrations_told(run: Run) -> Iterator[str]:
    """A sentence per demonstration; none where the run played none."""
    for leg in run.config.legs:
        suite = make_suite(leg.suite)
        if not isinstance(suite, Demonstrated):
            continue
        for result in run.results:
            if result.spec.suite != suite.name or result.error is not None:
                continue
            shown = suite.demonstration(result.spec.task, result.spec.trial)
            ends = f"ends in success after {result.steps} of" if result.success else "does not end in success after its"
            states = f"; {_states_told(run, result, shown.states)}" if shown.states.size else "."
            yield f"{result.spec.task}/{shown.name} {ends} {len(shown.actions)} actions{states}"


def _states_told(run: Run, result: EpisodeResult, shown: Float64Array) -> str:
    """How far from the recorded states the simulator came."""
    file = run.file_of(result, "trajectory")
    try:
        states = None if file is None else load_trajectory(file)["physics_states"]
    except VlagymError as error:
        return f"its states cannot be compared: {error}"
    if states is None:
        return "its states were not recorded."
    rows = min(len(states), len(shown))
    apart = np.abs(states[:rows, : shown.shape[1]] - shown[:rows]).max(axis=1)
    if not apart.any():
        return "its states are the recorded ones, bit for bit."
    return f"its states are up to {apart.max():.2g} from the recorded ones, from action {int(np.flatnonzero(apart)[0])} on."
