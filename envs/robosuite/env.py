"""One of robosuite's own tasks at a time behind the contract of `vlagym.envs.env`, on the engine that LIBERO runs on."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._registry import import_target
from ..demonstrations import DemonstrableEnv
from ..env import StepOutcome
from ..landmarks import Landmarks
from ..spec import Task
from ._upstream import import_robosuite
from .engine import Engine
from .settings import TASKS, RobosuiteSettings, RobosuiteTask
from .specs import CAMERAS, CONTROL_HZ, CONTROLLER, ROBOT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..spec import EnvState, Float64Array, Image

MODELS_KEPT = 2  # the runner keeps a worker on its task; with its textures uploaded a model takes half a gigabyte
GRIP_SITE = "gripper0_grip_site"
FINGERS = ("gripper0_finger_joint1", "gripper0_finger_joint2")


class RobosuiteEnv(DemonstrableEnv):
    """Plays the tasks of a `RobosuiteSettings`; the models of the last few are kept.

    A task is done, and the episode over, when robosuite's own success check says so.
    """

    def __init__(self, suite: RobosuiteSettings, cameras: Sequence[str]) -> None:
        super().__init__(suite, cameras)
        self._engines: OrderedDict[str, Engine] = OrderedDict()

    def _begin(self, task: Task, trial: int, seed: int) -> None:
        self._spec = next(spec for spec in TASKS if spec.name == task.name)
        self._engine = self._engine_of(self._spec)
        self._engine.reset(_generator(task.name, trial, seed))
        self._engine.vary(self.suite.variation, CAMERAS["primary"])

    def _engine_of(self, spec: RobosuiteTask) -> Engine:
        if spec.name in self._engines:
            self._engines.move_to_end(spec.name)
            return self._engines[spec.name]
        while len(self._engines) >= MODELS_KEPT:
            self._engines.popitem(last=False)[1].close()
        self._engines[spec.name] = engine = self._build(spec)
        return engine

    def _build(self, spec: RobosuiteTask) -> Engine:
        import_robosuite()
        from robosuite.controllers import load_controller_config

        controller = load_controller_config(default_controller=CONTROLLER)
        arguments = {"robots": ROBOT, "controller_configs": controller, "control_freq": CONTROL_HZ}
        engine = Engine(import_target(spec.env_class), arguments, self.clock, _generator(spec.name))
        engine.track(bodies=spec.placed_bodies)
        if self.observation_cameras:
            with self.clock("construction"):
                engine.prepare_renderer()
        return engine

    def _advance(self, action: NDArray[np.floating[Any]]) -> StepOutcome:
        self._engine.step(action)
        done = bool(self._engine.env._check_success())
        return StepOutcome(done, "success" if done else None)

    def draw(self, render_state: Float64Array, camera: str, height: int, width: int) -> Image:
        return self._engine.draw(render_state, CAMERAS.get(camera, camera), height, width)

    def render_state(self) -> Float64Array:
        return self._engine.render_state

    def physics_state(self) -> Float64Array:
        return self._engine.physics_state()

    def _state_vector(self) -> Float64Array:
        return self._engine.proprioception.vector()

    @property
    def instruction(self) -> str:
        return self._spec.instruction

    def privileged_state(self) -> dict[str, Float64Array]:
        """What the scripted experts go by; lengths in metres, angles in radians, all in the world frame.

        ``eef_pos`` [3], ``eef_quat_wxyz`` [4] and ``eef_velocity`` [3] are of the point between the fingertips (z out of the hand,
        x the direction in which the fingers close), ``gripper_qpos`` [2] and ``gripper_qvel`` [2] of the left and right finger.
        For every body and site NAME of the task (see `RobosuiteTask`) there is ``NAME_pos`` [3] and ``NAME_quat_wxyz`` [4], for
        every hinge NAME ``NAME_angle`` [1], ``NAME_pos`` [3] (its anchor) and ``NAME_axis`` [3].
        """
        data = self._engine.data
        facts = {
            **self._site("eef", GRIP_SITE),
            "eef_velocity": self._velocity(GRIP_SITE),
            "gripper_qpos": np.concatenate([data.joint(name).qpos for name in FINGERS]),
            "gripper_qvel": np.concatenate([data.joint(name).qvel for name in FINGERS]),
        }
        for name, body in self._spec.bodies.items():
            facts |= {f"{name}_pos": data.body(body).xpos.copy(), f"{name}_quat_wxyz": data.body(body).xquat.copy()}
        for name, site in self._spec.sites.items():
            facts |= self._site(name, site)
        for name, hinge in self._spec.hinges.items():
            joint = data.joint(hinge)
            facts |= {f"{name}_angle": joint.qpos.copy(), f"{name}_pos": joint.xanchor.copy(), f"{name}_axis": joint.xaxis.copy()}
        return facts

    def landmarks(self) -> Landmarks:
        spec, data = self._spec, self._engine.data
        places = {name: data.body(body).xpos for name, body in spec.bodies.items()}
        places |= {name: data.site(site).xpos for name, site in spec.sites.items()}
        things = {name: places[name].copy() for name in spec.things}
        fixtures = frozenset(spec.things) if spec.hinges else frozenset[str]()
        return Landmarks(data.site(GRIP_SITE).xpos.copy(), things, spec.things[:1], fixtures)

    def _site(self, name: str, site: str) -> Mapping[str, Float64Array]:
        import mujoco

        quat_wxyz = np.empty(4)
        found = self._engine.data.site(site)
        mujoco.mju_mat2Quat(quat_wxyz, found.xmat)
        return {f"{name}_pos": found.xpos.copy(), f"{name}_quat_wxyz": quat_wxyz}

    def _velocity(self, site: str) -> Float64Array:
        import mujoco

        model, data = self._engine.model, self._engine.data
        jacobian = np.zeros((3, model.nv))
        mujoco.mj_jacSite(model, data, jacobian, None, model.site(site).id)
        velocity: Float64Array = np.dot(jacobian, data.qvel)
        return velocity

    def demonstrates(self, task: str) -> dict[str, str]:
        return {"env": next(spec.env_class for spec in TASKS if spec.name == task).partition(":")[2]}

    @property
    def _engine_now(self) -> Engine:
        return self._engine

    def bare_physics(self, steps: int) -> None:
        self._engine.bare_physics(steps)

    def _save(self) -> EnvState:
        return self._engine.save()

    def _load(self, state: EnvState) -> None:
        self._engine.load(state)

    def close(self) -> None:
        while self._engines:
            self._engines.popitem()[1].close()


def _generator(*parts: str | int) -> np.random.RandomState:
    """The generator that belongs to a task, or to an episode of it."""
    digest = hashlib.sha256("/".join(map(str, ("robosuite", *parts))).encode()).digest()
    return np.random.RandomState(np.frombuffer(digest, "<u4"))
