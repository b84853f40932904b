"""Draws one picture with MuJoCo and says on what: run as ``python -m vlagym.envs._gl_probe BACKEND``, because drivers may crash.

Prints one line of JSON: what was found, or ``error`` and, where installing drivers would not help, ``remedy``. EGL and CUDA count
devices differently: ``MUJOCO_EGL_DEVICE_ID`` is EGL's index; ``CUDA_VISIBLE_DEVICES``, which robosuite 1.4.0 takes for one too,
names GPUs whose EGL devices are looked up; without either, the first device draws.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

SCENE = """
<mujoco><worldbody>
  <light pos="0 0 3"/><camera name="c" pos="0 -2 0" xyaxes="1 0 0 0 0 1"/>
  <geom type="box" size=".3 .3 .3" rgba="1 0 0 1"/>
</worldbody></mujoco>
"""
SIZE = 64

# From the EGL registry: EGL_EXT_device_query, EGL_EXT_device_query_name, EGL_EXT_device_drm, EGL_NV_device_cuda.
EGL_EXTENSIONS, EGL_VENDOR = 0x3055, 0x3053
EGL_RENDERER_EXT, EGL_DRM_DEVICE_FILE_EXT, EGL_CUDA_DEVICE_NV = 0x335F, 0x3233, 0x323A
MAX_DEVICES = 64


class ProbeError(Exception):
    """Nothing can be drawn here.

    Args:
        message: Why.
        remedy: What to do, if it is not to install drivers.
    """

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy


def selected_egl_devices(devices: Sequence[Mapping[str, Any]]) -> list[int]:
    """Indices of the EGL devices to draw on, given the environment and all devices (see `egl_devices`); at least one.

    Raises:
        ProbeError: There is no device, or a variable names one that is not there.
    """
    if not devices:
        raise ProbeError("EGL has no device")
    remedy = f"Set MUJOCO_EGL_DEVICE_ID to an index below {len(devices)}"
    if chosen := os.environ.get("MUJOCO_EGL_DEVICE_ID", "").strip():
        if not chosen.isdigit() or int(chosen) >= len(devices):
            raise ProbeError(f"MUJOCO_EGL_DEVICE_ID chooses EGL device {chosen!r} of {len(devices)}", remedy)
        return [int(chosen)]
    of_gpu = {device["cuda_index"]: device["index"] for device in devices if device["cuda_index"] is not None}
    visible = [gpu.strip() for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu.strip()]
    if not of_gpu or not visible or visible[0] == "-1":  # no GPU of CUDA's draws here, or none is visible to it
        return [0]
    unknown = [gpu for gpu in visible if not gpu.isdigit() or int(gpu) not in of_gpu]
    if unknown and not (len(of_gpu) == 1 and not unknown[0].isdigit()):  # the one GPU there is may go by its UUID
        raise ProbeError(f"CUDA_VISIBLE_DEVICES names GPU {unknown[0]!r}; EGL's devices are of GPUs {sorted(of_gpu)}", remedy)
    return list(of_gpu.values()) if unknown else [of_gpu[int(gpu)] for gpu in visible]


def egl_devices() -> list[dict[str, Any]]:
    """Every EGL device: its name, whether it is a CPU renderer, its CUDA index and device file where it has them."""
    egl = ctypes.CDLL("libEGL.so.1")
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    egl.eglGetProcAddress.argtypes = [ctypes.c_char_p]

    def function(name: bytes, result: Any, *arguments: Any) -> Any:
        address = egl.eglGetProcAddress(name)
        if not address:
            raise ProbeError(f"no EGL driver offers {name.decode()}")
        return ctypes.CFUNCTYPE(result, *arguments)(address)

    query = function(b"eglQueryDevicesEXT", ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    text_of = function(b"eglQueryDeviceStringEXT", ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
    number_of = function(b"eglQueryDeviceAttribEXT", ctypes.c_uint, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    handles, count = (ctypes.c_void_p * MAX_DEVICES)(), ctypes.c_int()
    if not query(MAX_DEVICES, handles, ctypes.byref(count)):
        raise ProbeError("eglQueryDevicesEXT failed")
    devices = []
    for index, handle in enumerate(handles[: count.value]):
        extensions = (text_of(handle, EGL_EXTENSIONS) or b"").decode().split()
        named = "EGL_EXT_device_query_name" in extensions
        cuda = ctypes.c_ssize_t()
        has_cuda = "EGL_NV_device_cuda" in extensions and number_of(handle, EGL_CUDA_DEVICE_NV, ctypes.byref(cuda))
        software = "EGL_MESA_device_software" in extensions
        described = (text_of(handle, EGL_RENDERER_EXT) or text_of(handle, EGL_VENDOR)) if named else None
        file = text_of(handle, EGL_DRM_DEVICE_FILE_EXT) if "EGL_EXT_device_drm" in extensions else None
        devices.append(
            {
                "index": index,
                "name": described.decode() if described else "",
                "software": software,
                "cuda_index": cuda.value if has_cuda else None,
                "device_file": file.decode() if file else None,
            }
        )
    return devices


def _load_osmesa() -> None:
    """Load the library as PyOpenGL will, which itself goes on without it and fails later with an unrelated message."""
    from OpenGL.platform import ctypesloader

    if ctypesloader.loadLibrary(ctypes.cdll, "OSMesa") is None:
        raise ProbeError("the library libOSMesa is missing")


def draw() -> dict[str, Any]:
    """Draw a red box and name what drew it."""
    import mujoco
    from OpenGL import GL

    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, SIZE, SIZE) as renderer:
        renderer.update_scene(data, camera="c")
        image = renderer.render()
        names = {
            "vendor": GL.glGetString(GL.GL_VENDOR).decode(),
            "renderer": GL.glGetString(GL.GL_RENDERER).decode(),
            "version": GL.glGetString(GL.GL_VERSION).decode(),
        }
    middle, corner = image[SIZE // 2, SIZE // 2].astype(int), image[0, 0].astype(int)
    if not (middle[0] > middle[1:].max() + 64 and corner.max() < 10):
        raise ProbeError(f"{names['renderer']} draws a red box on black as {middle.tolist()} on {corner.tolist()}")
    return names


def probe(backend: str) -> dict[str, Any]:
    """What draws here through a backend of MuJoCo (``egl``, ``osmesa``, ``glfw``, ``cgl``)."""
    report: dict[str, Any] = {"backend": backend, "device": None, "devices": [], "chosen": []}
    os.environ["MUJOCO_GL"] = os.environ["PYOPENGL_PLATFORM"] = backend
    if backend == "egl":
        report["devices"] = egl_devices()
        report["chosen"] = selected_egl_devices(report["devices"])
        report["device"] = report["chosen"][0]
        os.environ["MUJOCO_EGL_DEVICE_ID"] = str(report["device"])
    if backend == "osmesa":
        _load_osmesa()
    return {**report, **draw()}


def main(backend: str) -> int:
    """Print the probe's outcome as one line of JSON."""
    try:
        report = probe(backend)
    except Exception as error:  # whatever MuJoCo, PyOpenGL or the driver raise is the finding
        why = str(error) if isinstance(error, ProbeError) else f"{type(error).__name__}: {error}"
        report = {"error": why, "remedy": getattr(error, "remedy", None)}
    print(json.dumps(report), flush=True)
    return 1 if "error" in report else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
