"""Tasks of the user's own to hand on: the definitions of a run of ``libero_custom`` with the initial states that its seed drew."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...envs.registry import make_suite
from ...errors import ConfigError, RunError, StorageError
from ..run.again import trajectory_of
from ..tables.runs import Run


def write_tasks(run: Run, folder: Path) -> Iterator[Path]:
    """Write NAME.bddl and NAME.npz of every task: with ``suite.bddl=FOLDER`` its trials begin as those of the run.

    Args:
        run: One of ``libero_custom``.
        folder: An empty one.

    Raises:
        ConfigError: It is a run of something else, or its tasks have files of initial states already.
        RunError: It lacks trials, or a definition is no longer that of the run.
        StorageError: The folder cannot be written.
    """
    legs = [leg for leg in run.config.legs if leg.suite.get("benchmark") == "libero_custom"]
    if not legs:
        raise ConfigError(f"{run.path} is no run of libero_custom: its tasks are the benchmark's own.")
    (leg,) = legs
    suite: Any = make_suite(leg.suite)
    (header,) = (header for header in run.header["legs"] if header["suite"] == suite.name)
    for task in suite.tasks():
        states = _drawn(run, suite.name, task.name)
        definition = Path(suite.setup(task, 0).files.bddl)
        recorded = header["protocol"]["bddl"].get(task.name, {}).get(".bddl")
        try:
            text = definition.read_bytes()
            if hashlib.sha256(text).hexdigest() != recorded:
                raise RunError(f"{definition} is no longer what {run.path} ran: its initial states would be of another task.")
            archive = io.BytesIO()
            np.savez_compressed(archive, states=states)
            for name, content in ((definition.name, text), (f"{task.name}.npz", archive.getvalue())):
                (folder / name).write_bytes(content)
                yield folder / name
        except OSError as error:
            raise StorageError(f"{folder} cannot be written: {error.strerror}.") from error


def _drawn(run: Run, suite: str, task: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """float64[trials, S]: what each trial drew, from 0 on."""
    found = {}
    for result in run.results:
        if (result.spec.suite, result.spec.task) == (suite, task) and result.error is None:
            found[result.spec.trial] = trajectory_of(run, result)["drawn_state"]
    if any(state is None for state in found.values()):
        raise ConfigError(f"the initial states of {task} are in a file already, beside its definition.")
    missing = next((trial for trial in range(len(found) + 1) if trial not in found), 0)
    if not found or missing < len(found):
        raise RunError(f"{run.path} has no trial {missing} of {task}; the trials of a file are numbered from 0 without a gap.")
    return np.stack([np.asarray(found[trial]) for trial in range(len(found))])
