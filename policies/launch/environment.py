"""The Python environment of a server: a folder that is there, or one that uv makes of a list of requirements."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...errors import ConfigError, DependencyError

_PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True)
class LaunchEnvironment:
    """Where a server's Python and packages come from.

    Attributes:
        folder: Of a virtual environment; None for that of this process.
        paths: Folders from which its Python imports before anywhere else.
    """

    folder: Path | None
    paths: tuple[Path, ...] = ()

    @property
    def python(self) -> str:
        """Its Python."""
        return sys.executable if self.folder is None else str(self.folder / "bin" / "python")

    def variables(self) -> dict[str, str]:
        """What the server finds in its process environment."""
        variables = dict(os.environ)
        if self.folder is not None:
            for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE"):
                variables.pop(name, None)
            variables["VIRTUAL_ENV"] = str(self.folder)
            variables["PATH"] = os.pathsep.join([str(self.folder / "bin"), variables.get("PATH", os.defpath)])
        if self.paths:
            before = [variables["PYTHONPATH"]] if variables.get("PYTHONPATH") else []
            variables["PYTHONPATH"] = os.pathsep.join([*map(str, self.paths), *before])
        variables["PYTHONUNBUFFERED"] = "1"
        return variables

    @classmethod
    def find(cls, description: str | None, needs: Sequence[str] = (), paths: Sequence[Path] = ()) -> LaunchEnvironment:
        """The environment that a setting describes.

        Args:
            description: Folder of a virtual environment; ``uv:PACKAGE==VERSION,...`` for one that uv makes, once, in the user's
                cache, with ``python=VERSION`` among the packages for another Python; None for that of this process.
            needs: Requirements that one made by uv gets beside those.
            paths: Folders from which its Python imports before anywhere else.

        Raises:
            ConfigError: No virtual environment is there.
            DependencyError: uv is not installed, or could not make it.
        """
        if description is None:
            return cls(None, tuple(paths))
        if description.startswith("uv:"):
            requirements = [part.strip() for part in description.removeprefix("uv:").split(",") if part.strip()]
            return cls(_made_by_uv(requirements, needs), tuple(paths))
        folder = Path(description).expanduser().absolute()
        if not os.access(folder / "bin" / "python", os.X_OK):
            raise ConfigError(f"policy.environment={description}: {folder} is not a virtual environment (it has no bin/python).")
        return cls(folder, tuple(paths))


def _made_by_uv(requirements: Sequence[str], needs: Sequence[str]) -> Path:
    uv = shutil.which("uv")
    if uv is None:
        raise DependencyError("policy.environment=uv:... needs the program uv; install it with `pip install uv`.")
    pythons = [r.removeprefix("python=") for r in requirements if r.startswith("python=")]
    packages = sorted({*(r for r in requirements if not r.startswith("python=")), *needs})
    if not requirements or len(pythons) > 1:
        raise ConfigError("policy.environment=uv:... must name requirements, e.g. uv:lerobot==0.4.4,python=3.11.")
    name = hashlib.sha256(repr((pythons, packages)).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vlagym" / "environments"
    folder = cache / name
    if (folder / "complete").exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    # Made under its final name, which its scripts contain; another process that makes it at the same time makes the same.
    shutil.rmtree(folder, ignore_errors=True)
    _run([uv, "venv", "--quiet", *(["--python", pythons[0]] if pythons else []), str(folder)])
    _run([uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *packages])
    (folder / "complete").touch()
    return folder


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = " ".join(done.stderr.strip().splitlines()[-3:])
        raise DependencyError(f"`{' '.join(command)}` failed: {last}")


@contextmanager
def light_package() -> Iterator[Path]:
    """A folder, while the context lasts, from which another environment can import ``vlagym`` and nothing else of ours."""
    with tempfile.TemporaryDirectory(prefix="vlagym-") as folder:
        (Path(folder) / "vlagym").symlink_to(_PACKAGE)
        yield Path(folder)
