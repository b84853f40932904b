"""robosuite's own tasks as people have shown them: a trial begins where its demonstration does, and asks for no more steps.

``policy=replay policy.run=FILE.hdf5`` makes one of these of the suite ``robosuite``. The model is compiled once per task, so
demonstrations with objects of other sizes, which robosuite draws anew at every reset, are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...edges.settings import Text, check_fields
from ...errors import ConfigError, EnvError
from ..demonstrations import Demonstrated, Demonstration, demonstrated_tasks, demonstrations_sha256, load_demonstration
from ..spec import Task
from .env import RobosuiteEnv
from .model_file import DIGITS, body_poses, geom_sizes, read_model
from .settings import TASKS
from .suite import RobosuiteSuite


@dataclass(frozen=True)
class RobosuiteDemonstrationsSuite(RobosuiteSuite, Demonstrated):
    """robosuite's tasks from where demonstrations begin.

    Attributes:
        demonstrations: A file of demonstrations, or a folder of such files.
    """

    demonstrations: Text = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        check_fields("suite.", self)
        if not self.tasks():
            told = next(iter(demonstrated_tasks(self.demonstrations)))
            classes = ", ".join(map(_class_of, (task.name for task in TASKS)))
            raise ConfigError(f"{self.demonstrations} demonstrates {told!r}, which is no task of {self.name}; they are {classes}.")

    def tasks(self) -> tuple[Task, ...]:
        shown = demonstrated_tasks(self.demonstrations)
        return tuple(
            replace(task, trials=len(of.names), horizon=max(of.steps))
            for task in super().tasks()
            if (of := shown.get(_class_of(task.name))) is not None
        )

    def demonstration(self, task: str, trial: int) -> Demonstration:
        shown = demonstrated_tasks(self.demonstrations)[_class_of(task)]
        return load_demonstration(shown.file, shown.names[trial])

    def make_env(self, cameras: Sequence[str]) -> RobosuiteEnv:
        return _DemonstrationsEnv(self, cameras)

    def check_ready(self) -> None:
        super().check_ready()
        for task in self.tasks():
            for trial in range(task.trials):
                self.demonstration(task.name, trial)

    def protocol(self) -> dict[str, Any]:
        """The content of the files instead of where they are."""
        shown = demonstrated_tasks(self.demonstrations)
        content = {task.name: demonstrations_sha256(shown[_class_of(task.name)]) for task in self.tasks()}
        return {**super().protocol(), "demonstrations": content}


class _DemonstrationsEnv(RobosuiteEnv):
    """Runs the trials of a `RobosuiteDemonstrationsSuite`."""

    suite: RobosuiteDemonstrationsSuite

    def _begin(self, task: Task, trial: int, seed: int) -> None:
        super()._begin(task, 0, 0)
        shown, engine = self.suite.demonstration(task.name, trial), self._engine
        try:
            if (model := read_model(shown.model)) is not None:
                for name, said in geom_sizes(model).items():
                    if (own := engine.geom_size(name)) is not None and not np.allclose(said, own[: len(said)], rtol=10 * DIGITS):
                        raise EnvError(
                            f"its {name} has the size {said.tolist()} and the suite's {own.tolist()}: another object than the "
                            "suite has, so that it cannot be played here."
                        )
                engine.place_bodies(body_poses(model, self._spec.placed_bodies) or {})
            engine.begin_at(shown.states[0])
            engine.observe()
            if shown.start:
                self.go_on_from(shown.start)
        except EnvError as error:
            raise EnvError(f"{self.suite.demonstrations}, {task.name}/{shown.name}: {error}") from error


def _class_of(task: str) -> str:
    return next(spec.env_class for spec in TASKS if spec.name == task).partition(":")[2]
