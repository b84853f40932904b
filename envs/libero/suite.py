"""The suites of LIBERO: what they need on a machine, and the environment that runs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import DependencyError, VlagymError
from ..assets import locate
from ..identity import installed_sha256
from ..packages import installed_version, package_states
from ..rendering_probe import check_offscreen_gl, egl_devices_for
from ..suite import Check, StockEpisode, Suite
from .settings import BENCHMARK, LiberoSettings

if TYPE_CHECKING:
    from ..spec import Float32Array
    from .env import LiberoEnv

HASHED = ("hf-libero", "bddl", "robosuite")  # whose files are tasks, initial states, physics and success conditions
PACKAGES = ("hf-libero", "bddl", "robosuite", "mujoco", "numpy", "numba", "scipy")  # what results depend on


@dataclass(frozen=True)
class LiberoSuite(LiberoSettings, Suite):
    """One of LIBERO's suites."""

    @property
    def variant_assets(self) -> tuple[str, ...]:
        """Asset sets that this suite needs beside LIBERO's own."""
        return ()

    def make_env(self, cameras: Sequence[str]) -> LiberoEnv:
        self._check_versions()
        assets = locate(BENCHMARK).path
        from .env import LiberoEnv

        return LiberoEnv(self, cameras, assets)

    def check_ready(self) -> None:
        self._check_versions()
        installed_sha256(HASHED)
        for name in (BENCHMARK, *self.variant_assets):
            locate(name)
        check_offscreen_gl()

    def render_devices(self, asked: Sequence[int] | None) -> tuple[int, ...] | None:
        return egl_devices_for(asked)

    def provenance(self) -> dict[str, Any]:
        gl = check_offscreen_gl()
        return {
            "packages": {name: installed_version(name) for name in PACKAGES},
            "installed_sha256": installed_sha256(HASHED),
            "assets": locate(BENCHMARK).provenance(),
            **{name: locate(name).provenance() for name in self.variant_assets},
            "renderer": f"{gl.backend}: {gl.vendor}, {gl.renderer}, {gl.version}",
        }

    def protocol(self) -> dict[str, Any]:
        """The control is named where it is not the reference protocol's, whose hash stays what it was before there was a choice."""
        settings = super().protocol()
        return {name: value for name, value in settings.items() if (name, value) != ("control", "delta")}

    def notices(self) -> list[str]:
        notice = locate(BENCHMARK).notice
        return [notice] if notice else []

    def stock_episodes(self, task: str, actions: Sequence[Float32Array]) -> Iterator[StockEpisode]:
        self._check_versions()
        from .stock import run_stock

        return run_stock(self, task, actions, locate(BENCHMARK).path)

    def doctor(self) -> Iterator[Check]:
        from .doctor import checks

        try:
            self.check_ready()
        except VlagymError as error:
            yield Check("ready", False, str(error))
            return
        yield from checks(self)

    def _check_versions(self) -> None:
        """Make sure of the packages; MuJoCo's version is the protocol's, not the installation's, to say.

        Raises:
            DependencyError: One is missing or of another version.
        """
        states = [*package_states(), *package_states(BENCHMARK)]
        wrong = [state for state in states if not state.ok and state.requirement.name != "mujoco"]
        if wrong:
            raise DependencyError(f"LIBERO cannot run here: {', '.join(map(str, wrong))}. Run: vla-eval install libero")
        installed = installed_version("mujoco")
        if installed != self.mujoco_version:
            raise DependencyError(
                f"{self.name} is defined on MuJoCo {self.mujoco_version}, not {installed}: versions differ in physics and images. "
                f"Run: pip install mujoco=={self.mujoco_version} (or set suite.mujoco_version={installed} for your own protocol)"
            )
