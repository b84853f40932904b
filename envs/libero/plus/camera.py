"""Where LIBERO-plus puts the third-person camera.

Source: sylvestf/LIBERO-plus, libero/libero/envs/problems/libero_*_manipulation.py (``_setup_camera``). Every stage rounds its
result to four decimals, also where nothing is turned: so the camera of every LIBERO-plus episode differs from LIBERO's by a
hundredth of a degree or so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

    from ...spec import Float64Array

PIVOT_M = np.array([0.0, 0.0, 0.8])  # what the camera is turned about and moved away from, world frame

_DECIMALS = 4


class CameraPose(NamedTuple):
    """Position (m) and orientation of a camera in the world frame."""

    pos: tuple[float, ...]
    quat_wxyz: tuple[float, ...]


class CameraTurn(NamedTuple):
    """How a variant moves the camera, as its name says.

    Attributes:
        around_deg: About the world's vertical axis.
        up_deg: About the horizontal axis through the pivot.
        distance_percent: Distance from the pivot, 100 for LIBERO's.
        heading_deg: The camera itself about the vertical axis, in its place.
        pitch_deg: The camera itself about the horizontal axis, in its place.
    """

    around_deg: int = 0
    up_deg: int = 0
    distance_percent: int = 100
    heading_deg: int = 0
    pitch_deg: int = 0


_TABLE = (0.6380177736282349, 0.3048497438430786, 0.30484986305236816, 0.6380177736282349)
_LOW = (0.6182166934013367, 0.3432307541370392, 0.3432314395904541, 0.6182177066802979)
# LIBERO's own cameras by problem class.
LIBERO_CAMERAS = {
    "libero_tabletop_manipulation": CameraPose((0.6586131746834771, 0.0, 1.6103500240372423), _TABLE),
    "libero_kitchen_tabletop_manipulation": CameraPose((0.6586131746834771, 0.0, 1.6103500240372423), _TABLE),
    "libero_study_tabletop_manipulation": CameraPose((0.4586131746834771, 0.0, 1.6103500240372423), _TABLE),
    "libero_living_room_tabletop_manipulation": CameraPose((0.6065773716836134, 0.0, 0.96), _LOW),
    "libero_floor_manipulation": CameraPose((0.8965773716836134, 5.216182733499864e-07, 0.65), _LOW),
}


def turned(camera: CameraPose, turn: CameraTurn) -> CameraPose:
    """A camera as LIBERO-plus turns it; the quaternion is not of unit length, having been rounded."""
    from scipy.spatial.transform import Rotation

    def about_y(degrees: int) -> Rotation:
        return Rotation.from_rotvec(np.radians(-degrees) * np.array([0, 1, 0]))

    def about_z(degrees: int) -> Rotation:
        return Rotation.from_euler("z", degrees, degrees=True)

    if turn.up_deg:
        camera = _rotated(camera, about_y(turn.up_deg), PIVOT_M)
    camera = _rotated(camera, about_z(turn.around_deg), np.zeros(3))
    if turn.distance_percent != 100:
        pos = PIVOT_M + (np.array(camera.pos) - PIVOT_M) * float(turn.distance_percent / 100)
        camera = CameraPose(_rounded(pos), camera.quat_wxyz)
    if turn.heading_deg:
        camera = CameraPose(camera.pos, _rotated(camera, about_z(turn.heading_deg)).quat_wxyz)
    if turn.pitch_deg:
        camera = CameraPose(camera.pos, _rotated(camera, about_y(turn.pitch_deg)).quat_wxyz)
    return camera


def _rotated(camera: CameraPose, rotation: Rotation, about: Float64Array = PIVOT_M) -> CameraPose:
    from scipy.spatial.transform import Rotation

    w, *xyz = camera.quat_wxyz
    *xyz, w = (rotation * Rotation.from_quat([*xyz, w])).as_quat()
    pos = rotation.apply(np.array(camera.pos) - about) + about
    return CameraPose(_rounded(pos), _rounded([w, *xyz]))


def _rounded(values: Sequence[float] | Float64Array) -> tuple[float, ...]:
    return tuple(round(float(value), _DECIMALS) for value in values)
