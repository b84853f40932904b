"""Offscreen pictures of MuJoCo models: one OpenGL context per process, one set of uploaded meshes and textures per model.

The pixels are those of robosuite 1.4 (robosuite/utils/binding_utils.py, ``MjRenderContextOffscreen``): the same scene options, the
model's own multisampling, and collision geoms hidden.
"""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import EnvError
from ._culling import Culling
from ._upstream import choose_gl_platform, no_renderer

if TYPE_CHECKING:
    from ..spec import Float64Array, Image

MAX_SCENE_GEOMS = 1000  # as robosuite: what does not fit is not drawn
_HIDDEN_GROUP = 5  # of the groups that MuJoCo does not draw by default


class _GlContext:
    """The process's OpenGL context, made when first needed."""

    def __init__(self) -> None:
        self._context: Any = None

    def make_current(self) -> None:
        """Direct OpenGL calls of this thread to the context.

        Raises:
            DependencyError: No context can be made on this machine.
        """
        if self._context is None:
            self._context = self._create()
            # Registered after MuJoCo's own exit hook, hence run before it: the display is still there.
            atexit.register(self._free_at_exit)
        self._context.make_current()

    def free(self) -> None:
        """Give the context back; the next `make_current` makes another."""
        if self._context is not None:
            self._context.free()
            self._context = None

    def _free_at_exit(self) -> None:
        from OpenGL.error import Error

        try:
            self.free()
        except Error:
            # robosuite's own renderer, if something used it, has terminated the display of both: nothing is left to free.
            self._context._context = None

    @staticmethod
    def _create() -> Any:
        platform = choose_gl_platform()
        try:
            if platform == "osmesa":
                from mujoco.osmesa import GLContext
            else:
                from mujoco.egl import GLContext
            context = GLContext(640, 480)
            context.make_current()
        except (ImportError, AttributeError, OSError, RuntimeError, ValueError) as error:
            raise no_renderer(platform, error) from error
        return context


GL_CONTEXT = _GlContext()


class Renderer:
    """Draws a model in given configurations, on data of its own: the simulation is not touched.

    Args:
        model: `mujoco.MjModel`; what it holds when a picture is drawn (body poses, colours) is what the picture shows.
    """

    def __init__(self, model: Any) -> None:
        import mujoco

        GL_CONTEXT.make_current()
        self._model = model
        self._data = mujoco.MjData(model)
        self._scene = mujoco.MjvScene(model, maxgeom=MAX_SCENE_GEOMS)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[0] = 0
        self._option.geomgroup[1] = 1
        self._perturbation = mujoco.MjvPerturb()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._culling = Culling(model)
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)

    def draw(self, qpos: Float64Array, camera: str, height: int, width: int) -> Image:
        """The model at `qpos` as uint8[height, width, 3], upright.

        Raises:
            EnvError: The model has no such camera.
        """
        import mujoco

        camera_id = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        if camera_id < 0:
            names = [self._model.camera(i).name for i in range(self._model.ncam)]
            raise EnvError(f"the scene has no camera {camera!r}; it has {', '.join(names)}.")
        model, data = self._model, self._data
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        GL_CONTEXT.make_current()
        self._use_buffer(height, width)
        self._update_scene(camera_id, width / height)
        viewport = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(viewport, self._scene, self._context)
        picture = np.empty((height, width, 3), np.uint8)
        mujoco.mjr_readPixels(picture, None, viewport, self._context)
        # OpenGL's rows run from the bottom up.
        return picture[::-1].copy()

    def _update_scene(self, camera_id: int, aspect: float) -> None:
        """Compose what the camera sees, of the data's present poses."""
        import mujoco

        model, data = self._model, self._data
        invisible = self._culling.invisible(data, camera_id, aspect)
        groups = model.geom_group.copy()
        if invisible is not None:
            model.geom_group[invisible] = _HIDDEN_GROUP
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION.value] = invisible is None
        self._camera.fixedcamid = camera_id
        mujoco.mjv_updateScene(
            model, data, self._option, self._perturbation, self._camera, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene
        )
        model.geom_group[:] = groups

    def close(self) -> None:
        """Give the uploaded meshes and textures back."""
        if self._context is not None:
            GL_CONTEXT.make_current()
            self._context.free()
            self._context = None

    def _use_buffer(self, height: int, width: int) -> None:
        import mujoco

        if width > self._context.offWidth or height > self._context.offHeight:
            mujoco.mjr_resizeOffscreen(max(width, self._context.offWidth), max(height, self._context.offHeight), self._context)
        # Another renderer of this process may have drawn since.
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
