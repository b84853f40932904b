"""Whether MuJoCo can draw without a display on this machine, found out in a process of its own: a driver's crash stays there."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from ..errors import ConfigError, DependencyError

TIMEOUT_S = 120.0

# Debian and Ubuntu packages; the GPU vendor's driver brings its own EGL beside them.
REMEDIES = {
    "egl": "Install EGL (Debian: apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri libgl1), "
    "or draw with OSMesa (apt-get install libosmesa6, MUJOCO_GL=osmesa)",
    "osmesa": "Install OSMesa (Debian: apt-get install libosmesa6 libgl1), "
    "or draw with EGL (apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri, MUJOCO_GL=egl)",
    "glfw": "Drawing through GLX needs a display; draw with EGL instead: MUJOCO_GL=egl",
    "cgl": "Drawing through CGL needs a login session on the Mac's screen",
}
# What the outcome depends on besides the machine.
VARIABLES = (
    "MUJOCO_EGL_DEVICE_ID",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "EGL_PLATFORM",
    "LIBGL_ALWAYS_SOFTWARE",
    "__EGL_VENDOR_LIBRARY_DIRS",
    "__EGL_VENDOR_LIBRARY_FILENAMES",
    "LD_LIBRARY_PATH",
)


@dataclass(frozen=True)
class EglDevice:
    """One device that EGL can draw on.

    Attributes:
        index: What ``MUJOCO_EGL_DEVICE_ID`` calls it.
        name: As the driver names it; may be empty.
        software: Whether it draws on the CPU.
        cuda_index: The GPU's index in CUDA, None if it has none.
        device_file: E.g. ``/dev/dri/renderD128``; None if it has none.
    """

    index: int
    name: str
    software: bool
    cuda_index: int | None
    device_file: str | None

    def __str__(self) -> str:
        where = "CPU" if self.software else f"CUDA {self.cuda_index}" if self.cuda_index is not None else self.device_file or "GPU"
        return f"{self.index}: {self.name + ' ' if self.name else ''}({where})"


@dataclass(frozen=True)
class OffscreenGl:
    """What draws here.

    Attributes:
        backend: ``egl``, ``osmesa``, ``glfw`` or ``cgl``.
        vendor, renderer, version: As OpenGL names them.
        device: Index of the EGL device in use, None for other backends.
        devices: All EGL devices.
        chosen: Indices of those that the environment chooses; `device` is the first.
    """

    backend: str
    vendor: str
    renderer: str
    version: str
    device: int | None
    devices: tuple[EglDevice, ...]
    chosen: tuple[int, ...] = ()


def offscreen_backend() -> str:
    """The backend that robosuite 1.4.0 draws with, given ``MUJOCO_GL`` (utils/binding_utils.py): EGL unless told otherwise."""
    if platform.system() == "Darwin":
        return "cgl"
    return {"osmesa": "osmesa", "glx": "glfw"}.get(os.environ.get("MUJOCO_GL", "").lower().strip(), "egl")


def check_offscreen_gl(backend: str | None = None) -> OffscreenGl:
    """Draw a picture in another process; about a second the first time, then remembered in this process.

    Args:
        backend: The one that robosuite will use if None.

    Raises:
        DependencyError: It cannot be drawn, is drawn wrongly, or the driver crashes; the message says what to install.
    """
    return _probe(backend or offscreen_backend(), tuple(os.environ.get(name) for name in VARIABLES))


@cache
def _probe(backend: str, _environment: tuple[str | None, ...]) -> OffscreenGl:
    command = [sys.executable, "-m", "vlagym.envs._gl_probe", backend]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, errors="replace")
    except subprocess.TimeoutExpired as error:
        raise _cannot_draw(backend, f"no picture within {TIMEOUT_S:.0f} s") from error
    if done.returncode < 0:
        raise _cannot_draw(backend, f"the driver crashed with {signal.Signals(-done.returncode).name}")
    lines = done.stdout.strip().splitlines()
    if not lines:
        why = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise _cannot_draw(backend, f"the probe ended with exit code {done.returncode}: {why}")
    report = json.loads(lines[-1])
    if "error" in report:
        raise _cannot_draw(backend, report["error"], report["remedy"])
    devices = tuple(EglDevice(**device) for device in report["devices"])
    return OffscreenGl(**{**report, "devices": devices, "chosen": tuple(report["chosen"])})


def egl_devices_for(asked: Sequence[int] | None) -> tuple[int, ...] | None:
    """The EGL devices that workers are to draw on: those asked for, else those that the environment chooses.

    Returns:
        Indices; None where nothing has been chosen, or something else than EGL draws.

    Raises:
        ConfigError: One that is asked for does not exist; all are named.
        DependencyError: Nothing can be drawn here.
    """
    found = check_offscreen_gl()
    if found.backend != "egl":
        if asked:
            raise ConfigError(f"egl_devices={list(asked)} chooses among EGL's devices, but {found.backend} draws here.")
        return None
    if wrong := [index for index in asked or () if index not in range(len(found.devices))]:
        raise ConfigError(
            f"egl_devices={list(asked or ())}: EGL has no device {wrong[0]}; it has {', '.join(map(str, found.devices))}. "
            "Its numbers are not CUDA's."
        )
    if asked:
        return tuple(asked)
    return found.chosen if os.environ.get("CUDA_VISIBLE_DEVICES") and not os.environ.get("MUJOCO_EGL_DEVICE_ID") else None


def _cannot_draw(backend: str, why: str, remedy: str | None = None) -> DependencyError:
    return DependencyError(f"MuJoCo cannot draw offscreen with {backend.upper()}: {why}. {remedy or REMEDIES[backend]}.")
