"""Offscreen rendering is probed where a driver can do no harm, and what is wrong comes with its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from needs import need_driver

from vlagym.envs import rendering_probe
from vlagym.envs._gl_probe import ProbeError, selected_egl_devices
from vlagym.envs.rendering_probe import EglDevice, OffscreenGl, check_offscreen_gl, egl_devices_for, offscreen_backend
from vlagym.errors import ConfigError, DependencyError


@pytest.fixture
def egl() -> OffscreenGl:
    return need_driver(lambda: check_offscreen_gl("egl"))


def break_module(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> None:
    """Let other Python processes import `code` as the module `name`."""
    (folder / f"{name}.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    rendering_probe._probe.cache_clear()


@pytest.mark.parametrize(
    ("value", "backend"), [(None, "egl"), ("", "egl"), ("EGL", "egl"), ("osmesa", "osmesa"), ("glx", "glfw"), ("glfw", "egl")]
)
def test_the_backend_is_the_one_robosuite_takes(monkeypatch, value, backend):
    monkeypatch.setattr(rendering_probe.platform, "system", lambda: "Linux")
    if value is None:
        monkeypatch.delenv("MUJOCO_GL", raising=False)
    else:
        monkeypatch.setenv("MUJOCO_GL", value)
    assert offscreen_backend() == backend


def test_what_draws_is_named_and_remembered(egl, monkeypatch):
    assert egl.backend == "egl" and egl.renderer and egl.vendor and egl.version[0].isdigit()
    assert egl.device is not None and egl.device in [device.index for device in egl.devices]
    monkeypatch.setattr(rendering_probe.subprocess, "run", lambda *a, **k: pytest.fail("asked the driver again"))
    assert check_offscreen_gl("egl") is egl


def test_a_machine_without_a_driver_is_told_what_to_install(egl, monkeypatch, tmp_path):
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_DIRS", str(tmp_path))
    monkeypatch.delenv("__EGL_VENDOR_LIBRARY_FILENAMES", raising=False)
    with pytest.raises(DependencyError, match="cannot draw offscreen with EGL") as error:
        check_offscreen_gl("egl")
    for package in ("libegl1", "libegl-mesa0", "libgl1-mesa-dri", "libgl1", "libosmesa6"):
        assert package in str(error.value)


@pytest.mark.parametrize("value", ["63", "-1"])
def test_a_device_that_does_not_exist_is_named_with_its_variable(egl, monkeypatch, value):
    monkeypatch.setenv("MUJOCO_EGL_DEVICE_ID", value)
    with pytest.raises(
        DependencyError, match=rf"MUJOCO_EGL_DEVICE_ID chooses EGL device '{value}'.*Set MUJOCO_EGL_DEVICE_ID to an index below"
    ):
        check_offscreen_gl("egl")


def egl_of(*cuda: int | None) -> list[dict[str, object]]:
    return [{"index": index, "cuda_index": gpu} for index, gpu in enumerate(cuda)]


@pytest.mark.parametrize(
    ("devices", "variables", "chosen"),
    [
        (egl_of(None), {}, [0]),
        (egl_of(None), {"CUDA_VISIBLE_DEVICES": "3"}, [0]),  # only the CPU draws: CUDA's numbers say nothing about it
        (egl_of(1, 0, None), {"CUDA_VISIBLE_DEVICES": "0"}, [1]),
        (egl_of(1, 0, None), {"CUDA_VISIBLE_DEVICES": "1,0"}, [0, 1]),
        (egl_of(1, 0, None), {"CUDA_VISIBLE_DEVICES": "-1"}, [0]),
        (egl_of(1, 0, None), {"CUDA_VISIBLE_DEVICES": "0", "MUJOCO_EGL_DEVICE_ID": "2"}, [2]),
        (egl_of(0, None), {"CUDA_VISIBLE_DEVICES": "GPU-8a7b"}, [0]),
    ],
)
def test_variables_of_egl_and_cuda_are_reconciled(monkeypatch, devices, variables, chosen):
    for name in ("MUJOCO_EGL_DEVICE_ID", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert selected_egl_devices(devices) == chosen


@pytest.mark.parametrize("visible", ["2", "GPU-8a7b", "MIG-1"])
def test_a_gpu_that_egl_does_not_know_is_named(monkeypatch, visible):
    monkeypatch.delenv("MUJOCO_EGL_DEVICE_ID", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(ProbeError, match=rf"CUDA_VISIBLE_DEVICES names GPU '{visible}'; EGL's devices are of GPUs \[0, 1\]"):
        selected_egl_devices(egl_of(0, 1))


def test_egl_devices_are_checked_against_those_there_are(egl, monkeypatch):
    for name in ("MUJOCO_EGL_DEVICE_ID", "CUDA_VISIBLE_DEVICES", "MUJOCO_GL"):
        monkeypatch.delenv(name, raising=False)
    assert egl_devices_for(None) is None
    assert egl_devices_for([0]) == (0,)
    with pytest.raises(ConfigError, match=r"egl_devices=\[0, 63\]: EGL has no device 63; it has 0: .*not CUDA's"):
        egl_devices_for([0, 63])


def test_a_driver_that_crashes_is_an_error_and_not_the_end(egl, monkeypatch, tmp_path):
    break_module(tmp_path, monkeypatch, "OpenGL", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(DependencyError, match="the driver crashed with SIGSEGV"):
        check_offscreen_gl("egl")


def test_a_driver_that_hangs_is_given_up(egl, monkeypatch, tmp_path):
    monkeypatch.setattr(rendering_probe, "TIMEOUT_S", 3.0)
    break_module(tmp_path, monkeypatch, "OpenGL", "import time; time.sleep(60)")
    with pytest.raises(DependencyError, match="no picture within 3 s"):
        check_offscreen_gl("egl")


def test_a_probe_that_cannot_even_start_says_why(egl, monkeypatch, tmp_path):
    break_module(tmp_path, monkeypatch, "gymnasium", "raise ImportError('half installed')")
    with pytest.raises(DependencyError, match=r"ended with exit code 1.*half installed"):
        check_offscreen_gl("egl")


def test_osmesa_either_draws_or_is_named_as_missing():
    try:
        found = check_offscreen_gl("osmesa")
    except DependencyError as error:
        assert "libOSMesa is missing" in str(error) and "libosmesa6" in str(error)
    else:
        assert found.backend == "osmesa" and found.device is None and "Mesa" in found.version


def test_devices_read_well():
    assert str(EglDevice(0, "llvmpipe", software=True, cuda_index=None, device_file=None)) == "0: llvmpipe (CPU)"
    assert str(EglDevice(1, "", software=False, cuda_index=3, device_file=None)) == "1: (CUDA 3)"
    assert str(EglDevice(2, "", software=False, cuda_index=None, device_file="/dev/dri/card0")) == "2: (/dev/dri/card0)"
