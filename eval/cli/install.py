"""``vla-eval install``: adds a benchmark's packages to the running environment and replaces nothing that is already there."""

from __future__ import annotations

import importlib
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ...envs.packages import (
    BENCHMARK_PACKAGES,
    PackageState,
    benchmark_packages,
    package_states,
    require_python,
)
from ...errors import DependencyError
from .arguments import CommandParser

DESCRIPTION = """\
Install what a benchmark needs into the Python environment that runs this command. Packages that are already installed keep their
version (torch, numpy, mujoco, ...): if that cannot be, nothing is installed and the conflict is shown. Packages that declare
requirements which only training uses are installed without them.
"""


def main(argv: list[str]) -> int:
    """Run ``vla-eval install ARGV``.

    Returns:
        0.

    Raises:
        ConfigError: No such benchmark.
        DependencyError: There is no installer, it failed, something is still missing afterwards, or this Python cannot have it.
    """
    parser = CommandParser(prog="vla-eval install", description=DESCRIPTION)
    parser.add_argument("benchmarks", nargs="+", metavar="BENCHMARK", help=", ".join(sorted(BENCHMARK_PACKAGES)))
    parser.add_argument("--dry-run", action="store_true", help="show what would be run and change nothing")
    parser.add_argument(
        "--force", action="store_true", help="install the benchmark's pinned packages again, e.g. to mend damaged files"
    )
    args = parser.parse_args(argv)
    for benchmark in args.benchmarks:
        require_python(benchmark)
    installer = find_installer()
    for benchmark in args.benchmarks:
        _install(installer, benchmark, dry_run=args.dry_run, force=args.force)
    return 0


def find_installer() -> list[str]:
    """The command that installs into the environment of this interpreter: its pip, or uv where it has none.

    Raises:
        DependencyError: Neither is there.
    """
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--python", sys.executable]
    raise DependencyError(
        f"the environment {sys.prefix} has no pip and there is no uv on the PATH. Give it one: {sys.executable} -m ensurepip "
        "(or install uv), then run this command again."
    )


def commands(installer: Sequence[str], benchmark: str, constraints: Path, *, force: bool = False) -> list[list[str]]:
    """What to run to install a benchmark, in order; nothing where nothing is missing.

    Args:
        installer: As `find_installer` returns it.
        benchmark: A key of `BENCHMARK_PACKAGES`.
        constraints: File that pins what is installed already.
        force: Reinstall the pinned packages even if they are there.
    """
    pins = {Requirement(pin).name for pin in benchmark_packages(benchmark).without_dependencies}
    states = package_states(benchmark)
    ordinary = [str(state.requirement) for state in states if state.requirement.name not in pins and not state.ok]
    alone = [str(state.requirement) for state in states if state.requirement.name in pins and (force or not state.ok)]
    reinstall = ["--reinstall" if "uv" in Path(installer[0]).name else "--force-reinstall"] if force else []
    found = [[*installer, "--constraint", str(constraints), *ordinary]] if ordinary else []
    return [*found, [*installer, "--no-deps", *reinstall, *alone]] if alone else found


def installed_pins(except_for: Sequence[str] = ()) -> list[str]:
    """``name==version`` of every installed package but those named, for a constraints file."""
    left_out = {canonicalize_name(name) for name in except_for}
    pins = {}
    for distribution in distributions():
        name, version = distribution.metadata["Name"], distribution.version
        try:
            Version(version)
        except (InvalidVersion, TypeError):
            continue  # a leftover that no installer could reproduce
        if name and canonicalize_name(name) not in left_out:
            pins[canonicalize_name(name)] = version
    return sorted(f"{name}=={version}" for name, version in pins.items())


def _install(installer: Sequence[str], benchmark: str, *, dry_run: bool, force: bool) -> None:
    states = package_states(benchmark)
    with tempfile.TemporaryDirectory(prefix="vlagym-install-") as folder:
        constraints = Path(folder) / "installed.txt"
        constraints.write_text("\n".join(installed_pins([state.requirement.name for state in states])) + "\n", encoding="utf-8")
        todo = commands(installer, benchmark, constraints, force=force)
        for command in todo:
            # The constraints' file is gone when this is read: its place is shown instead.
            shown = shlex.join("INSTALLED_VERSIONS" if part == str(constraints) else part for part in command)
            print(f"{'would run' if dry_run else 'running'}: {shown}", flush=True)
            if not dry_run:
                _run(command, shown)
    if not todo:
        print(f"{benchmark}: everything is installed: {_listed(states)}")
    elif not dry_run:
        importlib.invalidate_caches()
        _check(benchmark)


def _run(command: Sequence[str], shown: str) -> None:
    done = subprocess.run(command, check=False)
    if done.returncode != 0:
        raise DependencyError(
            f"the installer ended with exit code {done.returncode}; its messages are above. The command was: {shown} "
            "(INSTALLED_VERSIONS pins every package that is already here)"
        )


def _check(benchmark: str) -> None:
    states = package_states(benchmark)
    wrong = [state for state in states if not state.ok]
    if wrong:
        raise DependencyError(f"after installing {benchmark}, this is still not right: {_listed(wrong)}.")
    print(f"{benchmark}: installed: {_listed(states)}")


def _listed(states: Sequence[PackageState]) -> str:
    return ", ".join(f"{state.requirement.name} {state.installed or 'missing'}" for state in states)
