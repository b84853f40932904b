"""The play table and its robot in pybullet: loading a scene, setting a state, executing an action, reading everything back.

Numbers and, where it shows in the last bits, the order of calls come from mees/calvin_env@797142c: ``envs/play_table_env.py``,
``robot/robot.py``, ``robot/mixed_ik.py``, ``scene/play_table_scene.py``, ``scene/objects/*.py``, ``conf/robot/panda*.yaml`` and
``conf/scene/calvin_scene_*.yaml``. Nothing is drawn here; see `vlagym.envs.calvin.painter`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...errors import EnvError
from ._bullet import p, quiet
from .oracle import Block, Contact, Moment
from .scenes import EULER_PER_UNIT_RAD, POS_PER_UNIT_M, SCENES, Scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float64Array = NDArray[np.float64]

PHYSICS_HZ = 240
PHYSICS_STEPS_PER_ACTION = 8  # so that actions come at 30 Hz
GRAVITY = -9.8

ROBOT_URDF = "franka_panda/panda_longer_finger.urdf"
ROBOT_BASE_POS = (-0.34, -0.46, 0.24)
PEDESTAL_RADIUS, PEDESTAL_OFFSET_X = 0.13, -0.05
ARM_JOINTS = tuple(range(7))
FINGER_JOINTS = (9, 11)
TCP_LINK, GRIPPER_CAM_LINK = 15, 14
ARM_HOME = (-1.21779206, 1.03987646, 2.11978261, -2.34205014, -0.87015947, 1.64119353, 0.55344866)
ARM_LOW = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
ARM_HIGH = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
ARM_FORCE, ARM_SPEED = 200.0, 2.0
FINGER_OPEN_M, FINGER_CLOSED_M, FINGER_SPEED = 0.04, 0.0, 1.0
FINGER_FORCE, FINGER_FORCE_OPENING = 200.0, 2.0
# The inverse kinematics searches in this range around the home pose, whatever the joints can do; the result is clipped afterwards.
IK_LIMITS = [-7.0] * 9, [7.0] * 9
IK_REST = (*ARM_HOME, FINGER_OPEN_M, FINGER_OPEN_M)

SCALE = 0.8  # of table and blocks
TABLE_FORCE = 4.0  # friction of drawer, slider and switch, spring of the button
# In the order of scene_obs, which is also the order in which their motors are set up.
TABLE_JOINTS = {"slider": "base__slide", "drawer": "base__drawer", "button": "base__button", "switch": "base__switch"}
LIGHT_LINKS = {"lightbulb": "light_link", "led": "led_link"}
ROBOT_OBS_SIZE, SCENE_OBS_SIZE, RENDER_STATE_SIZE = 15, 24, 43


@dataclass(frozen=True)
class Bodies:
    """Where things are in a loaded world: ids of bodies, indices of the table's joints and links."""

    robot: int
    blocks: Mapping[str, int]
    table: int
    joints: Mapping[str, int]
    links: Mapping[str, int]


def connect() -> int:
    """Open a pybullet world of its own and return its number."""
    with quiet():
        client: int = p.connect(p.DIRECT)
    if client < 0:
        raise EnvError("pybullet cannot open another world in this process; close() environments that are no longer used.")
    return client


def load(client: int, scene: Scene, data_dir: Path) -> Bodies:
    """Empty the world and load a scene, with the robot at home and the blocks where the scene drops them.

    The order of calls decides the order in which contacts are solved, and so the last bits of every trajectory. So do the poses in
    which the blocks are loaded, although `PlayTable.reset` moves them.
    """
    p.resetSimulation(physicsClientId=client)
    p.setGravity(0, 0, GRAVITY, physicsClientId=client)
    robot = _load_robot(client, data_dir)
    blocks = _load_blocks(client, scene, data_dir)
    table = p.loadURDF(str(data_dir / scene.table), [0, 0, 0], [0, 0, 0, 1], globalScaling=SCALE, physicsClientId=client)
    infos = [p.getJointInfo(table, i, physicsClientId=client) for i in range(p.getNumJoints(table, physicsClientId=client))]
    by_name = {info[1].decode(): i for i, info in enumerate(infos)}
    links = {info[12].decode(): i for i, info in enumerate(infos)}
    bodies = Bodies(robot, blocks, table, {k: by_name[v] for k, v in TABLE_JOINTS.items()}, {**links, "base_link": -1})
    for name, joint in bodies.joints.items():
        mode = p.POSITION_CONTROL if name == "button" else p.VELOCITY_CONTROL
        p.setJointMotorControl2(table, joint, mode, force=TABLE_FORCE, physicsClientId=client)
    p.loadURDF(str(data_dir / "plane/plane.urdf"), physicsClientId=client)
    return bodies


def _load_robot(client: int, data_dir: Path) -> int:
    robot: int = p.loadURDF(str(data_dir / ROBOT_URDF), ROBOT_BASE_POS, [0, 0, 0, 1], useFixedBase=True, physicsClientId=client)
    x, y, z = ROBOT_BASE_POS
    pedestal = p.createVisualShape(
        p.GEOM_CYLINDER,
        radius=PEDESTAL_RADIUS,
        length=z,
        rgbaColor=[1, 1, 1, 1],
        visualFramePosition=[x + PEDESTAL_OFFSET_X, y, z / 2],
        physicsClientId=client,
    )
    p.createMultiBody(baseVisualShapeIndex=pedestal, physicsClientId=client)
    left, right = FINGER_JOINTS
    zero = [0, 0, 0]
    gear = p.createConstraint(robot, left, robot, right, p.JOINT_GEAR, [1, 0, 0], zero, zero, physicsClientId=client)
    p.changeConstraint(gear, gearRatio=-1, erp=0.1, maxForce=50, physicsClientId=client)
    place_robot(client, robot, ARM_HOME, FINGER_OPEN_M)
    return robot


def _load_blocks(client: int, scene: Scene, data_dir: Path) -> dict[str, int]:
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(0)))
    blocks = {}
    for name, file in scene.blocks.items():
        low, high = scene.surfaces[generator.choice(len(scene.surfaces))]
        pos = generator.uniform(low, high)
        quat = p.getQuaternionFromEuler(generator.uniform([0, 0, -np.pi], [0, 0, np.pi]))
        blocks[name] = p.loadURDF(str(data_dir / file), pos, quat, globalScaling=SCALE, physicsClientId=client)
    return blocks


def place_robot(client: int, robot: int, arm: Sequence[float] | Float64Array, finger_m: float) -> None:
    """Set the robot's joints and make its motors hold them there."""
    for joint, value in zip(ARM_JOINTS, arm, strict=True):
        p.resetJointState(robot, joint, value, physicsClientId=client)
        _hold(client, robot, joint, value, ARM_FORCE, ARM_SPEED)
    for joint in FINGER_JOINTS:
        p.resetJointState(robot, joint, finger_m, physicsClientId=client)
        _hold(client, robot, joint, finger_m, FINGER_FORCE, FINGER_SPEED)


def _hold(client: int, robot: int, joint: int, value: float, force: float, speed: float) -> None:
    p.setJointMotorControl2(
        robot, joint, p.POSITION_CONTROL, targetPosition=value, force=force, maxVelocity=speed, physicsClientId=client
    )


class PlayTable:
    """The simulated table. `load` makes the world anew; `reset` puts it into a state; each action takes a thirtieth of a second.

    Args:
        scene: A, B, C or D.
        data_dir: The ``data`` folder of calvin_env.
        revision: Which upstream behaviour of button and LED: in ``797142c`` the button knows at reset whether the LED is on; in
            ``1431a46`` it does not, so that an LED that is on at reset needs two presses to go off.
    """

    def __init__(self, scene: str, data_dir: Path, revision: str = "797142c") -> None:
        self.scene = SCENES[scene]
        self.revision = revision
        self._data_dir = data_dir
        self._client = connect()
        p.setTimeStep(1 / PHYSICS_HZ, physicsClientId=self._client)
        self.load()

    def close(self) -> None:
        """Give the world back to pybullet."""
        if self._client >= 0:
            p.disconnect(physicsClientId=self._client)
            self._client = -1

    def load(self) -> None:
        """Make the world anew: what comes after `reset` then depends on nothing that went before."""
        self._bodies = load(self._client, self.scene, self._data_dir)
        table = self._bodies.table
        limits = {k: p.getJointInfo(table, i, physicsClientId=self._client)[8:10] for k, i in self._bodies.joints.items()}
        self._pressed_beyond = {name: (limits[name][0] + limits[name][1]) / 2 for name in ("button", "switch")}
        self._bodies_by_id = {self._bodies.robot: "robot", table: "table", **{i: name for name, i in self._bodies.blocks.items()}}
        self._links_by_id = {i: name for name, i in self._bodies.links.items()}
        self.lights = {"lightbulb": 0, "led": 0}
        self._button_is_on = self._button_was_pressed = self._switch_was_on = False
        self._gripper = 1

    def reset(self, robot_obs: Sequence[float] | Float64Array, scene_obs: Sequence[float] | Float64Array) -> None:
        """Put robot and table into a state and take one physics step, after which contacts are known.

        Args:
            robot_obs: float[15] as `robot_obs` returns it; only the joints and the gripper's width are used.
            scene_obs: float[24] as `scene_obs` returns it.

        Raises:
            EnvError: Wrong length, a value that is not finite, or a light that is neither 0 nor 1.
        """
        robot_state = _checked("robot_obs", robot_obs, ROBOT_OBS_SIZE)
        scene_state = _checked("scene_obs", scene_obs, SCENE_OBS_SIZE)
        self._reset_table(scene_state)
        for body, pose in zip(self._bodies.blocks.values(), scene_state[6:].reshape(-1, 6), strict=True):
            quat = p.getQuaternionFromEuler(pose[3:])
            p.resetBasePositionAndOrientation(body, pose[:3], quat, physicsClientId=self._client)
        place_robot(self._client, self._bodies.robot, robot_state[7:14], robot_state[6] / 2)
        pos, euler = self._tcp()
        self._target_pos, self._target_euler = np.array(pos), np.array(euler)
        self._button_is_on = self.revision == "797142c" and self.lights["led"] == 1
        self._switch_was_on = False
        self.step_physics(1)

    def _reset_table(self, scene_obs: Float64Array) -> None:
        if not set(scene_obs[4:6]) <= {0.0, 1.0}:
            raise EnvError(f"scene_obs[4:6] are the lights (bulb, LED) and must be 0 or 1; got {scene_obs[4:6].tolist()}.")
        self.lights = {"lightbulb": int(scene_obs[4]), "led": int(scene_obs[5])}
        for joint, value in zip(self._bodies.joints.values(), scene_obs[:4], strict=True):
            p.resetJointState(self._bodies.table, joint, value, physicsClientId=self._client)

    def move_by(self, action: NDArray[np.floating[Any]]) -> None:
        """Move the target pose and follow it for one control step.

        The target starts at the pose of the reset and adds up what it is told; it does not look at where the gripper really is, and
        its angles are never wrapped. The product is taken in the dtype of the action, as upstream does.

        Args:
            action: float32 or float64 [7]: xyz in units of 0.02 m, Euler xyz in units of 0.05 rad, gripper (open if above 0).
        """
        self._target_pos += action[:3] * action.dtype.type(POS_PER_UNIT_M)
        self._target_euler += action[3:6] * action.dtype.type(EULER_PER_UNIT_RAD)
        self._follow(self._target_pos, p.getQuaternionFromEuler(self._target_euler), action[6])

    def move_to(self, action: NDArray[np.floating[Any]]) -> None:
        """Go to a pose for one control step; the target of `move_by` stays where it is.

        Args:
            action: float[7] (xyz, Euler xyz, gripper) or float[8] (xyz, quaternion xyzw, gripper), in the world frame.
        """
        rotation = action[3:-1]
        self._follow(action[:3], p.getQuaternionFromEuler(rotation) if len(rotation) == 3 else rotation, action[-1])

    def _follow(self, pos: Any, quat_xyzw: Any, gripper: Any) -> None:
        robot, client = self._bodies.robot, self._client
        self._gripper = 1 if gripper > 0 else -1
        low, high = IK_LIMITS
        joints = p.calculateInverseKinematics(robot, TCP_LINK, pos, quat_xyzw, low, high, high, IK_REST, physicsClientId=client)
        for joint, value in zip(ARM_JOINTS, np.clip(joints[: len(ARM_JOINTS)], ARM_LOW, ARM_HIGH), strict=True):
            _hold(client, robot, joint, value, ARM_FORCE, ARM_SPEED)
        opening = self._gripper == 1
        finger_m, force = (FINGER_OPEN_M, FINGER_FORCE_OPENING) if opening else (FINGER_CLOSED_M, FINGER_FORCE)
        for joint in FINGER_JOINTS:
            _hold(client, robot, joint, finger_m, force, FINGER_SPEED)
        self.step_physics(PHYSICS_STEPS_PER_ACTION)
        self._update_lights()

    def step_physics(self, steps: int) -> None:
        """Let so many 240ths of a second pass."""
        for _ in range(steps):
            p.stepSimulation(physicsClientId=self._client)

    def _update_lights(self) -> None:
        positions = dict(zip(TABLE_JOINTS, self._table_joints(), strict=True))
        pressed = positions["button"] > self._pressed_beyond["button"]
        if pressed and not self._button_was_pressed:
            self._button_is_on = not self._button_is_on
            self.lights["led"] = int(self._button_is_on)
        self._button_was_pressed = pressed
        switch_is_on = positions["switch"] > self._pressed_beyond["switch"]
        if switch_is_on != self._switch_was_on:
            self.lights["lightbulb"] = int(switch_is_on)
        self._switch_was_on = switch_is_on

    # --- reading the state -----------------------------------------------------------------------------------------------------

    def robot_obs(self) -> Float64Array:
        """float64[15]: gripper xyz (m) and Euler xyz (rad) in the world, its width (m), 7 joints (rad), last gripper action."""
        pos, euler = self._tcp()
        arm, fingers = self._robot_joints()
        return np.array([*pos, *euler, fingers[0] + fingers[1], *arm, self._gripper])

    def scene_obs(self) -> Float64Array:
        """float64[24]: slider, drawer, button, switch, bulb, LED; xyz (m) and Euler xyz (rad) of the scene's blocks in order."""
        poses = [p.getBasePositionAndOrientation(body, physicsClientId=self._client) for body in self._bodies.blocks.values()]
        blocks = [value for pos, quat in poses for value in (*pos, *p.getEulerFromQuaternion(quat))]
        return np.array([*self._table_joints(), self.lights["lightbulb"], self.lights["led"], *blocks])

    def render_state(self) -> Float64Array:
        """float64[43]: all that a picture depends on, in the parts of `split_render_state`."""
        poses = [p.getBasePositionAndOrientation(body, physicsClientId=self._client) for body in self._bodies.blocks.values()]
        # The link pose that pybullet reports after a step is that of one physics step earlier; upstream points the camera with it.
        camera = p.getLinkState(self._bodies.robot, GRIPPER_CAM_LINK, physicsClientId=self._client)[:2]
        arm, fingers = self._robot_joints()
        numbers = (value for pose in (*poses, camera) for part in pose for value in part)
        return np.array([*arm, *fingers, *self._table_joints(), *self.lights.values(), *numbers])

    def physics_state(self) -> Float64Array:
        """float64[77]: joints and their velocities, blocks and theirs, lights, button, switch, gripper, target pose."""
        client, bodies = self._client, self._bodies
        moving = [(bodies.robot, (*ARM_JOINTS, *FINGER_JOINTS)), (bodies.table, tuple(bodies.joints.values()))]
        joints = [state[:2] for body, ids in moving for state in p.getJointStates(body, ids, physicsClientId=client)]
        blocks = [
            (*p.getBasePositionAndOrientation(i, physicsClientId=client), *p.getBaseVelocity(i, physicsClientId=client))
            for i in bodies.blocks.values()
        ]
        logic = (*self.lights.values(), self._button_is_on, self._button_was_pressed, self._switch_was_on, self._gripper)
        return np.concatenate([*joints, *(part for block in blocks for part in block), logic, self._target_pos, self._target_euler])

    def moment(self) -> Moment:
        """What the oracle looks at."""
        slider, drawer, *_ = self._table_joints()
        blocks = {name: self._block(body) for name, body in self._bodies.blocks.items()}
        touched = frozenset(contact.body for contact in self._contacts(self._bodies.robot))
        return Moment(blocks, touched, {"slider": slider, "drawer": drawer}, dict(self.lights))

    def fixtures(self) -> dict[str, Float64Array]:
        """Centres of mass of slider, drawer, button and switch, float64[3], m, as of the last physics step but one."""
        joints = self._bodies.joints
        states = p.getLinkStates(self._bodies.table, tuple(joints.values()), physicsClientId=self._client)
        return {name: np.array(state[0]) for name, state in zip(joints, states, strict=True)}

    def _block(self, body: int) -> Block:
        pos, quat = p.getBasePositionAndOrientation(body, physicsClientId=self._client)
        lin_vel, ang_vel = p.getBaseVelocity(body, physicsClientId=self._client)
        return Block(pos, quat, lin_vel, ang_vel, self._contacts(body))

    def _contacts(self, body: int) -> frozenset[Contact]:
        rows = {row[2:5:2] for row in p.getContactPoints(bodyA=body, physicsClientId=self._client)}
        return frozenset(
            Contact("table", self._links_by_id[link])
            if other == self._bodies.table
            else Contact(self._bodies_by_id.get(other, "plane"))
            for other, link in rows
        )

    def _tcp(self) -> tuple[Sequence[float], Sequence[float]]:
        pos, quat = p.getLinkState(self._bodies.robot, TCP_LINK, physicsClientId=self._client)[:2]
        return pos, p.getEulerFromQuaternion(quat)

    def _robot_joints(self) -> tuple[list[float], list[float]]:
        states = p.getJointStates(self._bodies.robot, (*ARM_JOINTS, *FINGER_JOINTS), physicsClientId=self._client)
        positions = [state[0] for state in states]
        return positions[: len(ARM_JOINTS)], positions[len(ARM_JOINTS) :]

    def _table_joints(self) -> list[float]:
        joints = tuple(self._bodies.joints.values())
        return [state[0] for state in p.getJointStates(self._bodies.table, joints, physicsClientId=self._client)]


class RenderState(NamedTuple):
    """A render state in its parts; a pose is xyz in metres and a quaternion xyzw, in the world frame.

    Attributes:
        robot_joints: Arm and fingers, float64[9].
        table_joints: Slider, drawer, button, switch, float64[4].
        lights: Bulb and LED, float64[2].
        blocks: Pose of each block, float64[3, 7].
        camera: Pose of the gripper's camera, float64[7].
    """

    robot_joints: Float64Array
    table_joints: Float64Array
    lights: Float64Array
    blocks: Float64Array
    camera: Float64Array


def split_render_state(vector: Float64Array) -> RenderState:
    """The parts of what `PlayTable.render_state` returned.

    Raises:
        EnvError: It has another length.
    """
    if np.shape(vector) != (RENDER_STATE_SIZE,):
        raise EnvError(f"a render state of CALVIN is float64[{RENDER_STATE_SIZE}]; got an array of shape {np.shape(vector)}.")
    robot_joints, table_joints, lights, blocks, camera = np.split(np.asarray(vector, np.float64), [9, 13, 15, 36])
    return RenderState(robot_joints, table_joints, lights, blocks.reshape(3, 7), camera)


def _checked(name: str, values: Sequence[float] | Float64Array, size: int) -> Float64Array:
    array = np.asarray(values, np.float64)
    if array.shape != (size,) or not np.isfinite(array).all():
        raise EnvError(f"{name} must be {size} finite numbers, as CALVIN records them; got {list(array.shape)} {array.tolist()}.")
    return array
