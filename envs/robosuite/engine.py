"""The machinery that LIBERO and robosuite's own tasks share: a robosuite 1.4 environment that is built once and reset exactly.

robosuite builds its MuJoCo model anew at every reset, draws every camera in every control step, and calls MuJoCo's dynamics three
times per substep where one and a half do. `Engine` drives the same environment object without any of that and gets the same bits:
physics, images and the generator's draws are those of robosuite/environments/base.py (``MujocoEnv.reset`` with ``hard_reset``, and
``MujocoEnv.step``) with its ``OSC_POSE`` controller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...errors import EnvError
from ..variation import light_factors, moved
from ._controller import OscPose
from ._memory import forget_source, forget_textures, keep_assets
from ._rendering import Renderer
from ._upstream import import_robosuite, numpy_random

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..env import StageClock
    from ..spec import EnvState, Float64Array, Image
    from ..variation import Change

# Argument of mj_forwardSkip: nothing reads MuJoCo's sensors.
_NO_SENSORS = 1

_LIGHTS = tuple(f"{where}{part}" for where in ("light_", "vis.headlight.") for part in ("ambient", "diffuse", "specular"))
# What robosuite, or a variation, changes in a compiled model while an episode is set up or under way.
_CHANGEABLE = ("body_pos", "body_quat", "site_rgba", "cam_pos", "cam_quat", *_LIGHTS)


class Proprioception(NamedTuple):
    """The robot's own readings at the moment of an image; poses in the world frame, as robosuite's observables give them.

    Attributes:
        eef_pos: float64[3], m, of the grip site.
        eef_quat_xyzw: float64[4], of the hand's body.
        gripper_qpos: float64[2], m, positive for the left finger and negative for the right.
        joint_pos: float64[7], rad.
    """

    eef_pos: Float64Array
    eef_quat_xyzw: Float64Array
    gripper_qpos: Float64Array
    joint_pos: Float64Array

    def vector(self) -> Float64Array:
        """float64[8]: eef_pos, orientation as axis times angle (rad), gripper_qpos.

        The layout of the policies trained on LIBERO (openvla-oft, experiments/robot/libero/libero_utils.py). The quaternion is
        converted as it comes: q and -q give different vectors.
        """
        from robosuite.utils.transform_utils import quat2axisangle

        # quat2axisangle clips its argument in place.
        axis_angle = quat2axisangle(self.eef_quat_xyzw.copy())
        return np.concatenate([self.eef_pos, axis_angle, self.gripper_qpos])


class _SamplingTimer:
    """Tells at which substeps robosuite samples its observables (robosuite/utils/observables.py, ``Observable.update``).

    It adds up timesteps in floating point and samples at the first update after each full period, so the substep follows from the
    number of forced updates before: in robosuite's own tasks the last of 25, in LIBERO the last but one.
    """

    def __init__(self, period: float, timestep: float) -> None:
        self._period, self._timestep = period, timestep
        self.reset()

    def reset(self) -> None:
        """An episode begins."""
        self.elapsed, self.sampled = 0.0, False

    def tick(self, force: bool = False) -> bool:
        """One update; returns whether it samples."""
        self.elapsed += self._timestep
        samples = force or (not self.sampled and self._period >= self.elapsed)
        self.sampled |= samples
        if self.elapsed >= self._period:
            self.elapsed %= self._period
            self.sampled = False
        return samples


class Engine:
    """A robosuite environment with one OSC-controlled arm.

    Construction and resets draw from generators that are handed in; numpy's global generator is never seen to move.

    Args:
        env_class: A robosuite environment class, e.g. ``robosuite.environments.manipulation.lift.Lift``.
        arguments: Its keyword arguments, without those about rendering and cameras.
        clock: Receives the times of the stages ``construction``, ``reset``, ``physics`` and ``controller``.
        generator: Drawn from while the model is built, e.g. for the sizes of objects.

    Attributes:
        env: The upstream environment, for what is particular to it (its success check, its objects). Do not step or reset it.
        model: `mujoco.MjModel`.
        data: `mujoco.MjData`. After `step`, poses are those before the last integration, as robosuite leaves them.
        absolute: Whether actions name the pose to be at, instead of how far to move.
        visual_sites: Ids of sites whose visibility changes within an episode; part of the render state.
    """

    def __init__(self, env_class: Any, arguments: Mapping[str, Any], clock: StageClock, generator: np.random.RandomState) -> None:
        import_robosuite()
        self._clock = clock
        with clock("construction"), numpy_random(generator):
            self.env, self._pristine = _build(env_class, arguments)
            self.model, self.data = self.env.sim.model._model, self.env.sim.data._data
            self._robot = self.env.robots[0]
            self._controller = OscPose(self._robot, self.model, self.data)
        self.visual_sites: NDArray[np.intp] = np.empty(0, np.intp)
        self._placed_bodies: NDArray[np.intp] = np.empty(0, np.intp)
        self._substeps = int(self.env.control_timestep / self.env.model_timestep)
        self._timer = _SamplingTimer(1.0 / self.env.control_freq, self.env.model_timestep)
        self._eef_body = self.env.sim.model.body_name2id(self._robot.robot_model.eef_name)
        self._renderer: Renderer | None = None
        self.absolute = False

    def track(self, visual_sites: Sequence[str] = (), bodies: Sequence[str] = ()) -> None:
        """Name what else varies between episodes: sites that light up, and bodies without joints that resets move."""
        self.visual_sites = np.array([self.env.sim.model.site_name2id(name) for name in visual_sites], np.intp)
        self._placed_bodies = np.array([self.env.sim.model.body_name2id(name) for name in bodies], np.intp)

    # --- the episode -----------------------------------------------------------------------------------------------------------

    def reset(self, generator: np.random.RandomState) -> None:
        """Begin an episode; everything random comes from `generator`, in the order in which robosuite draws it."""
        import mujoco

        with self._clock("reset"):
            self.restore()
            for _ in range(2):
                # Once where robosuite builds its simulation and once where it builds its renderer: the constraint solver starts
                # from its last solution, so the number of calls shows in the last bits.
                mujoco.mj_forward(self.model, self.data)
            with numpy_random(generator):
                self.env._reset_internal()
            mujoco.mj_forward(self.model, self.data)
            self.env.visualize(vis_settings=dict.fromkeys(self.env._visualizations, False))
            self._controller.restart()
            self._timer.reset()
            self.observe()

    def restore(self) -> None:
        """Put model and data into the state in which they were compiled."""
        import mujoco

        mujoco.mj_resetData(self.model, self.data)
        for name, values in self._pristine.items():
            attrgetter(name)(self.model)[:] = values

    def set_state(self, state: Float64Array) -> None:
        """Set float64[1 + nq + nv]: time in s, qpos, qvel, as robosuite flattens a state. Nothing is brought up to date with it."""
        self.data.time, self.data.qpos[:], self.data.qvel[:] = state[0], state[1 : 1 + self.model.nq], state[1 + self.model.nq :]

    def observe(self) -> None:
        """Sample the present moment, as robosuite does where it forces an update of its observables.

        The data must be up to date with its configuration (``mj_forward``).
        """
        self._timer.tick(force=True)
        self._qpos_of_poses = self.data.qpos.copy()
        self._sample(self._qpos_of_poses)

    def step(self, action: NDArray[np.floating[Any]]) -> None:
        """Execute one action float[7]: six entries in controller units (m and rad where `absolute`), then the gripper."""
        import mujoco

        model, data, controller = self.model, self.data, self._controller
        skip_nothing, skip_to_forces = mujoco.mjtStage.mjSTAGE_NONE.value, mujoco.mjtStage.mjSTAGE_VEL.value
        physics_s = controller_s = 0.0
        for substep in range(self._substeps):
            started = perf_counter()
            mujoco.mj_forwardSkip(model, data, skip_nothing, _NO_SENSORS)
            stale = controller.stale
            if not stale:
                # robosuite's controller runs the dynamics once more. Positions and velocities come out the same; the constraint
                # solver starts from its last solution and moves the last bits of the next one.
                mujoco.mj_forwardSkip(model, data, skip_to_forces, _NO_SENSORS)
            solved = perf_counter()
            if stale:
                controller.stale = False
            else:
                controller.read()
            if substep == 0:
                if self.absolute:
                    controller.set_absolute_goal(action)
                else:
                    controller.set_goal(action)
            controller.actuate()
            actuated = perf_counter()
            samples = self._timer.tick()
            if samples or substep == self._substeps - 1:
                self._qpos_of_poses = data.qpos.copy()
            mujoco.mj_step2(model, data)
            if samples:
                self._sample(self._qpos_of_poses)
            physics_s += solved - started + perf_counter() - actuated
            controller_s += actuated - solved
        self._clock.seconds["physics"] += physics_s
        self._clock.seconds["controller"] += controller_s

    def bare_physics(self, steps: int) -> None:
        """Advance the simulation by `steps` control steps of nothing but ``mj_step``."""
        import mujoco

        for _ in range(steps * self._substeps):
            mujoco.mj_step(self.model, self.data)

    def _sample(self, qpos: Float64Array) -> None:
        data = self.data
        self.render_state: Float64Array = np.concatenate([qpos, self.model.site_rgba[self.visual_sites, 3]])
        self.proprioception = Proprioception(
            data.site_xpos[self._robot.eef_site_id].copy(),
            data.xquat[self._eef_body][[1, 2, 3, 0]],
            data.qpos[self._robot._ref_gripper_joint_pos_indexes],
            data.qpos[self._robot._ref_joint_pos_indexes],
        )

    def eef_pose(self) -> Float64Array:
        """float64[6]: where the fingertips are, as an absolute action names it: position (m) and rotation vector (rad), world."""
        from robosuite.utils.transform_utils import mat2quat, quat2axisangle

        site = self._robot.eef_site_id
        turn = quat2axisangle(mat2quat(self.data.site_xmat[site].reshape(3, 3).copy()))
        return np.concatenate([self.data.site_xpos[site], turn])

    def place_camera(self, name: str, pos: Sequence[float], quat_wxyz: Sequence[float]) -> None:
        """Put a camera elsewhere until the next `restore`; position in m, both relative to its body."""
        camera = self.env.sim.model.camera_name2id(name)
        quat = np.array(quat_wxyz, np.float64)
        self.model.cam_pos[camera] = pos
        # As MuJoCo's compiler, which divides by the root of the squares summed in this order.
        self.model.cam_quat[camera] = quat / np.sqrt(quat[0] ** 2 + quat[1] ** 2 + quat[2] ** 2 + quat[3] ** 2)

    def place_bodies(self, poses: Mapping[str, Float64Array]) -> None:
        """Put bodies without joints elsewhere until the next `restore`: float64[7] each, position (m), quaternion (w, x, y, z)."""
        for name, pose in poses.items():
            body = self.env.sim.model.body_name2id(name)
            self.model.body_pos[body], self.model.body_quat[body] = pose[:3], pose[3:]

    def body_pose(self, body: str) -> Float64Array:
        """float64[7]: where a body without joints stands, as `place_bodies` takes it."""
        number = self.env.sim.model.body_name2id(body)
        return np.concatenate([self.model.body_pos[number], self.model.body_quat[number]])

    def model_xml(self) -> str:
        """What the model was compiled from, with the tracked bodies where they stand in this episode."""
        from xml.etree import ElementTree

        root = ElementTree.fromstring(self.env.model.get_xml())
        placed = {self.env.sim.model.body_id2name(body): body for body in self._placed_bodies}
        for body in root.iter("body"):
            if (number := placed.get(body.get("name"))) is None:
                continue
            for other in ("axisangle", "euler", "xyaxes", "zaxis"):
                body.attrib.pop(other, None)
            body.set("pos", " ".join(map(repr, self.model.body_pos[number].tolist())))
            body.set("quat", " ".join(map(repr, self.model.body_quat[number].tolist())))
        return ElementTree.tostring(root, encoding="unicode")

    def geom_size(self, geom: str) -> Float64Array | None:
        """float64[3], m, as the shape of a geom has it; None where the model has no such geom."""
        names = self.env.sim.model._geom_name2id
        return None if geom not in names else self.model.geom_size[names[geom]].copy()

    def begin_at(self, state: Float64Array) -> None:
        """Begin the episode, which has been reset, at float64[1 + nq + nv] instead.

        Raises:
            EnvError: The state is one of another model.
        """
        import mujoco

        width = 1 + self.model.nq + self.model.nv
        if len(state) != width:
            raise EnvError(f"its states have {len(state)} values and those of this task {width}: it is of another task.")
        self.set_state(state)
        mujoco.mj_forward(self.model, self.data)

    def vary(self, variation: Sequence[Change], camera: str) -> None:
        """Move a camera and change the lights until the next `restore`; nothing of it touches the physics."""
        from scipy.spatial.transform import Rotation

        if not variation:
            return
        index = self.env.sim.model.camera_name2id(camera)
        w, *xyz = self.model.cam_quat[index]
        axes = Rotation.from_quat([*xyz, w]).as_matrix()
        pos, turned = moved(self.model.cam_pos[index].copy(), axes, variation)
        if turned is not axes:
            *xyz, w = Rotation.from_matrix(turned).as_quat()
            self.model.cam_pos[index], self.model.cam_quat[index] = pos, [w, *xyz]
        for name in _LIGHTS:
            attrgetter(name)(self.model)[:] *= light_factors(variation)

    # --- pictures --------------------------------------------------------------------------------------------------------------

    def prepare_renderer(self) -> None:
        """Upload the model's meshes and textures now rather than at the first picture; the model itself forgets its textures.

        Raises:
            DependencyError: Nothing on this machine can render.
        """
        if self._renderer is None:
            self._renderer = Renderer(self.model)
            forget_textures(self.model)

    def draw(self, render_state: Float64Array, camera: str, height: int, width: int) -> Image:
        """Draw a moment of the present episode.

        Args:
            render_state: float64[nq + sites], as `render_state` was then.
            camera: Name of a camera of the model.
            height: Pixels.
            width: Pixels.

        Returns:
            uint8[height, width, 3], RGB, upright: robosuite's image with its rows in reverse order (``image[::-1]``).
        """
        self.prepare_renderer()
        assert self._renderer is not None
        alphas = self.model.site_rgba[self.visual_sites, 3].copy()
        self.model.site_rgba[self.visual_sites, 3] = render_state[self.model.nq :]
        try:
            return self._renderer.draw(render_state[: self.model.nq], camera, height, width)
        finally:
            self.model.site_rgba[self.visual_sites, 3] = alphas

    # --- the state -------------------------------------------------------------------------------------------------------------

    def physics_state(self) -> Float64Array:
        """As `physics_vector`, with the tracked bodies."""
        return physics_vector(self.model, self.data, self._placed_bodies)

    def save(self) -> EnvState:
        """Everything needed to go on from here bit for bit, within the same episode, as named arrays."""
        import mujoco

        spec = mujoco.mjtState.mjSTATE_INTEGRATION.value
        integration = np.empty(mujoco.mj_stateSize(self.model, spec))
        mujoco.mj_getState(self.model, self.data, integration, spec)
        sample = {f"sample.{name}": value.copy() for name, value in self.proprioception._asdict().items()}
        return {
            **self._controller.save(),
            **sample,
            "sample.render_state": self.render_state.copy(),
            "timer": np.array([self._timer.elapsed, self._timer.sampled]),
            "qpos_of_poses": self._qpos_of_poses.copy(),
            "site_rgba": self.model.site_rgba.copy(),
            "integration": integration,
        }

    def load(self, state: EnvState) -> None:
        """Inverse of `save`."""
        import mujoco

        self.model.site_rgba[:] = state["site_rgba"]
        # After a step, poses and contacts lag one integration behind qpos; success checks look at them.
        self._qpos_of_poses = np.array(state["qpos_of_poses"])
        self.data.qpos[:] = self._qpos_of_poses
        mujoco.mj_fwdPosition(self.model, self.data)
        mujoco.mj_setState(self.model, self.data, state["integration"], mujoco.mjtState.mjSTATE_INTEGRATION.value)
        self._controller.load(state)
        elapsed, sampled = state["timer"]
        self._timer.elapsed, self._timer.sampled = float(elapsed), bool(sampled)
        self.render_state = np.array(state["sample.render_state"])
        self.proprioception = Proprioception(*(np.array(state[f"sample.{name}"]) for name in Proprioception._fields))

    def close(self) -> None:
        """Give memory and the renderer's textures back."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        if self.env is not None:
            self.env.close()
            self.env = None


def physics_vector(model: Any, data: Any, bodies: NDArray[np.intp]) -> Float64Array:
    """float64[1 + nq + nv + 7 * bodies]: time in s, qpos, qvel, then positions and quaternions (w, x, y, z) of bodies.

    Args:
        model: `mujoco.MjModel`.
        data: `mujoco.MjData`.
        bodies: Ids of bodies without joints that stand elsewhere in every episode; their poses are relative to their parents.
    """
    poses = np.concatenate([model.body_pos[bodies], model.body_quat[bodies]], axis=1)
    return np.concatenate([[data.time], data.qpos, data.qvel, poses.ravel()])


def _build(env_class: Any, arguments: Mapping[str, Any]) -> tuple[Any, dict[str, Float64Array]]:
    """Construct the environment, and note what its model held before its first reset moved anything."""
    pristine = {}
    env = env_class.__new__(env_class)
    compile_model = env._initialize_sim

    def compile_and_note(*args: Any) -> None:
        compile_model(*args)
        pristine.update({name: attrgetter(name)(env.sim.model._model).copy() for name in _CHANGEABLE})

    env._initialize_sim = compile_and_note
    keep_assets()
    env.__init__(has_renderer=False, has_offscreen_renderer=False, use_camera_obs=False, ignore_done=True, **arguments)
    del env._initialize_sim
    forget_source()
    return env, pristine
