"""What is said where SimplerEnv cannot run: one sentence with a remedy each."""

import os
import shutil
import subprocess
import sys

import pytest

from vlagym.envs.simpler import suite as suite_module
from vlagym.envs.simpler.settings import traces_rays
from vlagym.envs.simpler.suite import check_python
from vlagym.envs.simpler.vulkan import NVIDIA, VulkanDevice, choose_device, probe_vulkan
from vlagym.errors import AssetError, DependencyError


def device(name="llvmpipe", kind="cpu", vendor=0x10005, ray_tracing=True):
    return VulkanDevice(name, kind, vendor, 1, ray_tracing, shares_semaphores=True)


def test_no_driver(vulkan, monkeypatch):
    monkeypatch.setenv("VK_ICD_FILENAMES", "/nowhere/icd.json")
    monkeypatch.setenv("VK_DRIVER_FILES", "/nowhere/icd.json")
    with pytest.raises(DependencyError, match=r"no Vulkan driver works here.*mesa-vulkan-drivers"):
        probe_vulkan()


def test_no_loader(assets):
    code = "import ctypes; from vlagym.envs.simpler import vulkan; ctypes.CDLL = lambda name: (_ for _ in ()).throw(OSError(name))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\ntry: vulkan.list_devices()\nexcept vulkan.DependencyError as error: print(error)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "libvulkan.so.1 cannot be loaded. Install the Vulkan loader (Debian: apt-get install libvulkan1)." in done.stdout


def test_a_gpu_that_is_not_there(vulkan, monkeypatch):
    monkeypatch.setenv("MUJOCO_EGL_DEVICE_ID", "7")
    with pytest.raises(DependencyError, match=r"egl_devices asks for GPU 7, but Vulkan has \d+: .*leave egl_devices unset"):
        probe_vulkan()


def test_choice_of_the_device():
    gpus = [device("A", "discrete", NVIDIA), device("B", "discrete", NVIDIA)]
    assert choose_device([device(), *gpus], None) == (gpus[0], "cuda:0")
    assert choose_device([device(), *gpus], "1") == (gpus[1], "cuda:1")
    assert choose_device([device()], "0") == (device(), "")
    with pytest.raises(DependencyError, match=r"GPU 2, but Vulkan has 2: A \(discrete\), B \(discrete\)\. Choose 0\.\.1"):
        choose_device([device(), *gpus], "2")
    with pytest.raises(DependencyError, match=r"GPU x, "):
        choose_device([device(), *gpus], "x")
    with pytest.raises(DependencyError, match=r"no device"):
        choose_device([], None)


def test_only_a_gpu_traces_rays_fast_enough():
    assert traces_rays(device(kind="discrete"))
    assert not traces_rays(device(kind="discrete", ray_tracing=False))
    assert not traces_rays(device(kind="cpu"))


def test_numpy_2_is_refused(monkeypatch):
    monkeypatch.setattr(suite_module, "version", lambda package: "2.3.1")
    with pytest.raises(DependencyError, match=r"misreads the arrays of NumPy 2\.3\.1.*pip install 'numpy<2'"):
        check_python()


def test_python_3_12_is_refused(monkeypatch):
    class Version(tuple):
        major, minor = 3, 12

    monkeypatch.setattr(suite_module.sys, "version_info", Version((3, 12, 4)))
    with pytest.raises(DependencyError, match=r"Python 3\.10 and 3\.11 on Linux; this is Python 3\.12"):
        check_python()


def test_a_missing_file_is_named(assets, widowx, tmp_path, monkeypatch):
    copy = tmp_path / assets.name
    shutil.copytree(assets, copy, copy_function=os.symlink)
    for marker in assets.parent.glob("maniskill2_real2sim-*.json"):
        shutil.copy(marker, tmp_path)
    (copy / "data" / "real_inpainting" / "bridge_sink.png").unlink()
    monkeypatch.setenv("VLAGYM_ASSETS_DIR", str(tmp_path))
    with pytest.raises(AssetError, match=r"bridge_sink\.png is missing .* Run: vla-eval assets fetch maniskill2_real2sim"):
        widowx.check_ready()


def test_settings_and_tasks_need_no_simulator():
    code = (
        "import sys; from vlagym.conf import suite_settings; from vlagym.envs.registry import make_suite\n"
        "print(sum(task.trials for task in make_suite(suite_settings('simpler_google_va')).tasks()))\n"
        "print([name for name in ('sapien', 'cv2', 'scipy.spatial', 'transforms3d', 'ruckig') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["1722", "[]"]


@pytest.mark.slow
def test_the_doctor_knows_the_picture(vulkan, visual_matching):
    checks = {check.name: check for check in visual_matching.doctor()}
    assert all(check.ok is not False for check in checks.values())
    assert checks["SimplerEnv Vulkan"].ok
    if "LLVM 15" in vulkan.name:
        assert checks["SimplerEnv picture"].ok
