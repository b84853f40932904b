"""LIBERO's tasks as people have shown them: a trial begins where its demonstration does, and asks for no more steps than it has.

``policy=replay policy.run=FILE.hdf5`` makes one of these of the suite that it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from ..._registry import unknown_name
from ...edges.settings import Index, Text, check_fields
from ...errors import ConfigError
from ..assets import locate
from ..demonstrations import (
    Demonstrated,
    DemonstratedTask,
    Demonstration,
    demonstrated_tasks,
    demonstrations_sha256,
    load_demonstration,
)
from ..robosuite.model_file import read_model
from ..spec import Task
from .custom import LiberoCustomSuite
from .setups import Setup
from .suite import LiberoSuite

if TYPE_CHECKING:
    from .env import LiberoEnv


@dataclass(frozen=True)
class LiberoDemonstrationsSuite(LiberoSuite, Demonstrated):
    """Tasks of one of LIBERO's suites, or of a folder of BDDL files, from where demonstrations begin.

    Attributes:
        demonstrations: A file of demonstrations, or a folder of such files.
        bddl: As of ``suite=libero_custom``; empty for LIBERO's own tasks.
        settle_steps: None: a demonstration begins where it begins.
    """

    demonstrations: Text = field(default="", kw_only=True)
    bddl: Text = field(default="", kw_only=True)
    settle_steps: Index = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        check_fields("suite.", self)
        if not self.tasks():
            told, known = next(iter(demonstrated_tasks(self.demonstrations))), [task.name for task in self._original.tasks()]
            raise ConfigError(
                f"{self.demonstrations} demonstrates {told!r}, which is no task of {self.name}. {unknown_name('task', told, known)}"
            )

    @property
    def _original(self) -> LiberoSuite:
        return LiberoCustomSuite(self.name, bddl=self.bddl) if self.bddl else LiberoSuite(self.name)

    def tasks(self) -> tuple[Task, ...]:
        shown = demonstrated_tasks(self.demonstrations)
        return tuple(
            Task(task.name, task.instruction, len(shown[task.name].names), max(shown[task.name].steps))
            for task in self._original.tasks()
            if task.name in shown
        )

    def setup(self, task: Task, trial: int) -> Setup:
        original = self._original
        return original.setup(next(of for of in original.tasks() if of.name == task.name), 0)

    def demonstration(self, task: str, trial: int) -> Demonstration:
        shown = demonstrated_tasks(self.demonstrations)[task]
        return load_demonstration(shown.file, shown.names[trial])

    def make_env(self, cameras: Sequence[str]) -> LiberoEnv:
        from .demonstrations_env import LiberoDemonstrationsEnv

        self._check_versions()
        return LiberoDemonstrationsEnv(self, self, cameras, locate("libero").path)

    def check_ready(self) -> None:
        super().check_ready()
        self._original.check_ready()
        for shown in self._shown():
            _read_through(shown)

    def protocol(self) -> dict[str, Any]:
        """The content of the files instead of where they are."""
        own = {name: value for name, value in super().protocol().items() if name != "bddl"}
        files = {"bddl": self._original.protocol()["bddl"]} if self.bddl else {}
        return {**own, **files, "demonstrations": {shown.task: demonstrations_sha256(shown) for shown in self._shown()}}

    def notices(self) -> list[str]:
        unplaced = sum(len(_without_model(shown)) for shown in self._shown())
        unsaid = (
            f"{unplaced} of the demonstrations in {self.demonstrations} do not say where the fixtures stand (their model_file is "
            "missing or cut): they stand where the reset of hf-libero that begins with the same state puts them, if one of the "
            "first does, and else where the suite's own trial has them."
        )
        return [*super().notices(), *([unsaid] if unplaced else [])]

    def _shown(self) -> list[DemonstratedTask]:
        shown = demonstrated_tasks(self.demonstrations)
        return [shown[task.name] for task in self.tasks()]


@cache
def _read_through(shown: DemonstratedTask) -> None:
    """Find out now what is wrong with any of a file's demonstrations."""
    for name in shown.names:
        load_demonstration(shown.file, name)


@cache
def _without_model(shown: DemonstratedTask) -> list[str]:
    return [name for name in shown.names if read_model(load_demonstration(shown.file, name).model) is None]
