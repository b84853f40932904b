"""The operational-space controller of robosuite 1.4 with a Panda gripper, without its detours.

Torques are bit for bit those of robosuite/controllers/osc.py, robots/single_arm.py and models/grippers/panda_gripper.py in their
``OSC_POSE`` settings: the same operations in the same order on arrays of the same memory layout, and the same compiled functions.
Only what computes nothing is left out: look-ups by name, repeated Jacobians, buffers of past values, new arrays at every tick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import EnvError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..spec import EnvState, Float64Array

# robosuite.models.grippers.panda_gripper.PandaGripper: each tick moves both fingers' targets by so much, in opposite directions.
_GRIPPER_STEP = np.array([-1.0, 1.0]) * 0.01


class _Reading:
    """What the controller knows of an arm of n joints: poses in the world frame, SI units.

    The names are those of robosuite's controller. Its matrices that are cut out of larger ones come in Fortran order, and products
    depend on it.
    """

    NAMES = (
        "ee_pos",
        "ee_ori_mat",
        "ee_pos_vel",
        "ee_ori_vel",
        "joint_pos",
        "joint_vel",
        "J_pos",
        "J_ori",
        "J_full",
        "mass_matrix",
    )
    __slots__ = NAMES

    def __init__(self, joints: int) -> None:
        self.ee_pos, self.ee_ori_mat = np.zeros(3), np.zeros((3, 3))
        self.ee_pos_vel, self.ee_ori_vel = np.zeros(3), np.zeros(3)
        self.joint_pos, self.joint_vel = np.zeros(joints), np.zeros(joints)
        self.J_pos, self.J_ori = np.zeros((3, joints), order="F"), np.zeros((3, joints), order="F")
        self.J_full, self.mass_matrix = np.zeros((6, joints), order="F"), np.zeros((joints, joints), order="F")

    def set(self, values: dict[str, Float64Array]) -> None:
        """Copy values in."""
        for name in self.NAMES:
            getattr(self, name)[...] = values[name]


class OscPose:
    """Drives the arm and gripper of a robosuite robot.

    Args:
        robot: A reset `robosuite.robots.SingleArm` with a Panda gripper, whose controller is ``OSC_POSE`` with fixed impedance,
            deltas and no limits.
        model: `mujoco.MjModel` that the robot is part of.
        data: `mujoco.MjData` of that model.

    Attributes:
        stale: The next tick goes by the reading there is, see `restart`.

    Raises:
        EnvError: The robot is another, or its controller has other settings.
    """

    def __init__(self, robot: Any, model: Any, data: Any) -> None:
        from robosuite.utils import control_utils, transform_utils

        _check_settings(robot)
        self._functions, self._transforms = control_utils, transform_utils
        self._robot, self._model, self._data = robot, model, data
        self._site = robot.eef_site_id
        self._joints = _span(robot._ref_joint_pos_indexes)
        self._dofs = _span(robot._ref_joint_vel_indexes)
        self._motors = _span(robot._ref_joint_actuator_indexes)
        self._fingers = _span(robot._ref_joint_gripper_actuator_indexes)
        self._torque_low, self._torque_high = robot.torque_limits
        finger_range = model.actuator_ctrlrange[self._fingers]
        self._finger_bias = 0.5 * (finger_range[:, 1] + finger_range[:, 0])
        self._finger_weight = 0.5 * (finger_range[:, 1] - finger_range[:, 0])
        self._jacobians = np.empty((3, model.nv)), np.empty((3, model.nv))
        self._full_mass_matrix = np.empty((model.nv, model.nv))
        self._reading = _Reading(len(robot._ref_joint_pos_indexes))
        self.restart()

    def restart(self) -> None:
        """Take over from the robot's own controller after the robot was reset.

        That controller has just read the arm's state and, as nothing has run since, does not read it again at its first tick,
        wherever the arm may have been moved in the meantime. `stale` says so.
        """
        controller = self._robot.controller
        self._reading.set({name: getattr(controller, name) for name in _Reading.NAMES})
        self._kp_pos, self._kp_ori = controller.kp[:3], controller.kp[3:]
        self._kd_pos, self._kd_ori = controller.kd[:3], controller.kd[3:]
        self._initial_joint = np.array(controller.initial_joint)
        self._goal_pos, self._goal_ori = np.array(controller.goal_pos), np.array(controller.goal_ori)
        self._scale = controller.scale_action
        self._fingers_at, self._fingers_move = np.zeros(2), np.zeros(2)
        self.stale = True

    def set_goal(self, action: NDArray[np.floating[Any]]) -> None:
        """Take an action float[7]: the pose that six entries name relative to the pose last read, and where the fingers go."""
        delta = self._scale(action[:6])
        if delta[3:].any():
            self._goal_ori = self._functions.set_goal_orientation(delta[3:], self._reading.ee_ori_mat)
        self._goal_pos = self._reading.ee_pos + delta[:3]
        self._fingers_move = _GRIPPER_STEP * np.sign(action[6:])

    def set_absolute_goal(self, action: NDArray[np.floating[Any]]) -> None:
        """Take an action float[7] with ``use_delta`` off: the pose itself (m, rotation vector), and where the fingers go."""
        turn = self._transforms.quat2mat(self._transforms.axisangle2quat(action[3:6]))
        self._goal_ori = self._functions.set_goal_orientation(action[3:6], self._reading.ee_ori_mat, set_ori=turn)
        self._goal_pos = self._functions.set_goal_position(action[:3], self._reading.ee_pos, set_pos=action[:3])
        self._fingers_move = _GRIPPER_STEP * np.sign(action[6:])

    def read(self) -> None:
        """Read the arm's state from the data, which must be up to date with its configuration and velocity."""
        import mujoco

        data, reading = self._data, self._reading
        jacp, jacr = self._jacobians
        mujoco.mj_jacSite(self._model, data, jacp, jacr, self._site)
        mujoco.mj_fullM(self._model, self._full_mass_matrix, data.qM)
        qvel = data.qvel
        reading.ee_pos[:] = data.site_xpos[self._site]
        reading.ee_ori_mat.ravel()[:] = data.site_xmat[self._site]
        np.dot(jacp, qvel, out=reading.ee_pos_vel)
        np.dot(jacr, qvel, out=reading.ee_ori_vel)
        reading.joint_pos[:] = data.qpos[self._joints]
        reading.joint_vel[:] = qvel[self._dofs]
        reading.J_pos[:] = reading.J_full[:3] = jacp[:, self._dofs]
        reading.J_ori[:] = reading.J_full[3:] = jacr[:, self._dofs]
        reading.mass_matrix[:] = self._full_mass_matrix[self._dofs, self._dofs]
        self.stale = False

    def actuate(self) -> None:
        """Write the torques towards the goal, and the fingers' targets, into the data's controls."""
        ctrl = self._data.ctrl
        self._fingers_at = np.minimum(np.maximum(self._fingers_at + self._fingers_move, -1.0), 1.0)
        ctrl[self._fingers] = self._finger_bias + self._finger_weight * self._fingers_at
        ctrl[self._motors] = np.minimum(np.maximum(self._torques(), self._torque_low), self._torque_high)

    def _torques(self) -> Float64Array:
        r, functions = self._reading, self._functions
        force = (self._goal_pos - r.ee_pos) * self._kp_pos - r.ee_pos_vel * self._kd_pos
        torque = functions.orientation_error(self._goal_ori, r.ee_ori_mat) * self._kp_ori - r.ee_ori_vel * self._kd_ori
        _, lambda_pos, lambda_ori, nullspace = functions.opspace_matrices(r.mass_matrix, r.J_full, r.J_pos, r.J_ori)
        wrench = np.concatenate([np.dot(lambda_pos, force), np.dot(lambda_ori, torque)])
        torques: Float64Array = np.dot(r.J_full.T, wrench)
        torques += self._data.qfrc_bias[self._dofs]
        torques += functions.nullspace_torques(r.mass_matrix, nullspace, self._initial_joint, r.joint_pos, r.joint_vel)
        return torques

    def save(self) -> EnvState:
        """Named arrays from which `load` goes on bit for bit."""
        return {
            **{f"controller.{name}": getattr(self._reading, name).copy() for name in _Reading.NAMES},
            "controller.goal_pos": self._goal_pos.copy(),
            "controller.goal_ori": self._goal_ori.copy(),
            "controller.fingers": self._fingers_at.copy(),
            "controller.stale": np.array(self.stale),
            "controller.initial_joint": self._initial_joint.copy(),  # where this episode's reset put the arm
        }

    def load(self, state: EnvState) -> None:
        """Inverse of `save`."""
        self._reading.set({name: state[f"controller.{name}"] for name in _Reading.NAMES})
        self._goal_pos, self._goal_ori = np.array(state["controller.goal_pos"]), np.array(state["controller.goal_ori"], order="C")
        self._fingers_at = np.array(state["controller.fingers"])
        self.stale = bool(state["controller.stale"])
        self._initial_joint = np.array(state["controller.initial_joint"])


def _span(indexes: list[int]) -> slice:
    """The slice that a run of consecutive indexes is."""
    if list(indexes) != list(range(indexes[0], indexes[0] + len(indexes))):
        raise EnvError(f"the robot's joints or motors are not consecutive in the model: {list(indexes)}.")
    return slice(indexes[0], indexes[0] + len(indexes))


def _check_settings(robot: Any) -> None:
    if (gripper := type(robot.gripper).__name__) != "PandaGripper":
        raise EnvError(f"the robot's gripper is a {gripper}; only PandaGripper is supported.")
    expected = {
        "name": "OSC_POSE",
        "impedance_mode": "fixed",
        "use_delta": True,
        "uncoupling": True,
        "interpolator_pos": None,
        "interpolator_ori": None,
        "position_limits": None,
        "orientation_limits": None,
    }
    for field, value in expected.items():
        if getattr(robot.controller, field) != value:
            raise EnvError(f"the arm's controller has {field}={getattr(robot.controller, field)!r}; only {value!r} is supported.")
