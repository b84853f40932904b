"""Imports hf-libero 0.1.4 without its questions and downloads, and builds its problems.

Imported the ordinary way it asks on the terminal where data is kept if it finds no configuration file, and fetches its assets from
a hub if it finds none beside itself (libero/libero/__init__.py).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...errors import DependencyError
from ..robosuite._upstream import import_robosuite
from .tasks import package_folder

CONFIG_VARIABLE = "LIBERO_CONFIG_PATH"


def import_libero(assets: Path) -> Any:
    """The package ``libero.libero.envs``, its objects and scenes taken from `assets`.

    Raises:
        DependencyError: hf-libero or something it imports is missing, or no OpenGL platform works.
    """
    import_robosuite()
    package_folder()
    try:
        with _configured():
            package: Any = importlib.import_module("libero.libero")
            package._assets_path_cache = str(assets)
            return importlib.import_module("libero.libero.envs")
    except ModuleNotFoundError as error:
        raise DependencyError(f"hf-libero needs the package {error.name!r}. Run: vla-eval install libero") from error


def problem_class(bddl: Path, assets: Path) -> Any:
    """The environment class that a BDDL file names.

    Raises:
        DependencyError: As `import_libero`.
    """
    envs = import_libero(assets)
    from libero.libero.envs.bddl_utils import get_problem_info

    return envs.TASK_MAPPING[get_problem_info(str(bddl))["problem_name"]]


@contextmanager
def _configured() -> Iterator[None]:
    """Let the first import find a configuration file: the user's if there is one, else an empty one.

    None of its entries is used here; that it exists keeps the import from asking.
    """
    users = Path(os.environ.get(CONFIG_VARIABLE) or "~/.libero").expanduser() / "config.yaml"
    if "libero.libero" in sys.modules or users.exists():
        yield
        return
    before = os.environ.get(CONFIG_VARIABLE)
    with TemporaryDirectory(prefix="vlagym-libero-") as folder:
        (Path(folder) / "config.yaml").touch()
        os.environ[CONFIG_VARIABLE] = folder
        try:
            yield
        finally:
            os.environ.pop(CONFIG_VARIABLE)
            if before is not None:
                os.environ[CONFIG_VARIABLE] = before
