"""Pictures of the play table: RGB and depth of the static and the gripper camera, drawn in a world of their own.

Drawing happens in a second pybullet world that only ever takes on the poses of a render state, so physics cannot notice it, and a
moment can be drawn at any later time. Cameras and depth come from mees/calvin_env@797142c, ``camera/*.py`` and
``conf/cameras/cameras/{static,gripper}.yaml``. The benchmark draws with pybullet's EGL plugin; TinyRenderer is there for machines
that cannot, and gives other pixels.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ..._registry import unknown_name
from ...errors import DependencyError, EnvError
from ..variation import moved
from ._bullet import p, quiet
from .scenes import SCENES
from .world import (
    ARM_JOINTS,
    FINGER_JOINTS,
    LIGHT_LINKS,
    RenderState,
    connect,
    load,
    split_render_state,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..variation import Change

    Image = NDArray[np.uint8]
    Depth = NDArray[np.float32]
    Float64Array = NDArray[np.float64]

Renderer = Literal["egl", "tiny"]

STATIC_EYE = (2.871459009488717, -2.166602199425597, 2.555159848480571)
STATIC_TARGET = (-0.026242351159453392, -0.0302329882979393, 0.3920000493526459)
STATIC_UP = (0.4041403970338857, 0.22629790978217404, 0.8862616969685161)
LIGHT_COLOURS = {"lightbulb": (1, 1, 0, 1), "led": (0, 1, 0, 1)}
LIGHT_OFF = (1, 1, 1, 1)
WARM_UP_FRAMES = 2


@dataclass(frozen=True)
class Lens:
    """What a camera sees: vertical field of view in degrees, nearest and farthest distance in metres."""

    fov_deg: float
    near_m: float
    far_m: float


_EGL_DRAW = 0x3059  # of EGL's header: the surface that is drawn to
LENSES = {"primary": Lens(10.0, 0.01, 10.0), "wrist": Lens(75.0, 0.01, 2.0)}


class EglWindow(NamedTuple):
    """What OpenGL draws to in this thread: EGL's handles of display, surface and context.

    The plugin makes its own current once, when it is loaded. If another simulator of the process draws in between, the plugin would
    go on in that one's and hand out the same old picture.
    """

    display: int
    surface: int
    context: int

    @classmethod
    def current(cls) -> EglWindow:
        """The present one."""
        egl = _egl()
        return cls(egl.eglGetCurrentDisplay(), egl.eglGetCurrentSurface(_EGL_DRAW), egl.eglGetCurrentContext())

    def make_current(self) -> None:
        """Direct OpenGL calls of this thread to it."""
        if not _egl().eglMakeCurrent(self.display, self.surface, self.surface, self.context):
            raise EnvError("CALVIN's window for drawing is gone: pybullet's EGL plugin lost its context.")


@cache
def _egl() -> ctypes.CDLL:
    library = ctypes.CDLL("libEGL.so.1")
    for name in ("eglGetCurrentDisplay", "eglGetCurrentSurface", "eglGetCurrentContext"):
        getattr(library, name).restype = ctypes.c_void_p
    library.eglGetCurrentSurface.argtypes = [ctypes.c_int]
    library.eglMakeCurrent.argtypes = [ctypes.c_void_p] * 4
    return library


class Painter:
    """Draws moments of any scene; there is one per process (see `painter`), as the EGL plugin holds one window per process.

    Args:
        renderer: ``egl``, or ``tiny`` for TinyRenderer.

    Raises:
        DependencyError: The EGL plugin does not work on this machine.
    """

    def __init__(self, renderer: Renderer) -> None:
        if renderer == "egl":
            probe_egl()
        self._client = connect()
        if renderer == "egl":
            with quiet():
                p.loadPlugin(egl_plugin(), "_eglRendererPlugin", physicsClientId=self._client)
        self._window = EglWindow.current() if renderer == "egl" else None
        atexit.register(self._close)
        self._warm = renderer == "tiny"
        self._loaded: tuple[str, Path] | None = None
        self._lights: list[float] = []

    def _close(self) -> None:
        with quiet():
            p.disconnect(physicsClientId=self._client)

    def draw(
        self,
        scene: str,
        data_dir: Path,
        render_state: Float64Array,
        camera: str,
        height: int,
        width: int,
        variation: Sequence[Change] = (),
    ) -> tuple[Image, Depth]:
        """Draw a moment.

        Args:
            scene: A, B, C or D.
            data_dir: The ``data`` folder of calvin_env.
            render_state: As `PlayTable.render_state` returned it in that scene.
            camera: ``primary`` (static) or ``wrist`` (gripper).
            height: Of the picture, in pixels.
            width: Of the picture, in pixels.
            variation: What is changed about the static camera.

        Returns:
            uint8[height, width, 3] RGB and float32[height, width] depth in metres, along the camera's axis.

        Raises:
            ConfigError: An unknown camera.
        """
        if camera not in LENSES:
            raise unknown_name("CALVIN camera", camera, LENSES)
        state = split_render_state(render_state)
        self._pose(scene, data_dir, state)
        if not self._warm:
            # The EGL plugin draws the first two pictures of a process without shadows.
            with quiet():
                for _ in range(WARM_UP_FRAMES):
                    self._shoot(state, camera, height, width, variation)
            self._warm = True
        return self._shoot(state, camera, height, width, variation)

    def _pose(self, scene: str, data_dir: Path, state: RenderState) -> None:
        if self._loaded != (scene, data_dir):
            self._bodies = load(self._client, SCENES[scene], data_dir)
            self._loaded, self._lights = (scene, data_dir), []
        bodies, client = self._bodies, self._client
        for joint, value in zip((*ARM_JOINTS, *FINGER_JOINTS), state.robot_joints, strict=True):
            p.resetJointState(bodies.robot, joint, value, physicsClientId=client)
        for joint, value in zip(bodies.joints.values(), state.table_joints, strict=True):
            p.resetJointState(bodies.table, joint, value, physicsClientId=client)
        for body, pose in zip(bodies.blocks.values(), state.blocks, strict=True):
            p.resetBasePositionAndOrientation(body, pose[:3], pose[3:], physicsClientId=client)
        if self._lights != state.lights.tolist():
            self._lights = state.lights.tolist()
            for (name, link), is_on in zip(LIGHT_LINKS.items(), self._lights, strict=True):
                colour = LIGHT_COLOURS[name] if is_on else LIGHT_OFF
                p.changeVisualShape(bodies.table, bodies.links[link], rgbaColor=colour, physicsClientId=client)

    def _shoot(self, state: RenderState, camera: str, height: int, width: int, variation: Sequence[Change]) -> tuple[Image, Depth]:
        lens = LENSES[camera]
        if self._window is not None:
            self._window.make_current()
        _, _, rgba, z_buffer, _ = p.getCameraImage(
            width,
            height,
            viewMatrix=_view(camera, state, variation),
            projectionMatrix=p.computeProjectionMatrixFOV(lens.fov_deg, width / height, lens.near_m, lens.far_m),
            flags=p.ER_NO_SEGMENTATION_MASK,
            physicsClientId=self._client,
        )
        image = np.reshape(np.asarray(rgba, np.uint8), (height, width, 4))[:, :, :3]
        z = np.reshape(np.asarray(z_buffer, np.float32), (height, width))
        return np.ascontiguousarray(image), lens.far_m * lens.near_m / (lens.far_m - (lens.far_m - lens.near_m) * z)


def _view(camera: str, state: RenderState, variation: Sequence[Change]) -> Any:
    if camera == "primary":
        # A view matrix takes world coordinates to the camera's: its rows are the camera's axes right, up and back.
        view = p.computeViewMatrix(STATIC_EYE, STATIC_TARGET, STATIC_UP)
        axes = np.reshape(view, (4, 4), order="F")[:3, :3].T
        pos, turned = moved(np.array(STATIC_EYE), axes, variation)
        return view if turned is axes else p.computeViewMatrix(pos, pos - turned[:, 2], turned[:, 1])
    eye = state.camera[:3]
    axes = np.reshape(p.getMatrixFromQuaternion(state.camera[3:]), (3, 3))
    return p.computeViewMatrix(eye, eye + axes[:, 1], -axes[:, 2])


@cache
def painter(renderer: Renderer) -> Painter:
    """The painter of this process."""
    return Painter(renderer)


class EglDriver(NamedTuple):
    """Strings of the OpenGL driver, e.g. ``llvmpipe (LLVM 15.0.6, 256 bits)`` and ``4.5 (Core Profile) Mesa 22.3.6``."""

    renderer: str
    version: str


_PROBE = """
import sys, pybullet
client = pybullet.connect(pybullet.DIRECT)
sys.exit(pybullet.loadPlugin(sys.argv[1], "_eglRendererPlugin") < 0)
"""


def egl_plugin() -> str:
    """Path of pybullet's EGL plugin.

    Raises:
        DependencyError: This build of pybullet has none.
    """
    spec = importlib.util.find_spec("eglRenderer")
    if spec is None or spec.origin is None:
        raise DependencyError(
            "pybullet's EGL plugin (eglRenderer) is not installed; it is part of the Linux wheels: "
            "pip install --force-reinstall --no-deps pybullet==3.2.7, or draw with suite.renderer=tiny (other pixels)."
        )
    return spec.origin


def probe_egl() -> EglDriver:
    """Try the EGL plugin in a process of its own, as it ends the process it fails in.

    Raises:
        DependencyError: It does not work here; the message says why and what to do.
    """
    settings = {name: value for name, value in os.environ.items() if name.startswith(("EGL_", "__EGL_", "__GLX_", "LIBGL_"))}
    return _probe_egl(egl_plugin(), tuple(sorted(settings.items())))


@cache
def _probe_egl(plugin: str, settings: tuple[tuple[str, str], ...]) -> EglDriver:
    probe = subprocess.run([sys.executable, "-c", _PROBE, plugin], capture_output=True, text=True, timeout=120, check=False)
    strings = dict(line.split("=", 1) for line in probe.stdout.splitlines() if line.startswith("GL_"))
    if probe.returncode != 0 or "GL_RENDERER" not in strings:
        said = "; ".join(line for line in probe.stderr.splitlines() if line and not line.startswith("pybullet build"))
        chosen = " ".join(f"{name}={value}" for name, value in settings) or "no EGL_* variable is set"
        raise DependencyError(
            f"CALVIN's EGL renderer does not start here ({said or 'it ended without a word'}; {chosen}). "
            "Install a driver (Debian, Ubuntu: apt-get install libegl1 libgl1-mesa-dri), unset EGL_PLATFORM and "
            "EGL_VISIBLE_DEVICES, or draw with suite.renderer=tiny, whose pixels are not the benchmark's."
        )
    return EglDriver(strings["GL_RENDERER"], strings.get("GL_VERSION", "unknown"))
