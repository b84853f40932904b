"""LIBERO's environment from where a demonstration begins, in the scene in which it was shown.

A state does not say where fixtures stand. The demonstration's ``model_file`` does, with six digits; all of them has the reset of
hf-libero that drew the scene, if it can be found: one of the first that the reference loops make, which either comes to the very
state with which the demonstration begins, or puts every fixture where those six digits say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import EnvError
from ..demonstrations import Demonstrated, Demonstration
from ..robosuite.model_file import DIGITS, body_poses, read_model
from ..robosuite.specs import CAMERAS
from ..spec import Task
from .env import LiberoEnv, _World
from .scenes import Scene

if TYPE_CHECKING:
    from ..spec import Float64Array
    from .settings import LiberoSettings

_NEARLY_ZERO = 1e-7  # the quaternions' entries of 6e-17 are saved as 0
_SEEDS = (0, 7)  # of OpenVLA's and openpi's loops
_RESETS = 50


class LiberoDemonstrationsEnv(LiberoEnv):
    """Runs the trials of a `vlagym.envs.libero.demonstrations.LiberoDemonstrationsSuite`.

    Args:
        suite: The suite and its protocol.
        shown: The same: where its trials begin.
        cameras: Cameras whose images are part of an observation.
        assets: Folder with LIBERO's ``scenes``, ``articulated_objects``, ...
    """

    def __init__(self, suite: LiberoSettings, shown: Demonstrated, cameras: Sequence[str], assets: Path) -> None:
        super().__init__(suite, cameras, assets)
        self._shown = shown

    def _begin(self, task: Task, trial: int, seed: int) -> None:
        setup, shown = self._suite.setup(task, trial), self._shown.demonstration(task.name, trial)
        self._world = self._world_of(setup.files)
        self._instruction = setup.instruction
        self._noise = None
        try:
            with self.clock("reset"):
                found = _begin(self._world, shown, trial)
                self._world.engine.vary(self._suite.variation, CAMERAS["primary"])
            if not found:
                self._world.engine.begin_at(shown.states[0])
                self._world.check_success()  # lights up what is switched on
                self._world.engine.observe()
            if shown.start:
                self.go_on_from(shown.start)
        except EnvError as error:
            raise EnvError(f"{self._shown.demonstrations}, {task.name}/{shown.name}: {error}") from error


def _begin(world: _World, shown: Demonstration, trial: int) -> bool:
    """Put the fixtures where they were; whether everything else is there too, bit for bit."""
    engine = world.engine
    fixtures = [fixture.root_body for fixture in engine.env.fixtures]
    model = read_model(shown.model)
    poses = None if model is None else body_poses(model, fixtures)
    if shown.start and poses is not None:  # with all their digits
        _reset(world, world.scenes.scene(0, 0))
        engine.place_bodies(poses)
        return False
    for scene in _scenes(world, trial):
        _reset(world, scene)
        if np.array_equal(engine.physics_state()[: shown.states.shape[1]], shown.states[0]):
            return True
        if poses is not None and all(_agrees(pose, engine.body_pose(body)) for body, pose in poses.items()):
            return False
    _reset(world, world.scenes.scene(_SEEDS[0], trial))
    engine.place_bodies(poses or {})
    return False


def _scenes(world: _World, trial: int) -> Iterator[Scene]:
    """Those in which a demonstration was probably shown: seeded once for all or anew for each, by its number."""
    yield world.scenes.scene(_SEEDS[0], trial)
    yield world.scenes.scene(trial, 0)
    yield world.scenes.again(trial, trial)
    for seed in _SEEDS:
        for reset in range(_RESETS):
            yield world.scenes.scene(seed, reset)


def _reset(world: _World, scene: Scene) -> None:
    (robot,) = world.engine.env.robots
    robot.init_qpos = robot.robot_model.init_qpos
    world.engine.env.object_property_initializers = world.scenes.initializers(scene)
    world.engine.reset(scene.generator)


def _agrees(said: Float64Array, found: Float64Array) -> bool:
    return bool(np.allclose(said, found, rtol=DIGITS, atol=_NEARLY_ZERO))
