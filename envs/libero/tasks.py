"""LIBERO's tasks, known without hf-libero: tasks.json holds suite -> task name -> instruction, in the benchmark's own order.

Source: hf-libero 0.1.4, libero/libero/benchmark: the task map (order 0) and ``grab_language_from_filename``, whose sentence the
reference evaluations give to a policy (the BDDL file's own ``:language`` differs in places). A task's files are named after it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..._registry import unknown_name
from ...errors import DependencyError
from ..identity import check_origin
from .init_states import OF_PACKAGE

TRIALS = 50  # initial states per task: the rows of every .pruned_init file


class TaskFiles(NamedTuple):
    """What there is of a task: its definition in BDDL, and its initial states; what to do if either is damaged, a sentence.

    Without initial states an episode begins as the scene was drawn.
    """

    bddl: Path
    init_states: Path | None
    remedy: str = OF_PACKAGE


@cache
def task_table() -> Mapping[str, Mapping[str, str]]:
    """Suite -> task name -> instruction."""
    table: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("tasks.json").read_text(encoding="utf-8"))
    return table


def suite_tasks(suite: str) -> Mapping[str, str]:
    """Task name -> instruction.

    Raises:
        ConfigError: LIBERO has no such suite.
    """
    if suite not in task_table():
        raise unknown_name("LIBERO suite", suite, task_table())
    return task_table()[suite]


def package_folder() -> Path:
    """Folder of ``libero.libero``; nothing of it is imported.

    Raises:
        DependencyError: hf-libero is not installed, or another package of its name comes first on the path.
    """
    return check_origin("hf-libero") / "libero" / "libero"


def task_files(suite: str, task: str) -> TaskFiles:
    """Where hf-libero keeps a task.

    Raises:
        DependencyError: hf-libero is not installed, or lacks the task.
    """
    folder = package_folder()
    files = TaskFiles(folder / "bddl_files" / suite / f"{task}.bddl", folder / "init_files" / suite / f"{task}.pruned_init")
    for file in files[:2]:
        if not (isinstance(file, Path) and file.is_file()):
            raise DependencyError(f"{file} is missing from hf-libero. Run: vla-eval install libero --force")
    return files
