"""`vla-eval doctor` finds what is wrong, says what to do, and survives whatever it meets."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from needs import need_driver

from vlagym.envs import packages, rendering_probe
from vlagym.envs.suite import Check
from vlagym.errors import ConfigError, DependencyError
from vlagym.eval.cli import doctor
from vlagym.eval.cli import main as cli

THIRD_PARTY_SUITES = """
import os, signal
from toy_suite import ToySuite
from vlagym.envs.suite import Check
from vlagym.errors import DependencyError


class Crashing(ToySuite):
    def doctor(self):
        yield Check("before", True, "fine")
        print("about to load the driver", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
        yield


class Raising(ToySuite):
    def doctor(self):
        raise ZeroDivisionError("a bug")
        yield


class Unready(ToySuite):
    def check_ready(self):
        raise DependencyError("the simulator is missing. Run: vla-eval install it")

    def notices(self):
        return ["never asked"]
"""


@pytest.fixture(autouse=True)
def third_party_suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package whose suites misbehave when they are probed."""
    info = tmp_path / "site" / "bad_suites-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-suites\nVersion: 1.0\n")
    names = ("Crashing", "Raising", "Unready")
    (info / "entry_points.txt").write_text("[vlagym.suites]\n" + "".join(f"{n.lower()} = bad_suites:{n}\n" for n in names))
    (tmp_path / "site" / "bad_suites.py").write_text(THIRD_PARTY_SUITES)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("VLAGYM_ASSETS_DIR", str(tmp_path / "assets"))


Report = Callable[..., tuple[int, dict[tuple[str, str], Any]]]


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Report:
    """Runs the command with --json; returns the exit code and the checks by (part, name)."""

    def run(*suites: str) -> tuple[int, dict[tuple[str, str], Any]]:
        code = cli(["doctor", "--json", *suites])
        content = json.loads(capsys.readouterr().out)
        assert content["ok"] is (code == 0)
        return code, {(check["part"], check["name"]): SimpleNamespace(**check) for check in content["checks"]}

    return run


def machine() -> dict[tuple[str, str], Check]:
    """The checks that belong to no suite, by (part, name)."""
    return {(finding.part, finding.check.name): finding.check for finding in doctor.system_findings()}


def test_a_sound_machine_passes(report):
    need_driver(rendering_probe.check_offscreen_gl)
    code, checks = report("toy")
    assert code == 0, [check for check in checks.values() if check.ok is False]
    assert {part for part, _ in checks} == {"machine", "packages", "rendering", "video", "disk", "assets", "toy"}
    assert "mujoco 3.3.2" in checks["packages", "vlagym"].found
    assert "libx264" in checks["video", "ffmpeg"].found
    assert checks["assets", "libero"].ok is None and "vla-eval assets fetch libero" in checks["assets", "libero"].found
    assert checks["toy", "ready"].ok and checks["toy", "toy"].found == "nothing can be wrong with it"


def test_the_table_says_the_same(capsys):
    need_driver(rendering_probe.check_offscreen_gl)
    assert cli(["doctor", "toy"]) == 0
    out = capsys.readouterr().out
    assert "nothing can be wrong with it" in out and "none failed" in out


def test_a_probe_that_crashes_is_a_finding_and_the_next_suite_is_probed(report):
    code, checks = report("crashing", "toy")
    assert code == 1
    assert checks["crashing", "before"].ok
    assert checks["crashing", "probe"].ok is False
    assert "died of SIGSEGV; it said: about to load the driver" in checks["crashing", "probe"].found
    assert checks["toy", "toy"].ok


def test_a_probe_that_raises_or_hangs_is_a_finding(monkeypatch):
    (_, found) = doctor.suite_findings("raising")
    assert found.check.ok is False and "ZeroDivisionError: a bug" in found.check.found
    monkeypatch.setattr(doctor, "SUITE_TIMEOUT_S", 0.0)
    (found,) = doctor.suite_findings("toy")
    assert found.check.ok is False and "no answer within" in found.check.found


def test_a_suite_that_is_not_ready_says_what_to_run(report):
    _, checks = report("unready")
    assert checks["unready", "ready"].ok is False
    assert checks["unready", "ready"].found.endswith("Run: vla-eval install it")


def test_no_renderer_is_one_failure_with_its_remedy(report, monkeypatch, tmp_path):
    need_driver(rendering_probe.check_offscreen_gl)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_DIRS", str(tmp_path))
    code, checks = report("toy")
    found = checks["rendering", "egl (in use)"]
    assert code == 1 and found.ok is False
    assert "libegl1 libegl-mesa0 libgl1-mesa-dri libgl1" in found.remedy and "libosmesa6" in found.remedy


def test_missing_libraries_of_opencv_are_named(monkeypatch, tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = machine()["packages", "opencv"]
    assert found.ok is False and "libgl1 libglib2.0-0" in found.remedy


def test_an_ffmpeg_without_h264_fails(monkeypatch, tmp_path):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho ' V..... mpeg4'\n")
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    found = machine()["video", "ffmpeg"]
    assert found.ok is False and "no libx264" in found.found and "IMAGEIO_FFMPEG_EXE" in found.remedy
    program.write_text("#!/bin/sh\necho broken >&2; exit 3\n")
    found = machine()["video", "ffmpeg"]
    assert found.ok is False and "broken" in found.found


def test_a_full_disk_fails(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    checks = machine()
    assert checks["disk", "results"].ok is False and checks["disk", "assets"].ok is False


def test_damaged_assets_fail():
    folder = Path(os.environ["VLAGYM_ASSETS_DIR"])
    folder.mkdir()
    (folder / "libero-8f1084e3132a.json").write_text("{")
    found = machine()["assets", "libero"]
    assert found.ok is False and "vla-eval assets fetch libero --force" in found.found


def test_other_versions_than_the_pinned_ones_fail(monkeypatch):
    real = packages.installed_version
    versions = {"mujoco": "3.4.0", "hf-libero": "0.1.3", "bddl": None}
    monkeypatch.setattr(packages, "installed_version", lambda name: versions[name] if name in versions else real(name))
    checks = machine()
    assert checks["packages", "vlagym"].ok is False
    assert "mujoco 3.4.0 (needs ==3.3.2)" in checks["packages", "vlagym"].found
    assert checks["packages", "libero"].ok is False and "vla-eval install libero" in checks["packages", "libero"].remedy
    with pytest.raises(DependencyError, match=r"mujoco 3\.4\.0 .*bddl missing \(needs ==1\.0\.1\)\. Run: vla-eval install libero"):
        packages.require_packages("libero")


def test_a_benchmark_that_is_not_installed_is_no_failure(monkeypatch):
    real = packages.installed_version
    gone = {"hf-libero", "bddl", "future"}
    monkeypatch.setattr(packages, "installed_version", lambda name: None if name in gone else real(name))
    found = machine()["packages", "libero"]
    assert found.ok is None and "vla-eval install libero" in found.found
    assert not any(suite.startswith("libero") for suite in doctor._one_suite_per_benchmark())


def test_an_unknown_suite_names_the_near_ones():
    with pytest.raises(ConfigError, match=r"unknown suite 'robosuit'.*'robosuite'"):
        doctor.main(["robosuit"])


@pytest.mark.parametrize(
    ("more", "code", "found"), [(["policy.batch=2"], 0, "the same bits alone, among 2"), ([], 1, "policy.batch=N")]
)
def test_a_policy_is_audited(golden: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int, found: str) -> None:
    pytest.importorskip("transformers", reason="OpenVLA needs the extra openvla")
    checkpoint = golden / "openvla_tiny" / "checkpoint"
    towers = "[{embed_dim:48,depth:4,heads:3},{embed_dim:40,depth:3,heads:2}]"
    arguments = ["policy=openvla", f"policy.checkpoint={checkpoint}", f"policy.vision_towers={towers}", "policy.device=cpu"]
    assert doctor.main(["--json", *arguments, *more]) == code
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert (check["part"], check["name"]) == ("openvla", "batch-invariant")
    assert found in check["found"] + check["remedy"]


def test_what_is_no_network_cannot_be_audited() -> None:
    with pytest.raises(ConfigError, match="'random' is no network that runs here"):
        doctor.main(["policy=random"])


def test_what_a_newer_python_cannot_have_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version_tuple", lambda: ("3", "13", "0"))
    found = {check.name: check for check in doctor._packages()}
    for benchmark in ("calvin", "simpler"):
        assert found[benchmark].ok is None
        assert "exist for Python 3.11 and older; this is Python 3.13." in found[benchmark].found
