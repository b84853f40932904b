"""The operational-space controller of robosuite 1.4 with a Panda gripper, without its detours.

Torques are bit for bit those of robosuite/controllers/osc.py and robosuite/robots/single_arm.py in their ``OSC_POSE`` settings:
the same operations in the same order on arrays of the same memory layout, and the same compiled functions. Only what computes
nothing is left out (look-ups by name, repeated Jacobians, buffers of past values).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import EnvError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..base import EnvState, Float64Array


class _Reading:
    """What the controller knows of the arm: poses in the world frame, SI units, n joints.

    Attributes:
        values: Arrays by the names that robosuite's controller gives them.
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

    ee_pos: Float64Array
    ee_ori_mat: Float64Array
    ee_pos_vel: Float64Array
    ee_ori_vel: Float64Array
    joint_pos: Float64Array
    joint_vel: Float64Array
    J_pos: Float64Array
    J_ori: Float64Array
    J_full: Float64Array
    mass_matrix: Float64Array


class OscPose:
    """Drives the arm and gripper of a robosuite robot.

    Args:
        robot: A reset `robosuite.robots.SingleArm` whose controller is ``OSC_POSE`` with fixed impedance, deltas and no limits.
        model: `mujoco.MjModel` that the robot is part of.
        data: `mujoco.MjData` of that model.

    Raises:
        EnvError: The robot's controller has other settings.
    """

    def __init__(self, robot: Any, model: Any, data: Any) -> None:
        self._robot, self._model, self._data = robot, model, data
        self._mass_matrix = np.empty((model.nv, model.nv))
        self._joint_ids = list(robot._ref_joint_pos_indexes)
        self._dof_ids = list(robot._ref_joint_vel_indexes)
        self._motor_ids = list(robot._ref_joint_actuator_indexes)
        self._torque_low, self._torque_high = robot.torque_limits
        self._site = robot.eef_site_id
        self._finger_ids = list(robot._ref_joint_gripper_actuator_indexes)
        finger_range = model.actuator_ctrlrange[self._finger_ids]
        self._finger_bias = 0.5 * (finger_range[:, 1] + finger_range[:, 0])
        self._finger_weight = 0.5 * (finger_range[:, 1] - finger_range[:, 0])
        self.restart()

    def restart(self) -> None:
        """Take over from the robot's own controller after the robot was reset.

        That controller has just read the arm's state and, as nothing has run since, does not read it again at its first tick,
        wherever the arm may have been moved in the meantime. `stale` says so.
        """
        controller = self._robot.controller
        _check_settings(controller)
        self._kp, self._kd = controller.kp, controller.kd
        self._initial_joint = np.array(controller.initial_joint)
        self._goal_pos, self._goal_ori = np.array(controller.goal_pos), np.array(controller.goal_ori)
        self._reading = _Reading()
        for name in _Reading.NAMES:
            setattr(self._reading, name, getattr(controller, name))
        self._scale = controller.scale_action
        self.stale = True

    def set_goal(self, action: NDArray[np.floating[Any]]) -> None:
        """Aim at the pose that the first six entries of an action name, relative to the pose last read."""
        from robosuite.utils.control_utils import set_goal_orientation

        delta = self._scale(action[:6])
        if any(delta[3:]):
            self._goal_ori = set_goal_orientation(delta[3:], self._reading.ee_ori_mat)
        self._goal_pos = self._reading.ee_pos + delta[:3]

    def read(self) -> None:
        """Read the arm's state from the data, which must be up to date with its configuration and velocity."""
        import mujoco

        data, new = self._data, _Reading()
        jacp, jacr = np.zeros((3, self._model.nv)), np.zeros((3, self._model.nv))
        mujoco.mj_jacSite(self._model, data, jacp, jacr, self._site)
        new.ee_pos = data.site_xpos[self._site].copy()
        new.ee_ori_mat = data.site_xmat[self._site].reshape(3, 3).copy()
        new.ee_pos_vel = np.dot(jacp, data.qvel)
        new.ee_ori_vel = np.dot(jacr, data.qvel)
        new.joint_pos = data.qpos[self._joint_ids]
        new.joint_vel = data.qvel[self._dof_ids]
        new.J_pos = jacp[:, self._dof_ids]
        new.J_ori = jacr[:, self._dof_ids]
        new.J_full = np.vstack([new.J_pos, new.J_ori])
        mujoco.mj_fullM(self._model, self._mass_matrix, data.qM)
        new.mass_matrix = self._mass_matrix[self._dof_ids, :][:, self._dof_ids]
        self._reading = new
        self.stale = False

    def actuate(self, action: NDArray[np.floating[Any]]) -> None:
        """Write the torques towards the goal, and the gripper's command, into the data's controls."""
        self._data.ctrl[self._finger_ids] = self._finger_bias + self._finger_weight * self._robot.gripper.format_action(action[6:])
        self._data.ctrl[self._motor_ids] = np.clip(self._torques(), self._torque_low, self._torque_high)

    def _torques(self) -> Float64Array:
        from robosuite.utils.control_utils import nullspace_torques, opspace_matrices, orientation_error

        r = self._reading
        force = (self._goal_pos - r.ee_pos) * self._kp[:3] + -r.ee_pos_vel * self._kd[:3]
        torque = orientation_error(self._goal_ori, r.ee_ori_mat) * self._kp[3:] + -r.ee_ori_vel * self._kd[3:]
        _, lambda_pos, lambda_ori, nullspace = opspace_matrices(r.mass_matrix, r.J_full, r.J_pos, r.J_ori)
        wrench = np.concatenate([np.dot(lambda_pos, force), np.dot(lambda_ori, torque)])
        torques: Float64Array = np.dot(r.J_full.T, wrench) + self._data.qfrc_bias[self._dof_ids]
        torques += nullspace_torques(r.mass_matrix, nullspace, self._initial_joint, r.joint_pos, r.joint_vel)
        return torques

    def save(self) -> EnvState:
        """Named arrays from which `load` goes on bit for bit."""
        reading = {f"controller.{name}": getattr(self._reading, name).copy() for name in _Reading.NAMES}
        return {
            **reading,
            "controller.goal_pos": self._goal_pos.copy(),
            "controller.goal_ori": self._goal_ori.copy(),
            "controller.gripper": np.array(self._robot.gripper.current_action),
            "controller.stale": np.array(self.stale),
        }

    def load(self, state: EnvState) -> None:
        """Inverse of `save`."""
        self.read()
        for name in _Reading.NAMES:
            # Copied into arrays just made: products depend on the memory layout, which a file or a pipe may have changed.
            getattr(self._reading, name)[...] = state[f"controller.{name}"]
        self._goal_pos = np.array(state["controller.goal_pos"])
        self._goal_ori = np.array(state["controller.goal_ori"])
        self._robot.gripper.current_action = np.array(state["controller.gripper"])
        self.stale = bool(state["controller.stale"])


def _check_settings(controller: Any) -> None:
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
        if getattr(controller, field) != value:
            raise EnvError(f"the arm's controller has {field}={getattr(controller, field)!r}; only {value!r} is supported.")
