"""CALVIN's evaluation as a suite: what it needs on a machine, and the environment that runs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ...errors import DependencyError, VlagymError
from ..assets import AssetFolder, locate
from ..identity import check_origin
from ..packages import installed_version, require_python
from ..rendering_probe import egl_devices_for
from ..suite import Check, Suite
from .settings import CAMERA_SIZES, CalvinSettings

if TYPE_CHECKING:
    from .env import CalvinEnv

PYBULLET = "3.2.7"  # the version whose trajectories were compared with upstream's


@dataclass(frozen=True)
class CalvinSuite(CalvinSettings, Suite):
    """Chains of five subtasks. There is one task, ``chain``; trial i is the benchmark's i-th chain."""

    def make_env(self, cameras: Sequence[str]) -> CalvinEnv:
        self._check_pybullet()
        calvin, calvin_env = self._assets()
        from .env import CalvinEnv

        return CalvinEnv(self, cameras, calvin.path, calvin_env.path)

    def check_ready(self) -> None:
        self._check_pybullet()
        self._assets()
        self._drawn_by()

    def render_devices(self, asked: Sequence[int] | None) -> tuple[int, ...] | None:
        return None if self.renderer == "tiny" else egl_devices_for(asked)

    def provenance(self) -> dict[str, Any]:
        packages = {name: installed_version(name) for name in ("pybullet", "scipy")}
        assets = {asset.name: asset.provenance() for asset in self._assets()}
        return {"packages": packages, "assets": assets, "renderer": self._drawn_by()}

    def notices(self) -> list[str]:
        found = [asset.notice for asset in self._assets() if asset.notice]
        if self.renderer == "tiny":
            found.append(
                "Images were drawn by TinyRenderer, not by the benchmark's EGL renderer: "
                "scores of policies that see are not comparable."
            )
        return found

    def doctor(self) -> Iterator[Check]:
        probes = {
            "CALVIN packages": self._check_pybullet,
            "CALVIN assets": self._describe_assets,
            "CALVIN picture": self._try_picture,
        }
        for name, probe in probes.items():
            try:
                yield Check(name, True, probe())
            except VlagymError as error:
                yield Check(name, False, str(error))
                return

    @staticmethod
    def _check_pybullet() -> str:
        found = installed_version("pybullet")
        if found is None:
            require_python("calvin")
        else:
            check_origin("pybullet")
        if found != PYBULLET:
            instead = f"pybullet {found}" if found else "no pybullet"
            raise DependencyError(
                f"CALVIN's trajectories are those of pybullet {PYBULLET}; {instead} is installed. Run: vla-eval install calvin"
            )
        return f"pybullet {found}"

    def _describe_assets(self) -> str:
        return ", ".join(f"{asset.name} {asset.commit[:12]}" for asset in self._assets())

    def _try_picture(self) -> str:
        """Draw how the first chain starts and look for its blue block, which lies on the table.

        Raises:
            DependencyError: The driver fails, or the picture shows no block.
        """
        env = self.make_env(())
        try:
            env.reset()
            env.render()
            began = perf_counter()
            image = env.draw(env.render_state(), "primary", *CAMERA_SIZES["primary"]).astype(int)
            took_ms = 1000 * (perf_counter() - began)
        finally:
            env.close()
        drawn_by = self._drawn_by()
        blue = image[..., 2] > 2 * image[..., :2].max(axis=-1) + 50
        if not 0.0005 < blue.mean() < 0.05:
            raise DependencyError(
                f"the picture drawn by {drawn_by} does not show the blue block. "
                "Update the OpenGL driver, or draw with suite.renderer=tiny."
            )
        return f"{drawn_by}; 200x200 in {took_ms:.0f} ms, blue block seen"

    def _drawn_by(self) -> str:
        if self.renderer == "tiny":
            return "TinyRenderer"
        from .painter import probe_egl

        return " ".join(("EGL", *probe_egl()))

    @staticmethod
    def _assets() -> tuple[AssetFolder, AssetFolder]:
        return locate("calvin"), locate("calvin_env")
