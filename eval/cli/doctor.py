"""``vla-eval doctor``: what this machine has and lacks, from the Python version to a picture drawn by each benchmark.

Whatever touches a graphics driver runs in a process of its own, so that a crash is a finding and not the end.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..._parent import PROCESSES
from ...conf import suite_names
from ...envs.assets import NotFetchedError, assets_dir, locate, manifest_names
from ...envs.packages import BENCHMARK_PACKAGES, PackageState, installed_version, package_states, require_python
from ...envs.registry import make_suite
from ...envs.rendering_probe import check_offscreen_gl, offscreen_backend
from ...envs.suite import Check
from ...errors import AssetError, ConfigError, DependencyError, VlagymError
from ..plan.config import compose_settings, split_suites
from ..record.console import make_console
from .arguments import CommandParser
from .bench import compose_bench

if TYPE_CHECKING:
    from rich.table import Table

OLDEST_PYTHON = (3, 10)
LEAST_FREE_BYTES = 1 << 30
SUBPROCESS_TIMEOUT_S = 60.0
# Settling and drawing a scene takes seconds; compiling numba's functions for the first time, up to a minute.
SUITE_TIMEOUT_S = 600.0


class Finding(NamedTuple):
    """A check and the part of the report it belongs to."""

    part: str
    check: Check


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval doctor ARGV``.

    Returns:
        0 if nothing failed, else 1.

    Raises:
        ConfigError: No such suite.
    """
    parser = CommandParser(
        prog="vla-eval doctor",
        description="Check this machine: packages, rendering, video, disk, assets, and what each suite probes. "
        "Without a suite, one of every benchmark that is installed is probed. With policy=NAME and its settings, the policy alone: "
        "whether its answer to an observation depends on who else is in the batch.",
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="suites to probe, e.g. libero_goal; or policy=NAME ...")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args(argv)
    if any(argument.startswith("policy=") for argument in args.suites):
        return _report([policy_finding(args.suites)], args.json)
    suites = split_suites([f"suite={','.join(args.suites)}"])[0] if args.suites else _one_suite_per_benchmark()
    console = make_console()
    with console.status("checking this machine") as status:
        findings = list(system_findings())
        for suite in suites:
            status.update(f"probing {suite}")
            findings += suite_findings(suite)
    return _report(findings, args.json)


def _report(findings: Sequence[Finding], as_json: bool) -> int:
    """Print what was found; the exit code."""
    console = make_console()
    failed = [finding for finding in findings if finding.check.ok is False]
    if as_json:
        checks = [{"part": finding.part, **asdict(finding.check)} for finding in findings]
        print(json.dumps({"ok": not failed, "checks": checks}, indent=1))
    else:
        console.print(_table(findings))
        console.print(f"{len(failed)} of {len(findings)} checks failed." if failed else f"{len(findings)} checks, none failed.")
    return 1 if failed else 0


def policy_finding(settings: Sequence[str]) -> Finding:
    """Build the policy that settings describe, and audit it with observations made up for its suite.

    Raises:
        ConfigError: It is no network, or its settings cannot be.
    """
    from ...policies.audit import audit_batch
    from ...policies.network.adapter import NetworkPolicy
    from ...policies.registry import make_policy

    composed = compose_bench(settings)
    suite = make_suite(composed["suite"])
    with closing(make_policy(composed["policy"], suite)) as policy:
        if not isinstance(policy, NetworkPolicy):
            raise ConfigError(f"policy {composed['policy']['name']!r} is no network that runs here: it has no batches to audit.")
        audit = audit_batch(policy, suite)
    remedy = "Set policy.batch=N: passes of one fixed shape" if policy.batch is None else "Set policy.batch=1, or another dtype"
    return Finding(composed["policy"]["name"], Check("batch-invariant", audit.invariant, audit.found, remedy))


def system_findings() -> Iterator[Finding]:
    """What does not depend on a suite."""
    parts: dict[str, Iterable[Check]] = {
        "machine": _machine(),
        "packages": _packages(),
        "rendering": _rendering(),
        "video": [_ffmpeg()],
        "disk": [_free_space("results", Path.cwd()), _free_space("assets", assets_dir())],
        "assets": map(_asset_set, manifest_names()),
    }
    for part, checks in parts.items():
        yield from (Finding(part, check) for check in checks)


# --- the machine -----------------------------------------------------------------------------------------------------------------


def _machine() -> Iterator[Check]:
    yield Check(
        "python",
        sys.version_info >= OLDEST_PYTHON,
        f"{platform.python_version()} in {sys.prefix}",
        f"Use Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or later",
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Check("hardware", True, f"{os.cpu_count()} cores, {memory / 1e9:.0f} GB of memory, {platform.platform()}")


def _packages() -> Iterator[Check]:
    yield _package_check("vlagym", package_states(), "pip install --upgrade vlagym")
    yield _opencv()
    for benchmark in BENCHMARK_PACKAGES:
        try:
            require_python(benchmark)
        except DependencyError as error:
            yield Check(benchmark, None, str(error))
            continue
        if states := package_states(benchmark):
            yield _package_check(benchmark, states, f"vla-eval install {benchmark}")
    for package in ("torch", "transformers"):
        if found := installed_version(package):
            yield Check(package, True, found)


def _package_check(name: str, states: Sequence[PackageState], command: str) -> Check:
    wrong = [state for state in states if not state.ok]
    if not wrong:
        return Check(name, True, ", ".join(f"{state.requirement.name} {state.installed}" for state in states))
    nothing_there = name != "vlagym" and not any(state.installed for state in states if state.requirement.name in _own_pins(name))
    if nothing_there:
        return Check(name, None, f"not installed (to have it: {command})")
    return Check(name, False, ", ".join(map(str, wrong)), f"Run: {command}")


def _own_pins(benchmark: str) -> set[str]:
    """Packages whose presence shows that the benchmark is wanted here: its pinned ones, or all if it has none."""
    pins = {pin.partition("==")[0] for pin in BENCHMARK_PACKAGES[benchmark].without_dependencies}
    return pins or {state.requirement.name for state in package_states(benchmark)}


def _opencv() -> Check:
    """OpenCV comes with robosuite and links against libraries that a headless machine may lack."""
    done = _run(sys.executable, "-c", "import cv2; print(cv2.__version__)")
    if done.returncode == 0:
        return Check("opencv", True, done.stdout.strip())
    return Check("opencv", False, _last_line(done), "Install its libraries (Debian: apt-get install libgl1 libglib2.0-0)")


# --- rendering, video, disk, assets ----------------------------------------------------------------------------------------------


def _rendering() -> Iterator[Check]:
    used = offscreen_backend()
    for backend in dict.fromkeys((used, "egl", "osmesa")):
        name = f"{backend}{' (in use)' if backend == used else ''}"
        try:
            found = check_offscreen_gl(backend)
        except DependencyError as error:
            why, _, remedy = str(error).partition(". ")
            yield Check(name, False if backend == used else None, why, remedy if backend == used else "")
            continue
        yield Check(name, True, f"{found.renderer}, OpenGL {found.version}")
        if found.devices:
            using = f"; device {found.device} is used unless egl_devices=[...] says otherwise" if backend == used else ""
            yield Check("egl devices", True, ", ".join(map(str, found.devices)) + using)


def _ffmpeg() -> Check:
    import imageio_ffmpeg

    remedy = "Run: pip install --force-reinstall imageio-ffmpeg (or set IMAGEIO_FFMPEG_EXE to an ffmpeg with libx264)"
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
        done = _run(program, "-hide_banner", "-encoders")
    except (RuntimeError, OSError) as error:
        return Check("ffmpeg", False, str(error), remedy)
    if done.returncode != 0:
        return Check("ffmpeg", False, f"{program}: {_last_line(done)}", remedy)
    if "libx264" not in done.stdout:
        return Check("ffmpeg", False, f"{program} cannot write H.264 (no libx264)", remedy)
    return Check("ffmpeg", True, f"{imageio_ffmpeg.get_ffmpeg_version()} with libx264")


def _free_space(what: str, folder: Path) -> Check:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    return Check(what, free >= LEAST_FREE_BYTES, f"{free / 1e9:.1f} GB free in {existing}", "Make room, or choose another folder")


def _asset_set(name: str) -> Check:
    try:
        folder = locate(name)
    except NotFetchedError:
        return Check(name, None, f"not fetched (to have it: vla-eval assets fetch {name})")
    except AssetError as error:
        return Check(name, False, str(error))
    return Check(name, True, folder.notice or f"commit {folder.commit[:12]}, complete, no stand-ins")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SUBPROCESS_TIMEOUT_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


# --- suites ----------------------------------------------------------------------------------------------------------------------


def _one_suite_per_benchmark() -> list[str]:
    """The first suite of every benchmark whose packages are all here."""
    chosen: dict[str, str] = {}
    for suite in suite_names():
        benchmark = _settings(suite)["benchmark"]
        family = next((name for name in BENCHMARK_PACKAGES if benchmark == name or benchmark.startswith(f"{name}_")), None)
        if all(state.ok for state in package_states(family)):
            chosen.setdefault(benchmark, suite)
    return list(chosen.values())


def _settings(suite: str) -> dict[str, Any]:
    settings: dict[str, Any] = compose_settings([f"suite={suite}"])["suite"]
    return settings


def suite_findings(name: str) -> list[Finding]:
    """Probe a suite in a process of its own; what ends that process is a finding too."""
    receiver, sender = PROCESSES.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="vlagym-doctor-") as folder:
        output = Path(folder) / "output.txt"
        process = PROCESSES.Process(target=_probe_suite, args=(name, sender, output), daemon=True)
        process.start()
        sender.close()
        checks, outcome = _receive(receiver)
        if outcome == "silent":
            process.kill()
        process.join()
        if outcome != "done":
            said = output.read_text(encoding="utf-8", errors="replace").strip().splitlines() if output.exists() else []
            how = f"no answer within {SUITE_TIMEOUT_S:.0f} s" if outcome == "silent" else _death(process.exitcode)
            checks.append(Check("probe", False, f"{how}{'; it said: ' + said[-1] if said else ''}"))
    return [Finding(name, check) for check in checks]


def _receive(receiver: Connection) -> tuple[list[Check], Literal["done", "dead", "silent"]]:
    """Checks from the probing process until it has sent None, ended, or kept silent for too long."""
    checks: list[Check] = []
    while receiver.poll(SUITE_TIMEOUT_S):
        try:
            check = receiver.recv()
        except EOFError:
            return checks, "dead"
        if check is None:
            return checks, "done"
        checks.append(check)
    return checks, "silent"


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"the probe's process died of {signal.Signals(-exit_code).name}"
    return f"the probe's process ended with exit code {exit_code}"


def _probe_suite(name: str, sender: Connection, output: Path) -> None:
    """Run in the probing process: send every check, then None."""
    with output.open("wb") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    suite = make_suite(_settings(name))
    try:
        suite.check_ready()
    except VlagymError as error:
        sender.send(Check("ready", False, str(error)))
    else:
        sender.send(Check("ready", True, "; ".join(suite.notices()) or "yes"))
        for check in suite.doctor():
            sender.send(check)
    sender.send(None)


# --- the report ------------------------------------------------------------------------------------------------------------------


def _table(findings: Sequence[Finding]) -> Table:
    from rich.table import Column, Table
    from rich.text import Text

    marks = {True: Text("ok", "green"), False: Text("FAILED", "bold red"), None: Text("-", "dim")}
    table = Table("", "check", "", Column("found", overflow="fold"))
    part = None
    for finding in findings:
        if part is not None and finding.part != part:
            table.add_section()
        check = finding.check
        found = Text(check.found)
        if check.ok is False and check.remedy:
            found.append(f"\n{check.remedy}", "yellow")
        table.add_row(finding.part if finding.part != part else "", check.name, marks[check.ok], found)
        part = finding.part
    return table
