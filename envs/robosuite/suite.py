"""The suite ``robosuite``: what it needs on a machine, and the environment that runs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ...errors import VlagymError
from ..identity import installed_sha256
from ..packages import require_packages
from ..rendering_probe import check_offscreen_gl, egl_devices_for
from ..suite import Check, Suite
from .settings import TASKS, RobosuiteSettings
from .specs import CAMERAS

if TYPE_CHECKING:
    from .env import RobosuiteEnv

BENCHMARK = "robosuite"
HASHED = ("robosuite",)
PACKAGES = ("robosuite", "mujoco", "numpy", "numba", "scipy")  # what results depend on


@dataclass(frozen=True)
class RobosuiteSuite(RobosuiteSettings, Suite):
    """Lift, stack, pick and place, open a door, put a nut on a peg."""

    def make_env(self, cameras: Sequence[str]) -> RobosuiteEnv:
        from .env import RobosuiteEnv

        return RobosuiteEnv(self, cameras)

    def check_ready(self) -> None:
        require_packages(BENCHMARK)
        installed_sha256(HASHED)
        check_offscreen_gl()

    def render_devices(self, asked: Sequence[int] | None) -> tuple[int, ...] | None:
        return egl_devices_for(asked)

    def provenance(self) -> dict[str, Any]:
        gl = check_offscreen_gl()
        drawn_by = f"{gl.backend}: {gl.vendor}, {gl.renderer}, {gl.version}"
        return {
            "packages": {name: version(name) for name in PACKAGES},
            "installed_sha256": installed_sha256(HASHED),
            "renderer": drawn_by,
        }

    def protocol(self) -> dict[str, Any]:
        scenes = {"cameras": CAMERAS, "tasks": [asdict(task) for task in TASKS]}
        return {**super().protocol(), **scenes, "robosuite": version("robosuite"), "mujoco": version("mujoco")}

    def doctor(self) -> Iterator[Check]:
        try:
            self.check_ready()
            yield self._look_at_a_picture()
        except VlagymError as error:
            yield Check("robosuite", False, str(error))

    def _look_at_a_picture(self) -> Check:
        """Draw the first scene of task lift and look for the red cube in it."""
        env = self.make_env(())
        try:
            env.reset(options={"task": "lift"})
            env.render()
            began = perf_counter()
            image = env.draw(env.render_state(), "primary", 256, 256).astype(int)
            milliseconds = 1000 * (perf_counter() - began)
        finally:
            env.close()
        red = (image[..., 0] > 100) & (image[..., 1:].max(axis=-1) < 0.6 * image[..., 0])
        return Check(
            "picture of task lift",
            ok=bool(0.003 < red[64:192, 64:192].mean() < 0.2),
            found=f"{milliseconds:.0f} ms on {check_offscreen_gl().renderer}, the red cube covers {red.sum()} of 65536 pixels",
            remedy="Update the OpenGL driver, or draw on the CPU: MUJOCO_GL=osmesa",
        )
