"""One chain of CALVIN's evaluation as a Gym environment: the play table, the oracle, and which of the five subtasks is under way.

The course of an episode is that of mees/calvin@fa03f01, ``evaluation/evaluate_policy.py``: the table is set up once per chain, the
oracle compares every step with the moment the subtask began, and the chain ends with the first subtask that is not done in time.
One thing is different on purpose: the world is made anew for every chain. Upstream's contacts outlive its reset and change the next
episode (16 of 34 recorded ones), and so does the last gripper action, which its first observation still shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._registry import unknown_name
from ...episode import SubtaskResult
from ...errors import EnvError
from ..env import StepOutcome, VlaEnv
from ..landmarks import Landmarks
from ..spec import Task
from ._bullet import p
from .annotations import load_annotations
from .oracle import TASKS, is_done
from .painter import painter
from .scenes import EVALUATION_SCENE
from .sequences import evaluation_chains, initial_state
from .world import PHYSICS_STEPS_PER_ACTION, PlayTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..spec import EnvState, Float32Array, Float64Array, Image, Observation
    from .settings import CalvinSettings

_OWN_OPTIONS = ("robot_obs", "scene_obs", "subtasks")
# Part of the table that a subtask moves, by a word of its name; the switch works the bulb, the button the LED. A drawer that a
# block is put into is no such part: those subtasks name neither "open" nor "close".
_MOVED_PARTS = {
    "move_slider": "slider",
    "open_drawer": "drawer",
    "close_drawer": "drawer",
    "lightbulb": "switch",
    "led": "button",
}


class CalvinEnv(VlaEnv):
    """A chain of subtasks at the play table.

    Args:
        suite: What this is an environment of.
        cameras: Cameras whose images are part of an observation: ``primary`` (static, 200x200), ``wrist`` (gripper, 84x84).
        calvin_dir, calvin_env_dir: Folders of the two asset sets.
    """

    suite: CalvinSettings

    def __init__(self, suite: CalvinSettings, cameras: Sequence[str], calvin_dir: Path, calvin_env_dir: Path) -> None:
        super().__init__(suite, cameras)
        self._sentences = load_annotations(calvin_dir)
        self._data_dir = calvin_env_dir / "data"
        self._world = PlayTable(suite.scene, self._data_dir, suite.calvin_env_revision)
        self._options: dict[str, Any] = {}
        self._subtasks: tuple[str, ...] = ()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start an episode: a chain of the evaluation, or one from any state of the table.

        Args:
            seed: Has no effect on the table.
            options: ``task`` and ``trial`` as for every suite; ``robot_obs`` float[15] and ``scene_obs`` float[24] (blocks in the
                order of the scene) to start from that state instead of the trial's; ``subtasks`` for others than the trial's.

        Raises:
            EnvError: No such trial or subtask, a state of the wrong length, or no state for a scene other than D.
        """
        rest = dict(options or {})
        self._options = {name: rest.pop(name) for name in _OWN_OPTIONS if name in rest}
        return super().reset(seed=seed, options=rest)

    def close(self) -> None:
        self._world.close()

    def depth(self, camera: str = "primary", height: int | None = None, width: int | None = None) -> Float32Array:
        """Depth of the present moment, float32[height, width], metres along the camera's axis; size defaults to the protocol's."""
        protocol_size = self.suite.camera_sizes.get(camera, self.suite.camera_sizes["primary"])
        size = (height or protocol_size[0], width or protocol_size[1])
        with self.clock("rendering"):
            return self._paint(self.render_state(), camera, *size)[1]

    def draw(self, render_state: Float64Array, camera: str, height: int, width: int) -> Image:
        return self._paint(render_state, camera, height, width)[0]

    def _paint(self, render_state: Float64Array, camera: str, height: int, width: int) -> tuple[Image, Float32Array]:
        suite = self.suite
        return painter(suite.renderer).draw(suite.scene, self._data_dir, render_state, camera, height, width, suite.variation)

    def render_state(self) -> Float64Array:
        return self._world.render_state()

    def physics_state(self) -> Float64Array:
        return self._world.physics_state()

    def robot_obs(self) -> Float64Array:
        """float64[15] as upstream's ``robot_obs``, see `PlayTable.robot_obs`."""
        return self._world.robot_obs()

    def scene_obs(self) -> Float64Array:
        """float64[24] as upstream's ``scene_obs``, see `PlayTable.scene_obs`."""
        return self._world.scene_obs()

    def _state_vector(self) -> Float64Array:
        return np.asarray(self._world.robot_obs(), np.float64)

    def _present_pose(self) -> Float64Array:
        pos, euler = np.split(self._state_vector()[:6], 2)
        if self.suite.action_form == "absolute_euler":
            return np.concatenate([pos, euler])
        return np.concatenate([pos, p.getQuaternionFromEuler(euler)])

    def privileged_state(self) -> dict[str, Float64Array]:
        """``robot_obs`` [15], ``scene_obs`` [24], each block's xyz and Euler xyz [6], the ``subtask``'s index in `TASKS` [1]."""
        scene = self._world.scene_obs()
        poses = zip(self._world.scene.blocks, scene[6:].reshape(-1, 6), strict=True)
        subtask = np.array([list(TASKS).index(self.subtask)], np.float64)
        return {"robot_obs": self._world.robot_obs(), "scene_obs": scene, "subtask": subtask, **dict(poses)}

    def landmarks(self) -> Landmarks:
        blocks = dict(zip(self._world.scene.blocks, self._world.scene_obs()[6:].reshape(-1, 6)[:, :3], strict=True))
        fixtures = self._world.fixtures()
        part = next((part for word, part in _MOVED_PARTS.items() if word in self.subtask), None)
        named = tuple(block for block in blocks if block in self.subtask)
        asked = named or ((part,) if part else tuple(blocks))
        return Landmarks(self._world.robot_obs()[:3].copy(), {**blocks, **fixtures}, asked, frozenset(fixtures))

    def bare_physics(self, steps: int) -> None:
        self._world.step_physics(steps * PHYSICS_STEPS_PER_ACTION)

    @property
    def instruction(self) -> str:
        return self._sentences[self.subtask]

    @property
    def asked(self) -> str:
        return self.subtask

    @property
    def subtask(self) -> str:
        """Name of the subtask under way, or of the last one when the chain is over."""
        return self._subtasks[min(self._link, len(self._subtasks) - 1)]

    def subtask_results(self) -> tuple[SubtaskResult, ...]:
        """Results of the subtasks that were begun, in order; the one under way is the last and not yet a success."""
        steps = [*self._steps_needed, self._link_steps][: len(self._subtasks)]
        return tuple(
            SubtaskResult(name, self._sentences[name], i < self._link, taken if i < self._link else None, taken)
            for i, (name, taken) in enumerate(zip(self._subtasks, steps, strict=False))
        )

    # --- the course of an episode ----------------------------------------------------------------------------------------------

    def _begin(self, task: Task, trial: int, seed: int) -> None:
        chain = evaluation_chains()[trial]
        self._subtasks = tuple(self._options.get("subtasks", chain.subtasks))
        for name in self._subtasks:
            if name not in TASKS:
                raise EnvError(str(unknown_name("CALVIN subtask", name, TASKS)))
        self._start(*self._starting_state(trial))

    def _starting_state(self, trial: int) -> tuple[Any, Any]:
        given = [self._options[name] for name in ("robot_obs", "scene_obs") if name in self._options]
        if len(given) == 2:
            return given[0], given[1]
        if given:
            raise EnvError("robot_obs and scene_obs belong together: give both in the reset options, or neither.")
        if self.suite.scene != EVALUATION_SCENE:
            raise EnvError(
                f"the chains of CALVIN's evaluation start in states of scene {EVALUATION_SCENE}; "
                f"to start in scene {self.suite.scene}, give robot_obs and scene_obs in the reset options."
            )
        return initial_state(evaluation_chains()[trial].condition)

    def _start(self, robot_obs: Any, scene_obs: Any) -> None:
        with self.clock("reset"):
            self._world.load()
            self._world.reset(robot_obs, scene_obs)
        self._start_state = np.concatenate([robot_obs, scene_obs])
        self._link = self._link_steps = 0
        self._steps_needed: list[int] = []
        self._actions: list[NDArray[np.floating[Any]]] = []
        self._moment_before = self._world.moment()

    def _advance(self, action: NDArray[np.floating[Any]]) -> StepOutcome:
        with self.clock("physics"):
            if self.suite.action_form == "relative":
                self._world.move_by(action)
            else:
                self._world.move_to(action)
        self._actions.append(action.copy())
        self._link_steps += 1
        with self.clock("oracle"):
            now = self._world.moment()
            done = is_done(self.subtask, self._moment_before, now)
        if not done:
            return StepOutcome(False, "failure" if self._link_steps >= self.suite.steps_per_subtask else None)
        self._steps_needed.append(self._link_steps)
        self._link, self._link_steps, self._moment_before = self._link + 1, 0, now
        return StepOutcome(True, "success") if self._link == len(self._subtasks) else StepOutcome(False, new_subtask=True)

    # --- going back ------------------------------------------------------------------------------------------------------------

    def _save(self) -> EnvState:
        # pybullet's snapshots leave out motors and cached poses, and what follows one differs in the last bits. An episode follows
        # from its start and its actions, so these are its state, and going back means executing them again.
        return {
            "start": self._start_state.copy(),
            "subtasks": np.array(self._subtasks),
            "actions": np.array(self._actions, np.float64).reshape(-1, self.suite.action_spec.size),
            "float32": np.array([action.dtype == np.float32 for action in self._actions], np.bool_),
        }

    def _load(self, state: EnvState) -> None:
        self._subtasks = tuple(str(name) for name in state["subtasks"])
        self._start(*np.split(state["start"], [15]))
        for action, is_float32 in zip(state["actions"], state["float32"], strict=True):
            self._advance(action.astype(np.float32) if is_float32 else action)
