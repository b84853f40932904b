"""SimplerEnv's scenes as a Gym-style environment, in SAPIEN."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._registry import unknown_name
from ...episode import SubtaskResult
from ...errors import AssetError, EnvError
from ..env import StepOutcome, VlaEnv
from ..landmarks import Landmarks
from .drawers import PlaceInDrawer, WithCabinet
from .drawing import look_of, painter, photograph_of, render_state, visible
from .families import start_episode
from .setups import Setup
from .world import STAGES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..spec import EnvState, Float64Array, Image, Task
    from .episode import Episode
    from .settings import SimplerSettings


class SimplerEnv(VlaEnv):
    """Every episode is played in a scene of its own, built from nothing.

    Args:
        suite: Which evaluation.
        cameras: ``("primary",)`` or none.
        assets: Folder of the asset set.
    """

    suite: SimplerSettings

    def __init__(self, suite: SimplerSettings, cameras: Sequence[str], assets: Path) -> None:
        super().__init__(suite, cameras)
        self._assets = assets
        self._episode: Episode[Any] | None = None

    @property
    def episode(self) -> Episode[Any]:
        """The episode under way.

        Raises:
            EnvError: There is none.
        """
        if self._episode is None:
            raise EnvError(f"{self.suite.name}: no episode under way; call reset() first.")
        return self._episode

    @property
    def instruction(self) -> str:
        return self.episode.instruction

    @property
    def evaluation(self) -> dict[str, Any]:
        """What upstream's ``info`` says after the last step; empty before the first."""
        return self.episode.evaluation

    def _start(self, setup: Setup) -> None:
        stage = self._assets / STAGES / f"{setup.stage}.glb"
        if not setup.stage.startswith("dummy") and not stage.is_file():
            raise AssetError(f"this episode is set in {stage.name}, which the assets here lack. Fetch them without a mirror.")
        self._setup, self._episode = setup, None
        with self.clock("reset"):
            self._episode = start_episode(setup, self._assets)
        self._visible = visible(self._episode)
        self._actions: list[NDArray[np.floating[Any]]] = []
        self._second_from: int | None = None

    def _begin(self, task: Task, trial: int, seed: int) -> None:
        self._start(self.suite.trial(task.name, trial).setup)

    def _advance(self, action: NDArray[np.floating[Any]]) -> StepOutcome:
        before = self.instruction
        with self.clock("physics"):
            success = self.episode.step(action)
        self._actions.append(action.copy())
        return StepOutcome(success, new_subtask=self.instruction != before)

    def draw(self, render_state: Float64Array, camera: str, height: int, width: int) -> Image:
        if camera not in self.suite.cameras:
            raise unknown_name(f"camera of suite {self.suite.name!r}", camera, self.suite.cameras)
        shader = self.suite.shader_on(painter().device, self._setup)
        canvas = painter().canvas(look_of(self.episode, shader, self.suite.variation))
        return canvas.draw(render_state, height, width, photograph_of(self.episode))

    def render_state(self) -> Float64Array:
        return render_state(self._visible)

    def physics_state(self) -> Float64Array:
        return self.episode.world.state()

    def _state_vector(self) -> Float64Array:
        pose = self.episode.world.end_effector_at_base()
        return np.concatenate((pose.p, pose.q, [self.episode.world.gripper_closedness()])).astype(np.float64)

    def privileged_state(self) -> dict[str, Float64Array]:
        """World poses (position in m, quaternion w x y z) of the tool centre point and of every object by name."""
        world = self.episode.world
        entities = {"eef_pose_world": world.end_effector, **{f"{actor.name}_pose_world": actor for actor in world.objects}}
        return {name: render_state([entity]) for name, entity in entities.items()}

    def landmarks(self) -> Landmarks:
        episode, world = self.episode, self.episode.world
        things = {actor.name: np.array(actor.pose.p, np.float64) for actor in world.objects}
        if isinstance(episode, WithCabinet) and not (isinstance(episode, PlaceInDrawer) and episode.second_subtask):
            things |= {"drawer": np.array(episode.drawer_pos(), np.float64)}
            asked, fixtures = ("drawer",), frozenset(["drawer"])
        else:
            asked, fixtures = (episode.object_of_interest().name,), frozenset[str]()
        return Landmarks(np.array(world.end_effector.pose.p, np.float64), things, asked, fixtures)

    def bare_physics(self, steps: int) -> None:
        for _ in range(steps * self.episode.robot.substeps):
            self.episode.world.scene.step()

    def _next_subtask(self) -> bool:
        if not isinstance(self.episode, PlaceInDrawer) or self.episode.second_subtask:
            return False
        self._second_from = len(self._actions)
        self.episode.second_subtask = True
        return True

    def subtask_results(self) -> tuple[SubtaskResult, ...]:
        return self.episode.subtask_results() if isinstance(self.episode, PlaceInDrawer) else ()

    def _save(self) -> EnvState:
        # PhysX keeps contacts that cannot be read or written: only the same history leads to the same future.
        single = np.array([action.dtype == np.float32 for action in self._actions], np.bool_)
        second = np.array([-1 if self._second_from is None else self._second_from])
        return {"actions": np.array(self._actions, np.float64).reshape(-1, 7), "single_precision": single, "second_from": second}

    def _load(self, state: EnvState) -> None:
        self._start(self._setup)
        for index, (action, single) in enumerate(zip(state["actions"], state["single_precision"], strict=True)):
            if index == state["second_from"][0]:
                self._next_subtask()
            self._advance(action.astype(np.float32) if single else action)

    def close(self) -> None:
        self._episode = None
        super().close()
