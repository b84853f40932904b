"""Makes the very first episode on a machine equal to all later ones.

SAPIEN 2.2.2 turns a collision file into a mesh at its first use, goes on with that mesh, and writes it beside the file; every later
process reads what was written, whose coordinates are rounded differently. Objects then settle up to 2e-4 m elsewhere. Upstream's
episodes were recorded with written meshes, so a file is loaded once in a process of its own before it is loaded for good.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

from ...errors import AssetError
from .engine import engine

_TIMEOUT_S = 300


def write_meshes(file: Path) -> None:
    """See to it that SAPIEN has written its meshes of a room (``.glb``) or a robot (``.urdf``); quick if it has.

    Raises:
        AssetError: The folder cannot be written, or SAPIEN cannot load the file.
    """
    marker = file.with_name(f".{file.name}.meshes-written")
    if marker.exists():
        return
    try:
        with file.with_name(f".{file.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two workers that write at once would read each other's halves
            if not marker.exists():
                command = [sys.executable, "-m", __name__, str(file)]
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S)
                marker.touch()
    except OSError as error:
        raise AssetError(
            f"SAPIEN keeps meshes beside {file}, and that folder cannot be written: {error}. Make it writable."
        ) from error
    except subprocess.SubprocessError as error:
        raise AssetError(f"SAPIEN cannot load {file}: {getattr(error, 'stderr', None) or error}") from error


def _load(file: Path) -> None:
    scene = engine().create_scene()
    if file.suffix == ".urdf":
        scene.create_urdf_loader().load(str(file))
    else:
        builder = scene.create_actor_builder()
        builder.add_nonconvex_collision_from_file(str(file))
        builder.build_static()


if __name__ == "__main__":
    _load(Path(sys.argv[1]))
