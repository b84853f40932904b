"""Finds what cannot show in a camera's picture, so that it need not be sent to OpenGL: the picture is the same to the last bit.

A geom shows beyond its own outline in two ways: by its shadow, and in a reflecting surface. MuJoCo's reflecting surfaces are planes
and the upper faces of boxes whose material has a reflectance (engine_vis_visualize.c and render_gl3.c of MuJoCo 3.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..spec import Float64Array

# Slack of every bounding volume: outlines are computed here in double and drawn in single precision.
_RELATIVE_SLACK, _SLACK_M = 1.01, 0.01
_CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])


class Culling:
    """The geoms of a model that a picture may do without.

    Args:
        model: `mujoco.MjModel`.
    """

    def __init__(self, model: Any) -> None:
        import mujoco

        self._model = model
        self._casts_shadows = bool((model.light_castshadow & model.light_active).any())
        box, plane = mujoco.mjtGeom.mjGEOM_BOX.value, mujoco.mjtGeom.mjGEOM_PLANE.value
        material = model.geom_matid
        reflectance = np.where(material >= 0, model.mat_reflectance[material], 0.0) if model.nmat else np.zeros(model.ngeom)
        drawn = model.geom_group == 1
        self._mirrors = np.flatnonzero(drawn & (reflectance > 0) & (model.geom_type == box))
        self._endless_mirror = bool((drawn & (reflectance > 0) & (model.geom_type == plane)).any())
        self._radius = model.geom_rbound * _RELATIVE_SLACK + _SLACK_M
        # Planes have no bound.
        self._radius[model.geom_rbound == 0] = np.inf

    def invisible(self, data: Any, camera: int, aspect: float) -> NDArray[np.bool_] | None:
        """Geoms that do not show, bool[ngeom]; None if some may show in a shadow or a reflection, or the camera is no simple one.

        Args:
            data: `mujoco.MjData` with poses, cameras included, up to date.
            camera: Id of a camera of the model.
            aspect: Width over height of the picture.
        """
        model = self._model
        if self._casts_shadows or self._endless_mirror or model.cam_orthographic[camera] or model.cam_sensorsize[camera].any():
            return None
        slopes = np.tan(np.radians(model.cam_fovy[camera]) / 2) * np.array([aspect, 1.0])
        view = data.cam_xpos[camera], data.cam_xmat[camera].reshape(3, 3), slopes
        if any(not self._is_outside(self._corners(data, mirror), *view) for mirror in self._mirrors):
            return None
        position, axes, _ = view
        seen = (data.geom_xpos - position) @ axes
        depth, reach = -seen[:, 2], self._radius
        inside = np.abs(seen[:, :2]) <= depth[:, None] * slopes + reach[:, None] * np.hypot(1.0, slopes)
        shows: NDArray[np.bool_] = inside.all(axis=1) & (depth > -reach)
        return ~shows

    def _corners(self, data: Any, geom: int) -> Float64Array:
        """float64[8, 3]: the corners of a box, in the world frame."""
        half = self._model.geom_size[geom] * _RELATIVE_SLACK + _SLACK_M
        corners: Float64Array = data.geom_xpos[geom] + (_CORNERS * half) @ data.geom_xmat[geom].reshape(3, 3).T
        return corners

    @staticmethod
    def _is_outside(points: Float64Array, position: Float64Array, axes: Float64Array, slopes: Float64Array) -> bool:
        """Whether a convex body lies wholly on the far side of one of the planes that bound the view."""
        seen = (points - position) @ axes
        limit = -seen[:, 2, None] * slopes
        beyond = (seen[:, :2] > limit, seen[:, :2] < -limit)
        return any(bool(side.all(axis=0).any()) for side in beyond) or bool((seen[:, 2] > 0).all())
