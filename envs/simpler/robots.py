"""The two robots as SimplerEnv models them: description file, masses' frictions, controller gains, first pose, camera, fingers.

Numbers: ManiSkill2_real2sim@ef7a4d4, agents/configs/{google_robot,widowx}/defaults.py, agents/robots/{googlerobot,widowx}.py and
envs/custom_scenes/base_env.py (first poses).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

Vector = tuple[float, ...]


@dataclass(frozen=True)
class Surface:
    """How links touch: friction without unit, and the radius in m of the patch that resists twisting."""

    links: tuple[str, ...]
    static_friction: float
    dynamic_friction: float
    patch_radius: float


@dataclass(frozen=True)
class Joints:
    """Driven joints: names in the controller's order, stiffness and damping in SI units, force limit in N or Nm."""

    names: tuple[str, ...]
    stiffness: Vector
    damping: Vector
    force_limit: Vector


@dataclass(frozen=True)
class MountedCamera:
    """A camera fixed to a link: its pose there (x forward, z up), image size in pixels, intrinsics in pixels, clipping in m."""

    link: str
    pos: Vector
    quat_wxyz: Vector
    height: int
    width: int
    focal: float
    centre: tuple[float, float]
    near: float = 0.1
    far: float = 10.0


@dataclass(frozen=True)
class Finger:
    """Links of one finger, and the sign of their y axis that points where the finger opens to."""

    links: tuple[str, ...]
    opens_along_y: float


@dataclass(frozen=True)
class Robot:
    """One robot.

    Attributes:
        urdf: Description, relative to the asset set's folder of descriptions.
        end_effector: Link that actions move.
        arm: Joints that the arm's controller drives; the Google robot's head is among them.
        gripper: Joints of the two fingers.
        surfaces: Links whose friction is not the scene's default.
        first_qpos: Joint positions at the start of an episode, in the articulation's order.
        base_height: Of the root link's origin, m.
        camera: The camera that policies see.
        fingers: Left and right.
        gripper_closes_upwards: Whether the gripper's joints grow as it closes.
        grasp_angle_deg: A finger holds an object if its push is within this angle of the opening direction.
        ignored_collisions: Link -> bits; two links that share a bit pass through each other.
        control_hz: Actions per second.
        sim_hz: Physics steps per second.
    """

    urdf: str
    end_effector: str
    arm: Joints
    gripper: Joints
    surfaces: tuple[Surface, ...]
    first_qpos: Vector
    base_height: float
    camera: MountedCamera
    fingers: tuple[Finger, Finger]
    gripper_closes_upwards: bool
    grasp_angle_deg: float
    ignored_collisions: Mapping[str, int]
    control_hz: int
    sim_hz: int

    @property
    def substeps(self) -> int:
        """Physics steps per action."""
        return self.sim_hz // self.control_hz


GOOGLE = Robot(
    urdf="googlerobot_description/google_robot_meta_sim_fix_wheel_fix_fingertip.urdf",
    end_effector="link_gripper_tcp",
    arm=Joints(
        names=(
            "joint_torso",
            "joint_shoulder",
            "joint_bicep",
            "joint_elbow",
            "joint_forearm",
            "joint_wrist",
            "joint_gripper",
            "joint_head_pan",
            "joint_head_tilt",
        ),
        stiffness=(
            1700.0,
            1737.0471680861954,
            979.975871856535,
            930.0,
            1212.154500274304,
            432.96500923932535,
            468.0013365498738,
            2000.0,
            2000.0,
        ),
        damping=(
            1059.9791902443303,
            1010.4720585373592,
            767.2803161582076,
            680.0,
            674.9946964336588,
            274.613381336198,
            340.532560578637,
            900.0,
            900.0,
        ),
        force_limit=(300.0, 300.0, *(100.0,) * 7),
    ),
    gripper=Joints(("joint_finger_right", "joint_finger_left"), (200.0,) * 2, (8.0,) * 2, (60.0,) * 2),
    surfaces=(
        Surface(("link_base",), 0.1, 0.0, 0.1),
        Surface(("link_wheel_left", "link_wheel_right"), 1.0, 0.0, 0.1),
        Surface(("link_finger_left", "link_finger_right", "link_finger_tip_left", "link_finger_tip_right"), 2.0, 2.0, 0.1),
        Surface(("link_finger_nail_left", "link_finger_nail_right"), 0.1, 0.1, 0.01),
    ),
    first_qpos=(
        -0.2639457174606611,
        0.0831913360274175,
        0.5017611504652179,
        1.156859026208673,
        0.028583671314766423,
        1.592598203487462,
        -1.080652960128774,
        0.0,
        0.0,
        -0.00285961,
        0.7851361,
    ),
    base_height=0.06205 + 0.017,
    camera=MountedCamera("link_camera", (0.0, 0.0, 0.0), (0.5, 0.5, -0.5, 0.5), 512, 640, 425.0, (320.0, 256.0)),
    fingers=(
        Finger(("link_finger_tip_left", "link_finger_left"), 1.0),
        Finger(("link_finger_tip_right", "link_finger_right"), 1.0),
    ),
    gripper_closes_upwards=True,
    grasp_angle_deg=80.0,
    ignored_collisions={},
    control_hz=3,
    sim_hz=513,
)

_LOGITECH_C920 = {"height": 480, "width": 640, "focal": 623.588, "centre": (319.501, 239.545)}

WIDOWX = Robot(
    urdf="widowx_description/wx250s.urdf",
    end_effector="ee_gripper_link",
    arm=Joints(
        names=("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate"),
        stiffness=(1169.7891719504198, 730.0, 808.4601346394447, 1229.1299089624076, 1272.2760456418862, 1056.3326605132252),
        damping=(330.0, 180.0, 152.12036565582588, 309.6215302722146, 201.04998711007383, 269.51458932695414),
        force_limit=(200.0, 200.0, *(100.0,) * 4),
    ),
    gripper=Joints(("left_finger", "right_finger"), (1000.0,) * 2, (200.0,) * 2, (60.0,) * 2),
    surfaces=(Surface(("left_finger_link", "right_finger_link"), 2.0, 2.0, 0.01),),
    first_qpos=(-0.01840777, 0.0398835, 0.22242722, -0.00460194, 1.36524296, 0.00153398, 0.037, 0.037),
    base_height=0.870,
    # The rotation looks from the origin to (1, 0.553, -1.085), with z up.
    camera=MountedCamera(
        "base_link",
        (0.0, -0.16, 0.36),
        (0.8992916941642761, -0.09263245016336441, 0.3589247763156891, 0.23209205269813538),
        **_LOGITECH_C920,  # type: ignore[arg-type]
    ),
    fingers=(Finger(("left_finger_link",), 1.0), Finger(("right_finger_link",), -1.0)),
    gripper_closes_upwards=False,
    grasp_angle_deg=60.0,
    ignored_collisions={"gripper_bar_link": 0b11, "left_finger_link": 0b01, "right_finger_link": 0b10},
    control_hz=5,
    sim_hz=500,
)

WIDOWX_AT_SINK = replace(
    WIDOWX,
    first_qpos=(-0.2600599, -0.12875618, 0.04461369, -0.00652761, 1.7033415, -0.26983038, 0.037, 0.037),
    base_height=0.85,
    camera=MountedCamera(
        "base_link",
        (-0.00300001, -0.21, 0.39),
        (-0.907313, 0.0782, -0.36434, -0.194741),
        near=0.01,
        **_LOGITECH_C920,  # type: ignore[arg-type]
    ),
)

HEAD_TILT = 10  # index of the joint in GOOGLE.first_qpos that two camera variants change
