"""CALVIN's subtasks as people have shown them: a trial begins where its demonstration does, and asks for that one subtask.

``policy=replay policy.run=FOLDER`` makes one of these of CALVIN's suites, where the folder is one of CALVIN's data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..._registry import unknown_name
from ...edges.settings import Count, Text, check_fields
from ..demonstrations import Demonstrated, Demonstration
from ..spec import Task
from .oracle import TASKS
from .recorded import MOST_STEPS, data_sha256, read_demonstration, read_stretches
from .suite import CalvinSuite

if TYPE_CHECKING:
    from .env import CalvinEnv


@dataclass(frozen=True)
class CalvinDemonstrationsSuite(CalvinSuite, Demonstrated):
    """Subtasks, each from where a demonstration of it begins.

    Attributes:
        demonstrations: Folder of CALVIN's data; its frames have to be of the suite's scene.
        steps_per_subtask: No limit: a trial has as many steps as its demonstration.
    """

    demonstrations: Text = field(default="", kw_only=True)
    steps_per_subtask: Count = field(default=MOST_STEPS, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields("suite.", self)
        for task in read_stretches(self.demonstrations):
            if task not in TASKS:
                raise unknown_name("CALVIN subtask", task, TASKS)

    def tasks(self) -> tuple[Task, ...]:
        shown = read_stretches(self.demonstrations)
        return tuple(
            Task(name, name.replace("_", " "), len(shown[name]), max(stretch.steps for stretch in shown[name]))
            for name in TASKS
            if name in shown
        )

    def demonstration(self, task: str, trial: int) -> Demonstration:
        key = "rel_actions" if self.action_form == "relative" else "actions"
        return read_demonstration(self.demonstrations, read_stretches(self.demonstrations)[task][trial], key)

    def make_env(self, cameras: Sequence[str]) -> CalvinEnv:
        self._check_pybullet()
        calvin, calvin_env = self._assets()
        from .demonstrations_env import CalvinDemonstrationsEnv

        return CalvinDemonstrationsEnv(self, self, cameras, calvin.path, calvin_env.path)

    def protocol(self) -> dict[str, Any]:
        """What the folder holds instead of where it is."""
        return {**super().protocol(), "demonstrations": data_sha256(self.demonstrations)}
