"""LIBERO's environment: hf-libero's own problems and success checks, driven by the engine it shares with robosuite's tasks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import AssetError
from ..demonstrations import DemonstrableEnv
from ..env import StageClock, StepOutcome
from ..landmarks import Landmarks
from ..robosuite.engine import Engine
from ..robosuite.specs import CAMERAS, CONTROL_HZ, CONTROLLER, ROBOT
from ..spec import Task
from ._upstream import problem_class
from .bddl import check_problem
from .init_states import load_init_states
from .plus.camera import LIBERO_CAMERAS, turned
from .plus.noise import NoiseStream
from .scenes import ReferenceScenes, independent_scene
from .tasks import TaskFiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..spec import EnvState, Float64Array, Image
    from .plus.scenery import Scenery
    from .settings import LiberoSettings
    from .setups import Setup

# Of the reference protocol (run_libero_eval.py, libero_utils.get_libero_dummy_action): no motion, gripper open.
SETTLE_ACTION = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0])
# Compiled models a worker keeps, the last used ones.
MODELS_KEPT = 2


class _World:
    """One task: its compiled model, its initial states and its scenes.

    Args:
        files: The task's files.
        assets: Folder of LIBERO's assets.
        clock: Receives the times of the stages.
        scenery: What LIBERO-plus's assets.zip has for it; None for a world of LIBERO's own.
    """

    def __init__(self, files: TaskFiles, assets: Path, clock: StageClock, scenery: Scenery | None = None) -> None:
        self._clock = clock
        check_problem(files.bddl, files.remedy)
        problem, arguments = problem_class(files.bddl, assets), _problem_arguments(files.bddl)
        with _scene_arguments(scenery) as of_scene:
            self.engine = Engine(problem, {**arguments, **of_scene}, clock, generator=np.random.RandomState(0))
        env = self.engine.env
        self._problem = type(env).__name__.lower()
        self.scenes = ReferenceScenes(self.engine)
        self.engine.track(
            visual_sites=[site for name in env.visualization_sites_list for site in _lights(env.get_object(name))],
            bodies=[fixture.root_body for fixture in env.fixtures],
        )
        self.drawn: Float64Array | None = None
        self._init_states = None if files.init_states is None else load_init_states(files.init_states, files.remedy)
        width = 1 + self.engine.model.nq + self.engine.model.nv
        if self._init_states is not None and self._init_states.shape[1] != width:
            raise AssetError(
                f"{files.init_states} holds {self._init_states.shape[1]} values per initial state instead of {width}: it belongs "
                f"to another task. {files.remedy}"
            )

    def begin(self, suite: LiberoSettings, task: str, trial: int, seed: int, setup: Setup) -> NoiseStream | None:
        """Draw the scene of an episode and put its objects and the arm where its initial state says.

        Returns:
            The noise of its images, which goes on drawing where the scene ended.
        """
        import mujoco

        engine, env = self.engine, self.engine.env
        scene_seed = seed if suite.scene_seed is None else suite.scene_seed
        (robot,) = env.robots
        robot.init_qpos = robot.robot_model.init_qpos if setup.arm_rad is None else np.array(setup.arm_rad)
        with self._clock("reset"):
            if suite.scenes == "reference":
                scene = self.scenes.scene(scene_seed, setup.reset)
            else:
                scene = independent_scene(suite.name, task, trial, scene_seed)
            env.object_property_initializers = self.scenes.initializers(scene)
        engine.reset(scene.generator)
        self.drawn = engine.physics_state()[: 1 + engine.model.nq + engine.model.nv] if self._init_states is None else None
        with self._clock("reset"):
            if setup.camera is not None:
                engine.place_camera(CAMERAS["primary"], *turned(LIBERO_CAMERAS[self._problem], setup.camera))
            engine.vary(suite.variation, CAMERAS["primary"])
            if self._init_states is not None:
                # As ControlEnv.set_init_state: the fixtures stay where the reset put them.
                engine.set_state(self._init_states[setup.init_state])
                mujoco.mj_forward(engine.model, engine.data)
                self.check_success()
                engine.observe()
        return None if setup.noise is None else NoiseStream(setup.noise, scene.generator.get_state())

    def check_success(self) -> bool:
        """Whether the goal holds; lights up what is switched on."""
        success = bool(self.engine.env._check_success())
        self.engine.env._post_process()
        return success


class LiberoEnv(DemonstrableEnv):
    """Runs any task of a LIBERO suite.

    Args:
        suite: The suite and its protocol.
        cameras: Cameras whose images are part of an observation.
        assets: Folder with LIBERO's ``scenes``, ``articulated_objects``, ...
    """

    def __init__(self, suite: LiberoSettings, cameras: Sequence[str], assets: Path) -> None:
        super().__init__(suite, cameras)
        self._suite, self._assets = suite, assets
        self._worlds: OrderedDict[tuple[TaskFiles, Scenery | None], _World] = OrderedDict()
        self._noise: NoiseStream | None = None

    def _begin(self, task: Task, trial: int, seed: int) -> None:
        setup = self._suite.setup(task, trial)
        self._world = self._world_of(setup.files, setup.scenery)
        self._instruction = setup.instruction
        self._noise = self._world.begin(self._suite, task.name, trial, seed, setup)
        engine = self._world.engine
        engine.absolute = False
        for _ in range(self._suite.settle_steps):
            self._advance(SETTLE_ACTION)
        engine.absolute = self._suite.control == "absolute"

    def _advance(self, action: NDArray[np.floating[Any]]) -> StepOutcome:
        self._world.engine.step(action)
        success = self._world.check_success()
        return StepOutcome(success, "success" if success else None)

    def draw(self, render_state: Float64Array, camera: str, height: int, width: int) -> Image:
        if self._noise is None:
            return self._world.engine.draw(render_state, CAMERAS.get(camera, camera), height, width)
        picture = self._world.engine.draw(render_state[:-1], CAMERAS.get(camera, camera), height, width)
        if camera != "primary" or (height, width) != self._suite.camera_sizes[camera]:
            return picture
        # Rows as MuJoCo has them, from the bottom up.
        return np.ascontiguousarray(self._noise.apply(np.ascontiguousarray(picture[::-1]), int(render_state[-1]))[::-1])

    def render_state(self) -> Float64Array:
        state = self._world.engine.render_state
        if self._noise is None:
            return state
        # The frame's number since the scene was drawn: the image of the reset is the first, and every step has one.
        return np.append(state, self._suite.settle_steps + self._steps)

    def physics_state(self) -> Float64Array:
        return self._world.engine.physics_state()

    def _state_vector(self) -> Float64Array:
        return self._world.engine.proprioception.vector()

    @property
    def instruction(self) -> str:
        return self._instruction

    def _present_pose(self) -> Float64Array:
        return self._world.engine.eef_pose()

    def privileged_state(self) -> dict[str, Float64Array]:
        """``NAME_pos`` [3] (m) and ``NAME_quat_wxyz`` [4] of every object and fixture of the task, in the world frame."""
        engine = self._world.engine
        facts: dict[str, Float64Array] = {}
        for name, body in engine.env.obj_body_id.items():
            facts |= {f"{name}_pos": engine.data.xpos[body].copy(), f"{name}_quat_wxyz": engine.data.xquat[body].copy()}
        return facts

    def landmarks(self) -> Landmarks:
        engine = self._world.engine
        # A goal is a list of facts: a predicate, what has to come to hold it, and perhaps where.
        asked = tuple(dict.fromkeys(fact[1] for fact in engine.env.parsed_problem["goal_state"]))
        objects = engine.env.objects_dict
        things = {name: self._place(name) for name in dict.fromkeys([*objects, *asked])}
        return Landmarks(engine.proprioception.eef_pos.copy(), things, asked, frozenset(asked) - frozenset(objects))

    def _place(self, name: str) -> Float64Array:
        """Where an object is, the part of a fixture that moves, or a region of one: a drawer's goes with the drawer."""
        env, data = self._world.engine.env, self._world.engine.data
        place: Float64Array
        if name not in env.obj_body_id:
            place = data.site(name).xpos
        elif name in env.fixtures_dict and env.fixtures_dict[name].joints:
            place = data.xipos[self._world.engine.model.joint(env.fixtures_dict[name].joints[0]).bodyid[0]]
        else:
            place = data.xpos[env.obj_body_id[name]]
        return place.copy()

    def _save(self) -> EnvState:
        return self._world.engine.save()

    def _load(self, state: EnvState) -> None:
        self._world.engine.load(state)

    def drawn_state(self) -> Float64Array | None:
        """float64[1 + nq + nv], as a row of ``NAME.npz``: where the reset put everything, before it settled."""
        return self._world.drawn

    def demonstrates(self, task: str) -> dict[str, str]:
        files = self._suite.setup(self._find_task(task), 0).files
        problem = self._world_of(files).engine.env
        return {"env": type(problem).__name__, "bddl_file_name": f"bddl_files/{self._suite.name}/{files.bddl.name}"}

    @property
    def _engine_now(self) -> Engine:
        return self._world.engine

    def bare_physics(self, steps: int) -> None:
        self._world.engine.bare_physics(steps)

    def close(self) -> None:
        while self._worlds:
            self._worlds.popitem()[1].engine.close()

    def _world_of(self, files: TaskFiles, scenery: Scenery | None = None) -> _World:
        if (files, scenery) in self._worlds:
            self._worlds.move_to_end((files, scenery))
            return self._worlds[files, scenery]
        while len(self._worlds) >= MODELS_KEPT:
            self._worlds.popitem(last=False)[1].engine.close()
        world = _World(files, self._assets, self.clock, scenery)
        if self.observation_cameras:
            with self.clock("construction"):
                world.engine.prepare_renderer()
        self._worlds[files, scenery] = world
        return world


def _problem_arguments(bddl: Path) -> dict[str, Any]:
    """What hf-libero's ControlEnv passes on (libero/libero/envs/env_wrapper.py); no evaluation changes it."""
    from robosuite import load_controller_config

    return {
        "bddl_file_name": str(bddl),
        "robots": [ROBOT],
        "controller_configs": load_controller_config(default_controller=CONTROLLER),
        "gripper_types": "default",
        "initialization_noise": None,
        "control_freq": CONTROL_HZ,
    }


def _scene_arguments(scenery: Scenery | None) -> AbstractContextManager[dict[str, Any]]:
    """What a world that is not all LIBERO's own needs beside."""
    if scenery is None:
        return nullcontext({})
    from .plus.building import scene_arguments

    return scene_arguments(scenery)


def _lights(thing: Any) -> list[str]:
    """Sites of a fixture or object that are shown or hidden as it is switched on or off."""
    return [site for site, _ in thing.object_properties["vis_site_names"].values()]
