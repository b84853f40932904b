"""Which packages a benchmark needs beyond vlagym's own, and whether this environment has them.

Some benchmarks' packages declare requirements that only training or data collection uses (hf-libero: robomimic, torchvision, wandb,
thop, an EGL probe; bddl: pytest, jupytext). They are pinned here and installed without their dependencies by ``vla-eval install``;
what an evaluation does import is the extra of the same name in pyproject.toml.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from .._registry import unknown_name
from ..errors import DependencyError


@dataclass(frozen=True)
class BenchmarkPackages:
    """What one benchmark installs.

    Attributes:
        extra: Extra of vlagym whose requirements are installed in the ordinary way; None if there are none.
        without_dependencies: Exact pins that are installed alone.
    """

    extra: str | None
    without_dependencies: tuple[str, ...] = ()


# Found by importing libero.libero.envs, and resetting and stepping a task, in a fresh environment: nothing else is missed.
BENCHMARK_PACKAGES: Mapping[str, BenchmarkPackages] = {
    "calvin": BenchmarkPackages(extra="calvin"),
    "libero": BenchmarkPackages(extra="libero", without_dependencies=("hf-libero==0.1.4", "bddl==1.0.1", "future==1.0.0")),
    "robosuite": BenchmarkPackages(extra=None),
    "simpler": BenchmarkPackages(extra="simpler"),
}

LAST_PYTHON = "3.11"  # that SAPIEN 2.2.2 and pybullet 3.2.7 have builds for


@dataclass(frozen=True)
class PackageState:
    """A requirement and the version that is installed (None: the package is missing)."""

    requirement: Requirement
    installed: str | None

    @property
    def ok(self) -> bool:
        """Whether the installed version satisfies the requirement."""
        return self.installed is not None and self.requirement.specifier.contains(self.installed, prereleases=True)

    def __str__(self) -> str:
        return f"{self.requirement.name} {self.installed or 'missing'} (needs {self.requirement.specifier or 'any version'})"


def own_requirements(extra: str | None = None) -> list[Requirement]:
    """What vlagym itself declares for this environment: always, or beyond that for an extra."""
    found = []
    for requirement in map(Requirement, requires("vlagym") or []):
        always = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        wanted = requirement.marker is not None and requirement.marker.evaluate({"extra": extra or ""})
        if (not always and wanted) if extra else always:
            requirement.marker = None
            found.append(requirement)
    return found


def benchmark_packages(benchmark: str) -> BenchmarkPackages:
    """The entry of a benchmark.

    Raises:
        ConfigError: No such benchmark.
    """
    if benchmark not in BENCHMARK_PACKAGES:
        raise unknown_name("benchmark", benchmark, BENCHMARK_PACKAGES)
    return BENCHMARK_PACKAGES[benchmark]


def package_states(benchmark: str | None = None) -> list[PackageState]:
    """The requirements of a benchmark beyond vlagym's own, or vlagym's own if None, and what is installed of them."""
    if benchmark is None:
        requirements = own_requirements()
    else:
        packages = benchmark_packages(benchmark)
        requirements = own_requirements(packages.extra) if packages.extra else []
        requirements += [Requirement(pin) for pin in packages.without_dependencies]
    return [PackageState(requirement, installed_version(requirement.name)) for requirement in requirements]


def require_python(benchmark: str) -> None:
    """Make sure that a benchmark's packages can be had for this Python.

    Raises:
        DependencyError: Some exist for older ones only.
    """
    extra, this = benchmark_packages(benchmark).extra or "", ".".join(platform.python_version_tuple()[:2])
    lost = [
        requirement.name
        for requirement in map(Requirement, requires("vlagym") or [])
        if (marker := requirement.marker)
        and marker.evaluate({"extra": extra, "python_version": LAST_PYTHON})
        and not marker.evaluate({"extra": extra, "python_version": this})
    ]
    if lost:
        raise DependencyError(
            f"{benchmark} needs versions of {', '.join(lost)} that exist for Python {LAST_PYTHON} and older; this is Python "
            f"{this}. Make an environment with Python {LAST_PYTHON} for it."
        )


def installed_version(package: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def require_packages(benchmark: str) -> None:
    """Make sure that a benchmark's packages are installed in the versions that its results depend on.

    Raises:
        DependencyError: One is missing or of another version; the message ends with the command to run.
    """
    wrong = [state for state in [*package_states(), *package_states(benchmark)] if not state.ok]
    if wrong:
        raise DependencyError(f"{benchmark} cannot run here: {', '.join(map(str, wrong))}. Run: vla-eval install {benchmark}")
