"""Which launcher the settings ``launcher.*`` mean."""

from __future__ import annotations

from ..plan.launcher import LauncherSettings
from .launcher import Launcher, LocalLauncher


def make_launcher(settings: LauncherSettings) -> Launcher:
    """The launcher of these settings, not yet opened.

    Raises:
        DependencyError: It needs a package that is missing.
    """
    if settings.name == "local":
        return LocalLauncher()
    from .ray_launcher import RayLauncher  # Ray is imported only where it is used

    return RayLauncher(settings)
