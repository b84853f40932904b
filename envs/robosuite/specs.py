"""What a Panda arm under robosuite's ``OSC_POSE`` controller is to a policy: the same in LIBERO and in robosuite's own tasks."""

from __future__ import annotations

from dataclasses import replace
from math import pi

from ..spec import ActionSpec, StateField, StateSpec

ROBOT = "Panda"
CONTROLLER = "OSC_POSE"
CONTROL_HZ = 20
CAMERAS = {"primary": "agentview", "wrist": "robot0_eye_in_hand"}  # name in an observation -> name in the MuJoCo model

# 1 asks for a goal 0.05 m or 0.5 rad from the present pose, along or about the world's axes (robosuite 1.4.0,
# controllers/config/osc_pose.json and utils/control_utils.py).
ACTION_SPEC = ActionSpec(
    names=("x", "y", "z", "axis_angle_x", "axis_angle_y", "axis_angle_z", "gripper"),
    low=(-1.0,) * 7,
    high=(1.0,) * 7,
    mode="delta",
    frame="world",
    rotation="axis_angle",
    unit="controller",
    gripper_open=-1.0,
    gripper_closed=1.0,
    control_hz=CONTROL_HZ,
    gripper_at_start=0.0,  # the fingers stay where they are, half open
)

# With use_delta off the controller takes the pose itself, in metres and radians (robosuite 1.4.0, controllers/osc.py, set_goal).
# Nothing is clipped; these bounds are what the arm can reach.
ABSOLUTE_ACTION_SPEC = replace(
    ACTION_SPEC, mode="absolute", unit="m_rad", low=(-2.0,) * 3 + (-pi,) * 3 + (-1.0,), high=(2.0,) * 3 + (pi,) * 3 + (1.0,)
)

STATE_SPEC = StateSpec(
    (
        StateField("eef_pos", 3, "position between the fingertips, m, world"),
        StateField("eef_axis_angle", 3, "orientation of the hand, axis times angle, rad, world"),
        StateField("gripper_qpos", 2, "left and right finger, m: (0, 0) closed, (0.04, -0.04) open"),
    )
)
