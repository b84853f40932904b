"""A place where numba can keep what it compiles; without one, importing robosuite fails.

numba looks beside the source and in the user's cache folder (numba/core/caching.py), of which a container that runs as another
user has neither.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"


def give_numba_a_place(package: Path) -> None:
    """Point ``NUMBA_CACHE_DIR`` to a temporary folder unless it is set or numba finds a place of its own.

    The folder is this process's alone and goes with it: numba unpickles what it finds there, so it is nobody else's to write to.

    Args:
        package: Folder of the package whose functions numba compiles.
    """
    if os.environ.get(VARIABLE) or _is_writable(package / "utils" / "__pycache__") or _is_writable(_users_cache()):
        return
    folder = tempfile.mkdtemp(prefix="vlagym-numba-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[VARIABLE] = folder


def _users_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "numba"  # noqa: PTH111 (never raises)


def _is_writable(folder: Path) -> bool:
    """Whether a file can be made in a folder, which may have to be made first."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
