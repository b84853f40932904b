"""The packages of a policy: whether they are installed, and in which versions."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from importlib.metadata import version

from ..errors import DependencyError

_MODULES = {"google-crc32c": "google_crc32c", "pillow": "PIL"}


def require(packages: Sequence[str], extra: str) -> None:
    """Make sure that packages can be imported.

    Args:
        packages: Names on PyPI.
        extra: The extra of vlagym that brings them.

    Raises:
        DependencyError: Names the first that is missing and the command that installs it.
    """
    # Environments simulate on the same cores, so torch's threads must sleep while they wait for each other: spinning, its default,
    # made small networks ten times slower beside two busy workers. It has to be said before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for package in packages:
        try:
            importlib.import_module(_MODULES.get(package, package))
        except ImportError as error:
            raise DependencyError(
                f"this policy needs {package} ({error}); install it with `pip install 'vlagym[{extra}]'`."
            ) from error


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The installed version of each package; of torch with its build, e.g. ``2.13.0+cu130``, which PyPI's wheels leave out."""
    found = {name: version(name) for name in packages}
    if "torch" in found:
        import torch

        found["torch"] = str(torch.__version__)
    return found
