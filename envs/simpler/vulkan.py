"""What Vulkan offers on this machine, and SAPIEN's renderer on top of it.

SAPIEN 2.2.2 asks for the device extension VK_KHR_external_semaphore_fd, which it needs only to share images with CUDA. Mesa's
software driver, lavapipe, has it in recent versions only (26.2.1 has, 25.0.7 has not). Where all there is to draw with is such a
driver, and only there, the name of that extension is replaced by that of VK_KHR_external_semaphore in SAPIEN's memory before the
renderer is made.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import subprocess
import sys
import warnings
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...errors import DependencyError

logger = logging.getLogger(__name__)

DEVICE_VARIABLE = "MUJOCO_EGL_DEVICE_ID"  # what workers are told by egl_devices=[...]
PROBE_TIMEOUT_S = 120.0
VARIABLES = ("VK_ICD_FILENAMES", "VK_DRIVER_FILES", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", DEVICE_VARIABLE)

NVIDIA = 0x10DE
DEVICE_TYPES = ("other", "integrated", "discrete", "virtual", "cpu")
SEMAPHORE_FD = "VK_KHR_external_semaphore_fd"
RAY_TRACING = "VK_KHR_ray_tracing_pipeline"

INSTALL_LOADER = "Install the Vulkan loader (Debian: apt-get install libvulkan1)"
INSTALL_DRIVER = (
    "Install the GPU's Vulkan driver (in a container of an NVIDIA host: NVIDIA_DRIVER_CAPABILITIES=all and the ICD file "
    "nvidia_icd.json), or a software driver: mesa-vulkan-drivers 25 or newer; Debian 12's own is too old, and .ci/software-vulkan "
    "in vlagym's repository puts a newer one into a folder of its own"
)

# From vulkan_core.h.
_APPLICATION_INFO, _INSTANCE_CREATE_INFO = 0, 1
_API_VERSION_1_1 = (1 << 22) | (1 << 12)
_PROPERTIES_BYTES = 824
_NAME_BYTES = 256


@dataclass(frozen=True)
class VulkanDevice:
    """One device that Vulkan lists.

    Attributes:
        name: As the driver names it.
        kind: ``discrete``, ``integrated``, ``virtual``, ``cpu`` or ``other``.
        vendor: PCI vendor id.
        driver_version: As the driver encodes it.
        ray_tracing: Whether it can trace rays.
        shares_semaphores: Whether it has the extension that SAPIEN asks for.
    """

    name: str
    kind: str
    vendor: int
    driver_version: int
    ray_tracing: bool
    shares_semaphores: bool

    @property
    def is_software(self) -> bool:
        """Whether it draws on the CPU."""
        return self.kind == "cpu"

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"


class _InstanceCreateInfo(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("flags", ctypes.c_uint32),
        ("application", ctypes.c_void_p),
        ("layer_count", ctypes.c_uint32),
        ("layers", ctypes.c_void_p),
        ("extension_count", ctypes.c_uint32),
        ("extensions", ctypes.c_void_p),
    )


class _ApplicationInfo(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("version", ctypes.c_uint32),
        ("engine", ctypes.c_char_p),
        ("engine_version", ctypes.c_uint32),
        ("api_version", ctypes.c_uint32),
    )


class _Properties(ctypes.Structure):
    _fields_ = (
        ("api_version", ctypes.c_uint32),
        ("driver_version", ctypes.c_uint32),
        ("vendor", ctypes.c_uint32),
        ("device", ctypes.c_uint32),
        ("kind", ctypes.c_uint32),
        ("name", ctypes.c_char * _NAME_BYTES),
        ("rest", ctypes.c_char * (_PROPERTIES_BYTES - 5 * 4 - _NAME_BYTES)),
    )


class _Extension(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char * _NAME_BYTES), ("version", ctypes.c_uint32))


def list_devices() -> list[VulkanDevice]:
    """All devices, in the driver's order; loads the drivers into this process.

    Raises:
        DependencyError: There is no Vulkan loader, or no driver that works.
    """
    try:
        vulkan = ctypes.CDLL("libvulkan.so.1")
    except OSError as error:
        raise DependencyError(f"SimplerEnv needs Vulkan, but libvulkan.so.1 cannot be loaded. {INSTALL_LOADER}.") from error
    application = _ApplicationInfo(type=_APPLICATION_INFO, api_version=_API_VERSION_1_1)
    create = _InstanceCreateInfo(type=_INSTANCE_CREATE_INFO, application=ctypes.addressof(application))
    instance = ctypes.c_void_p()
    if code := vulkan.vkCreateInstance(ctypes.byref(create), None, ctypes.byref(instance)):
        raise DependencyError(f"no Vulkan driver works here (vkCreateInstance: {code}). {INSTALL_DRIVER}.")
    try:
        handles = _enumerate(vulkan.vkEnumeratePhysicalDevices, ctypes.c_void_p, instance)
        return [_describe(vulkan, ctypes.c_void_p(handle)) for handle in handles]
    finally:
        vulkan.vkDestroyInstance(instance, None)


def choose_device(devices: list[VulkanDevice], index: str | None) -> tuple[VulkanDevice, str]:
    """The device that SAPIEN will draw on, and the name that SAPIEN wants it called by.

    Args:
        devices: All there are.
        index: Which GPU the user asks for, as CUDA counts them; None for the first.

    Raises:
        DependencyError: There is none, or none of that index.
    """
    if not devices:
        raise DependencyError(f"Vulkan finds no device to draw on. {INSTALL_DRIVER}.")
    gpus = [device for device in devices if device.vendor == NVIDIA] or devices[:1]
    number = int(index or 0) if (index or "0").isdecimal() else len(gpus)
    if number >= len(gpus):
        raise DependencyError(
            f"egl_devices asks for GPU {index}, but Vulkan has {len(gpus)}: {', '.join(map(str, gpus))}. "
            f"Choose 0..{len(gpus) - 1}, or leave egl_devices unset."
        )
    return gpus[number], f"cuda:{number}" if gpus[number].vendor == NVIDIA else ""


def import_sapien() -> Any:
    """The module ``sapien.core``, to be imported here first: it warns about its own use of pkg_resources.

    Raises:
        DependencyError: A library that it needs is missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
            import sapien.core as sapien
    except ImportError as error:
        raise DependencyError(
            f"SAPIEN cannot be loaded: {error}. Install the libraries it needs "
            "(Debian: apt-get install libgl1 libx11-6 libvulkan1)."
        ) from error
    return sapien


def make_renderer() -> tuple[Any, VulkanDevice]:
    """A ``sapien.SapienRenderer`` on the device that the environment asks for; one per process is enough.

    Raises:
        DependencyError: Nothing can draw here.
    """
    devices = list_devices()
    device, called = choose_device(devices, os.environ.get(DEVICE_VARIABLE))
    sapien = import_sapien()
    if all(d.is_software for d in devices) and not device.shares_semaphores:
        logger.info("%s lacks %s: SAPIEN is told not to ask for it, since it draws without CUDA.", device.name, SEMAPHORE_FD)
        _ask_for_less()
    try:
        renderer = sapien.SapienRenderer(offscreen_only=True, device=called)
    except RuntimeError as error:
        raise DependencyError(f"SAPIEN cannot draw on {device}: {error}. {INSTALL_DRIVER}.") from error
    renderer.set_log_level("error")
    return renderer, device


def probe_vulkan(index: str | None = None) -> VulkanDevice:
    """The device that SAPIEN draws on, found by drawing in another process: a driver's crash stays there. Remembered.

    Args:
        index: The GPU to ask for instead of the one that the environment names.

    Raises:
        DependencyError: Nothing can be drawn; the message says what to install.
    """
    return _probe(tuple(os.environ.get(name) for name in VARIABLES), index)


@cache
def _probe(_environment: tuple[str | None, ...], index: str | None) -> VulkanDevice:
    command = [sys.executable, "-m", __name__]
    try:
        environment = {**os.environ, **({DEVICE_VARIABLE: index} if index is not None else {})}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False, errors="replace", env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise DependencyError(f"Vulkan did not answer within {PROBE_TIMEOUT_S:.0f} s. {INSTALL_DRIVER}.") from error
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        tail = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise DependencyError(f"SAPIEN cannot draw here: {tail[0]}. {INSTALL_DRIVER}.")
    report = json.loads(lines[-1])
    if "error" in report:
        raise DependencyError(report["error"])
    return VulkanDevice(**report)


def _enumerate(function: Any, kind: Any, *arguments: Any) -> Any:
    """The array that one of Vulkan's functions fills after saying how long it is."""
    count = ctypes.c_uint32()
    function(*arguments, ctypes.byref(count), None)
    found = (kind * count.value)()
    function(*arguments, ctypes.byref(count), found)
    return found


def _describe(vulkan: ctypes.CDLL, handle: ctypes.c_void_p) -> VulkanDevice:
    properties = _Properties()
    vulkan.vkGetPhysicalDeviceProperties(handle, ctypes.byref(properties))
    extensions = {e.name.decode() for e in _enumerate(vulkan.vkEnumerateDeviceExtensionProperties, _Extension, handle, None)}
    return VulkanDevice(
        name=properties.name.decode(errors="replace"),
        kind=DEVICE_TYPES[properties.kind] if properties.kind < len(DEVICE_TYPES) else "other",
        vendor=properties.vendor,
        driver_version=properties.driver_version,
        ray_tracing=RAY_TRACING in extensions,
        shares_semaphores=SEMAPHORE_FD in extensions,
    )


def _ask_for_less() -> None:
    """Cut the suffix ``_fd`` off the extension's name where SAPIEN's library keeps it as a constant."""
    wanted = b"\0" + SEMAPHORE_FD.encode() + b"\0"
    libc = ctypes.CDLL(None, use_errno=True)
    page = os.sysconf("SC_PAGESIZE")
    read, write = 1, 2
    with Path("/proc/self/maps").open(encoding="utf-8") as maps:
        ranges = [line.split()[0] for line in maps if "libsapien" in line and line.split()[1].startswith("r--")]
    for addresses in ranges:
        start, end = (int(address, 16) for address in addresses.split("-"))
        position = ctypes.string_at(start, end - start).find(wanted)
        if position < 0:
            continue
        suffix = start + position + len(wanted) - 1 - len("_fd")
        first_page = suffix // page * page
        length = suffix + 1 - first_page
        for protection in (read | write, read):
            if libc.mprotect(ctypes.c_void_p(first_page), ctypes.c_size_t(length), protection):
                raise DependencyError(f"SAPIEN's library cannot be adapted to this driver: {os.strerror(ctypes.get_errno())}.")
            if protection & write:
                ctypes.c_char.from_address(suffix).value = b"\0"
        return
    raise DependencyError(f"this version of SAPIEN cannot be adapted to a Vulkan driver without {SEMAPHORE_FD}. {INSTALL_DRIVER}.")


def _main() -> None:
    try:
        _, device = make_renderer()
    except DependencyError as error:
        print(json.dumps({"error": str(error)}))
    else:
        print(json.dumps(asdict(device)))


if __name__ == "__main__":
    _main()
