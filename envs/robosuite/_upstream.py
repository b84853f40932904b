"""Imports robosuite 1.4 headless and quiet, and keeps what it draws out of numpy's global generator.

robosuite chooses its OpenGL platform from the environment when it is imported, opens a log file in /tmp that another user may own,
and draws from ``numpy.random`` wherever it resets. The functions here are the only way the rest of the package reaches it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DependencyError
from ..identity import check_origin
from ..rendering_probe import REMEDIES
from ._numba import give_numba_a_place

GL_PLATFORMS = ("egl", "osmesa")


def choose_gl_platform() -> str:
    """Settle on EGL or OSMesa: what ``MUJOCO_GL`` says, EGL if it says nothing. PyOpenGL is told the same.

    Raises:
        DependencyError: ``MUJOCO_GL`` names a platform that needs a display.
    """
    platform = os.environ.get("MUJOCO_GL", "").strip().lower() or "egl"
    if platform not in GL_PLATFORMS:
        raise DependencyError(f"MUJOCO_GL={platform} cannot render without a display; set it to one of {', '.join(GL_PLATFORMS)}.")
    os.environ["MUJOCO_GL"] = os.environ["PYOPENGL_PLATFORM"] = platform
    return platform


def no_renderer(platform: str, reason: BaseException) -> DependencyError:
    """The error for an OpenGL platform that does not work on this machine."""
    return DependencyError(f"MuJoCo cannot draw offscreen with {platform.upper()}: {reason}. {REMEDIES[platform]}.")


def import_robosuite() -> Any:
    """The package ``robosuite``.

    Raises:
        DependencyError: It is not installed, or no OpenGL platform works.
    """
    if (loaded := sys.modules.get("robosuite")) is not None:
        return loaded
    platform = choose_gl_platform()
    _preload_macros()
    give_numba_a_place(check_origin("robosuite") / "robosuite")
    try:
        with _without("CUDA_VISIBLE_DEVICES"):
            import robosuite
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"the package {error.name!r} that robosuite needs is not installed. Run: pip install vlagym"
        ) from error
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        # PyOpenGL finds no library and says so in any of these ways.
        if _is_of_opengl(error):
            raise no_renderer(platform, error) from error
        raise DependencyError(f"robosuite cannot be imported here: {type(error).__name__}: {error}") from error
    return robosuite


def _is_of_opengl(error: BaseException) -> bool:
    """Whether an import failed in OpenGL or in what opens it; the same kinds of errors come from elsewhere too."""
    names = [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(name.startswith(("OpenGL", "mujoco.egl", "mujoco.osmesa", "robosuite.renderers.context")) for name in names)


@contextmanager
def numpy_random(generator: np.random.RandomState) -> Iterator[None]:
    """Let upstream code draw from `generator` where it believes to draw from numpy's global one.

    The global generator is exactly as before afterwards; `generator` has moved on by what was drawn.
    """
    outside = np.random.get_state()
    np.random.set_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(np.random.get_state())
        np.random.set_state(outside)


def _preload_macros() -> None:
    """Load robosuite's settings before robosuite itself, so that importing it opens no log file and prints no advice."""
    package = importlib.util.find_spec("robosuite")
    if package is None or package.origin is None:
        raise DependencyError("robosuite is not installed. Run: pip install vlagym")
    spec = importlib.util.spec_from_file_location("robosuite.macros", Path(package.origin).with_name("macros.py"))
    assert spec is not None
    assert spec.loader is not None
    macros: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(macros)
    macros.FILE_LOGGING_LEVEL = None
    macros.CONSOLE_LOGGING_LEVEL = "ERROR"
    sys.modules["robosuite.macros"] = macros


@contextmanager
def _without(variable: str) -> Iterator[None]:
    """Hide an environment variable: robosuite refuses an EGL device that is not also a visible CUDA device, though they differ."""
    value = os.environ.pop(variable, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[variable] = value
