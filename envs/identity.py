"""What is installed of a benchmark, told by content: that Python finds the package that was installed, and a hash of its files.

A benchmark derived from another is often published as a package of the same name and version with other task files. Lying earlier
on the path it would run in the original's place, so it is refused by its path; files changed in place are refused by name, against
the hashes that the installer noted (RECORD).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..errors import DependencyError

_BENCHMARKS = {"hf-libero": "libero", "bddl": "libero", "pybullet": "calvin", "sapien": "simpler"}  # others are robosuite's
_MODULES = {"hf-libero": "libero"}  # where the module has another name than the distribution
# Bytecode is made on use; the rest no simulation reads: other robots' meshes, meshes in formats for viewers, demonstrations.
_COMPILED = (".pyc", ".pyo", ".nbc", ".nbi")
_ROBOSUITE_ASSETS = "robosuite/models/assets/"
_UNREAD = (
    *(f"{_ROBOSUITE_ASSETS}robots/{robot}/" for robot in ("baxter", "iiwa", "jaco", "kinova3", "sawyer", "ur5e")),
    f"{_ROBOSUITE_ASSETS}bullet_data/",
    f"{_ROBOSUITE_ASSETS}demonstrations/",
)
_FOR_VIEWERS = (".dae", ".mtl")


def check_origin(name: str) -> Path:
    """Make sure that importing a distribution's module gets what was installed under its name, and say where that is.

    Args:
        name: Of the distribution, e.g. ``hf-libero``.

    Returns:
        The folder in which the module lies.

    Raises:
        DependencyError: It is not installed, or another package of the same name comes first on the path.
    """
    module = _MODULES.get(name, name)
    try:
        installed = distribution(name)
    except PackageNotFoundError as error:
        benchmark = _BENCHMARKS.get(name, "robosuite")
        raise DependencyError(f"{name} is not installed. Run: vla-eval install {benchmark}") from error
    found = _location(module)
    if found is None:
        raise DependencyError(f"{name} is installed, but Python finds no module {module!r} of it; install it again.")
    expected = [Path(str(installed.locate_file(""))).resolve(), *_editable(installed)]
    if found.resolve().parent not in expected:
        raise DependencyError(
            f"{found} is not the {module!r} of {name} {installed.version}, which is installed in {expected[0]}: a benchmark of "
            "other files would run under its name. Take that folder off PYTHONPATH, or give the other benchmark an environment "
            "of its own."
        )
    return found.parent


@cache
def installed_sha256(names: Sequence[str]) -> dict[str, str]:
    """A hash of the files of each distribution: code, task files, initial states, models. Computed once per process.

    Raises:
        DependencyError: As `check_origin`; or a file is missing or not the one that was installed.
    """
    return {name: _distribution_sha256(name) for name in names}


def tree_sha256(root: Path, files: Iterable[Path]) -> str:
    """Hash of the names below a folder and the contents of some files in it."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(root).as_posix()}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _distribution_sha256(name: str) -> str:
    root, module = check_origin(name), _MODULES.get(name, name)
    installed = distribution(name)
    noted = {str(file): file.hash for file in installed.files or () if str(file).startswith(f"{module}/")}
    digest, changed = hashlib.sha256(), []
    own = {file.relative_to(root).as_posix() for file in (root / module).rglob("*.py")}  # e.g. robosuite's macros_private.py
    for path in sorted(path for path in {*noted, *own} if _is_read(path)):
        try:
            content = hashlib.sha256((root / path).read_bytes()).digest()
        except OSError:
            changed.append(path)
            continue
        expected = noted.get(path)
        if expected is not None and expected.mode == "sha256" and expected.value != _as_recorded(content):
            changed.append(path)
        digest.update(f"{path}\0{content.hex()}\n".encode())
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise DependencyError(
            f"{root / changed[0]}{more} is not the file that {name} {installed.version} installed, so its numbers would not be "
            f"the benchmark's. Put it back: pip install --force-reinstall --no-deps {name}=={installed.version}"
        )
    return digest.hexdigest()


def _is_read(path: str) -> bool:
    return not path.endswith((*_COMPILED, *_FOR_VIEWERS)) and not path.startswith(_UNREAD)


def _as_recorded(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _location(module: str) -> Path | None:
    """The file or folder of a module that an import would get; nothing is imported."""
    spec = find_spec(module)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin else None


def _editable(installed: Distribution) -> list[Path]:
    """Where the sources of a distribution lie that was installed in editable mode."""
    told = json.loads(installed.read_text("direct_url.json") or "{}")
    if not told.get("dir_info", {}).get("editable"):
        return []
    return [Path(unquote(urlsplit(told["url"]).path)).resolve()]
