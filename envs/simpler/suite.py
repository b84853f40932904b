"""SimplerEnv's evaluations as suites: what they need on a machine, and the environment that runs them."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ...errors import DependencyError, VlagymError
from ..assets import AssetFolder, locate
from ..identity import check_origin
from ..packages import installed_version, require_packages
from ..suite import Check, Suite
from .settings import ASSETS, SimplerSettings, traces_rays
from .vulkan import probe_vulkan
from .world import STAGES

if TYPE_CHECKING:
    from .env import SimplerEnv

PACKAGES = ("sapien", "numpy", "scipy", "ruckig", "transforms3d", "opencv-python")
LAST_PYTHON = (3, 11)


@dataclass(frozen=True)
class SimplerSuite(SimplerSettings, Suite):
    """One of SimplerEnv's evaluations."""

    def make_env(self, cameras: Sequence[str]) -> SimplerEnv:
        check_python()
        require_packages("simpler")
        assets = self._assets()
        from .env import SimplerEnv

        return SimplerEnv(self, cameras, assets.path)

    def check_ready(self) -> None:
        check_python()
        require_packages("simpler")
        check_origin("sapien")
        self._assets()
        probe_vulkan()

    def render_devices(self, asked: Sequence[int] | None) -> tuple[int, ...] | None:
        for index in asked or ():
            probe_vulkan(str(index))
        return super().render_devices(asked)

    def provenance(self) -> dict[str, Any]:
        device = probe_vulkan()
        return {
            "packages": {name: installed_version(name) for name in PACKAGES},
            "assets": {ASSETS: self._assets().provenance()},
            "renderer": asdict(device),
        }

    def protocol(self) -> dict[str, Any]:
        """The settings, a hash over every trial's setup, and what draws each task."""
        tasks = self.official()
        trials = [[task.name, task.horizon, trial.variant, asdict(trial.setup)] for task in tasks for trial in task.trials]
        return {
            **super().protocol(),
            "trials_sha256": hashlib.sha256(json.dumps(trials, sort_keys=True).encode()).hexdigest(),
            "shaders": {task.name: self.shader_on(probe_vulkan(), task.trials[0].setup) for task in tasks},
        }

    def notices(self) -> list[str]:
        found = [notice for notice in [self._assets().notice] if notice]
        device = probe_vulkan()
        setups = [task.trials[0].setup for task in self.official()]
        shaders = {(setup.shader, self.shader_on(device, setup)) for setup in setups}
        if ("raytracer", "rasterizer") in shaders:
            found.append(
                "Drawer and place tasks are drawn by the rasterizer here; the benchmark traces rays for them, which looks "
                "different: their scores are not comparable."
            )
        if ("rasterizer", "raytracer") in shaders:
            found.append("Tasks that the benchmark rasterizes are ray traced here: their scores are not comparable.")
        stages = self._missing_stages()
        if stages:
            found.append(f"Trials in {', '.join(stages)} cannot be run: the {ASSETS} assets lack these rooms.")
        return found

    def doctor(self) -> Iterator[Check]:
        probes = {"python": check_python, "packages": lambda: require_packages("simpler"), "assets": self._assets}
        for name, probe in probes.items():
            try:
                probe()
            except VlagymError as error:
                yield Check(f"SimplerEnv {name}", False, str(error))
                return
            yield Check(f"SimplerEnv {name}", True, "fine")
        yield from _vulkan_checks()

    def _missing_stages(self) -> list[str]:
        stages = self._assets().path / STAGES
        used = sorted({trial.setup.stage for task in self.official() for trial in task.trials})
        return [stage for stage in used if not stage.startswith("dummy") and not (stages / f"{stage}.glb").is_file()]

    @staticmethod
    def _assets() -> AssetFolder:
        return locate(ASSETS)


def check_python() -> None:
    """Make sure that this Python can run SAPIEN 2.2.2.

    Raises:
        DependencyError: It is another system or a newer Python, or NumPy is one that SAPIEN silently misreads.
    """
    if sys.platform != "linux" or sys.version_info[:2] > LAST_PYTHON:
        found = f"Python {sys.version_info.major}.{sys.version_info.minor} on {sys.platform}"
        raise DependencyError(
            f"SimplerEnv runs on SAPIEN 2.2.2, which exists for Python 3.10 and 3.11 on Linux; this is {found}. "
            "Make an environment with Python 3.11 for it; LIBERO and robosuite run here."
        )
    if int(version("numpy").split(".", maxsplit=1)[0]) >= 2:
        raise DependencyError(
            f"SAPIEN 2.2.2 misreads the arrays of NumPy {version('numpy')} without any error, so that poses come out wrong. "
            "Run: pip install 'numpy<2'"
        )


def _vulkan_checks() -> Iterator[Check]:
    from .doctor import EXPECTED_PICTURES, picture_sha256

    try:
        device = probe_vulkan()
    except DependencyError as error:
        yield Check("SimplerEnv Vulkan", False, str(error))
        return
    note = "" if device.shares_semaphores else "; lacks an extension that SAPIEN asks for and does not need, which is seen to"
    yield Check("SimplerEnv Vulkan", True, f"{device}{note}")
    yield Check(
        "SimplerEnv ray tracing",
        traces_rays(device) or None,
        "the official shader of the drawer tasks is used" if traces_rays(device) else "none: drawer scores are not comparable",
    )
    found = picture_sha256()
    known = EXPECTED_PICTURES.get(found)
    yield Check("SimplerEnv picture", True if known else None, known or f"drawn, but not among the known ones ({found[:12]})")
