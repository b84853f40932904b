"""From a 7-D action to joint targets, as SimplerEnv's two controllers do it.

Source: ManiSkill2_real2sim@ef7a4d4, agents/controllers/{pd_ee_pose,pd_joint_pos}.py, agents/base_controller.py and agents/utils.py,
in the control modes that the official evaluation uses. Poses are in the robot's base frame. The order and precision of the
arithmetic (SAPIEN's poses are float32, the rest is float64) are part of the protocol: they decide the last bits of every target.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from .robots import GOOGLE, Robot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float64Array = NDArray[np.float64]
    JointPath = tuple[Float64Array, Float64Array]  # positions and velocities [1 + substeps, joints]

IK_ITERATIONS = 100

# Google robot, rad/s, rad/s^2, rad/s^3.
ARM_LIMITS = (1.5, 2.0, 50.0)
GRIPPER_LIMITS = (1.0, 7.0, 50.0)
GRIPPER_REACH = np.float32(1.31)  # an action of 1 moves the target by this much, a little more than a finger's range
GRIPPER_MARGIN = 0.01  # the target may leave the joint's range by this much, which keeps a grip firm
GRIPPER_DEADBAND = 1e-3  # a smaller change repeats the previous target

# WidowX, m: the fingers' range and a little more, for the same reason.
WIDOWX_GRIPPER = (np.float32(0.015 - 0.001), np.float32(0.037 + 0.001))


class Controller(ABC):
    """Turns an action into drive targets of all joints, one set per physics step.

    Args:
        articulation: The robot, a ``sapien.Articulation``.
        robot: Its description.
    """

    def __init__(self, articulation: Any, robot: Robot) -> None:
        self._articulation, self._robot = articulation, robot
        names = [joint.name for joint in articulation.get_active_joints()]
        self._arm = [names.index(name) for name in robot.arm.names]
        self._gripper = [names.index(name) for name in robot.gripper.names]
        self._pinocchio = articulation.create_pinocchio_model()
        links = [link.name for link in articulation.get_links()]
        self._ee_index = links.index(robot.end_effector)
        self._ee = articulation.get_links()[self._ee_index]
        self._ik_joints = np.zeros(articulation.dof, dtype=bool)
        self._ik_joints[self._arm] = True
        self.reset()

    def reset(self) -> None:
        """Forget the past: the robot was put somewhere else."""
        joints = self._articulation.get_active_joints()
        for indices, drive in ((self._arm, self._robot.arm), (self._gripper, self._robot.gripper)):
            for row, index in enumerate(indices):
                joints[index].set_drive_property(
                    drive.stiffness[row], drive.damping[row], force_limit=drive.force_limit[row], mode="force"
                )
                joints[index].set_friction(0.0)
        qpos = self._articulation.get_qpos()
        self.arm_target_qpos: Float64Array = qpos[self._arm]
        self.gripper_target_qpos: Float64Array = qpos[self._gripper]
        self.arm_target_pose = self._ee_at_base()

    @abstractmethod
    def set_action(self, action: NDArray[np.floating[Any]]) -> None:
        """Take an action [7]: translation in m, rotation vector in rad, gripper in [-1, 1]."""

    @abstractmethod
    def before_substep(self, index: int) -> None:
        """Set the drive targets for physics step `index` of the action, counted from 1."""

    def _ee_at_base(self) -> Any:
        return self._articulation.pose.inv().transform(self._ee.pose)

    def _inverse_kinematics(self, target: Any) -> NDArray[Any] | None:
        """Arm joints that bring the end effector to `target`, found from where the arm is now; None if none are found."""
        qpos, found, _ = self._pinocchio.compute_inverse_kinematics(
            self._ee_index,
            target,
            initial_qpos=self._articulation.get_qpos(),
            active_qmask=self._ik_joints,
            max_iterations=IK_ITERATIONS,
        )
        return qpos[self._arm] if found else None

    def _all_targets(self, arm: NDArray[Any], gripper: NDArray[Any]) -> NDArray[np.float32]:
        """Drive targets of the arm [..., joints] and the gripper, brought into the articulation's order, float32[..., dof]."""
        targets = np.empty((*arm.shape[:-1], len(self._arm) + len(self._gripper)), np.float32)
        targets[..., self._arm], targets[..., self._gripper] = arm, gripper
        return targets


class GoogleController(Controller):
    """Moves from the *sensed* pose; arm and gripper follow a jerk-limited plan, sampled at every physics step."""

    def reset(self) -> None:
        super().reset()
        self.arm_path: JointPath | None = None
        self.gripper_path: JointPath | None = None
        self._last_gripper_drive: NDArray[Any] = self.gripper_target_qpos

    def set_action(self, action: NDArray[np.floating[Any]]) -> None:
        self.arm_path = self._plan_arm(action[:6])
        self.gripper_path = self._plan_gripper(action[6:])
        self._last_gripper_drive = self.gripper_path[0][-1]
        self._targets = self._all_targets(self.arm_path[0], self.gripper_path[0])
        self._velocities = self._all_targets(np.zeros_like(self.arm_path[1]), self.gripper_path[1])

    def before_substep(self, index: int) -> None:
        self._articulation.set_drive_target(self._targets[index])
        self._articulation.set_drive_velocity_target(self._velocities[index])

    def _plan_arm(self, action: NDArray[np.floating[Any]]) -> JointPath:
        sensed = self._ee_at_base()
        turned = _delta_pose(action) * sensed
        turned.set_p(sensed.p + action[:3])
        self.arm_target_pose = turned
        qpos = self._articulation.get_qpos()[self._arm]
        solution = self._inverse_kinematics(turned)
        self.arm_target_qpos = qpos if solution is None else solution
        if self.arm_path is None:
            start, velocity = qpos, np.clip(self._articulation.get_qvel()[self._arm], -ARM_LIMITS[0], ARM_LIMITS[0])
        else:
            start, velocity = self.arm_path[0][-1], self.arm_path[1][-1]
        return self._plan(start, velocity, self.arm_target_qpos, ARM_LIMITS)

    def _plan_gripper(self, action: NDArray[np.floating[Any]]) -> JointPath:
        change = GRIPPER_REACH * np.clip(action, -1, 1)
        previous = self.gripper_target_qpos
        limits = self._articulation.get_qlimits()[self._gripper]
        target = np.clip(self._last_gripper_drive + change, limits[:, 0] - GRIPPER_MARGIN, limits[:, 1] + GRIPPER_MARGIN)
        if abs(change[0]) < GRIPPER_DEADBAND:
            target = np.array(previous)
        self.gripper_target_qpos = target
        qpos = self._articulation.get_qpos()[self._gripper]
        velocity = np.clip(self._articulation.get_qvel()[self._gripper], -GRIPPER_LIMITS[0], GRIPPER_LIMITS[0])
        return self._plan(qpos, velocity, target, GRIPPER_LIMITS)

    def _plan(
        self, start: NDArray[Any], velocity: NDArray[Any], target: NDArray[Any], limits: tuple[float, float, float]
    ) -> JointPath:
        """Positions and velocities [1 + substeps, joints] on the way to standing still at the target, the start included."""
        from ruckig import InputParameter, Ruckig, Trajectory

        size = len(start)
        wanted = InputParameter(size)
        wanted.current_position, wanted.current_velocity = start, velocity
        wanted.target_position = target
        wanted.max_velocity, wanted.max_acceleration, wanted.max_jerk = (np.full(size, limit) for limit in limits)
        trajectory = Trajectory(size)
        Ruckig(size).calculate(wanted, trajectory)
        times = np.clip(np.arange(self._robot.substeps + 1) * (1 / self._robot.sim_hz), 0, trajectory.duration)
        samples = [trajectory.at_time(time)[:2] for time in times]
        return np.array([s[0] for s in samples]), np.array([s[1] for s in samples])


class WidowXController(Controller):
    """Moves from the previous *target* pose, turning about where the hand is; targets are set once per action."""

    def set_action(self, action: NDArray[np.floating[Any]]) -> None:
        import sapien.core as sapien

        qpos = self._articulation.get_qpos()
        self._pinocchio.compute_forward_kinematics(qpos)
        hand = sapien.Pose(p=self._pinocchio.get_link_pose(self._ee_index).p)
        self.arm_target_pose = (hand * _delta_pose(action) * hand.inv()) * self.arm_target_pose
        solution = self._inverse_kinematics(self.arm_target_pose)
        self.arm_target_qpos = qpos[self._arm] if solution is None else solution
        low, high = WIDOWX_GRIPPER
        opening = 0.5 * (high + low) + 0.5 * (high - low) * np.clip(action[6:], -1, 1)
        self.gripper_target_qpos = np.broadcast_to(opening, (len(self._gripper),))
        self._articulation.set_drive_target(self._all_targets(self.arm_target_qpos, self.gripper_target_qpos))

    def before_substep(self, index: int) -> None:
        """The targets stay as `set_action` left them."""


def make_controller(articulation: Any, robot: Robot) -> Controller:
    """The controller of a robot's control mode in the official evaluation."""
    return (GoogleController if robot is GOOGLE else WidowXController)(articulation, robot)


def _delta_pose(action: NDArray[np.floating[Any]]) -> Any:
    import sapien.core as sapien
    from scipy.spatial.transform import Rotation

    return sapien.Pose(action[:3], Rotation.from_rotvec(action[3:6]).as_quat()[[3, 0, 1, 2]])
