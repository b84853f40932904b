"""CALVIN's table from where a demonstration of one subtask begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..demonstrations import Demonstrated
from ..spec import Task
from .env import CalvinEnv

if TYPE_CHECKING:
    from .settings import CalvinSettings


class CalvinDemonstrationsEnv(CalvinEnv):
    """Runs the trials of a `vlagym.envs.calvin.demonstrations.CalvinDemonstrationsSuite`.

    Args:
        suite: The suite and its protocol.
        shown: The same: where its trials begin.
        cameras, calvin_dir, calvin_env_dir: As of `CalvinEnv`.
    """

    def __init__(
        self, suite: CalvinSettings, shown: Demonstrated, cameras: Sequence[str], calvin_dir: Path, calvin_env_dir: Path
    ) -> None:
        super().__init__(suite, cameras, calvin_dir, calvin_env_dir)
        self._shown = shown

    def _begin(self, task: Task, trial: int, seed: int) -> None:
        self._subtasks = (task.name,)
        start = self._shown.demonstration(task.name, trial).start
        self._start(start["robot_obs"], start["scene_obs"])
