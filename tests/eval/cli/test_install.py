"""`vla-eval install` adds packages and replaces none; tried with a real pip in a fresh environment and made-up packages."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from vlagym.envs import packages
from vlagym.envs.packages import BENCHMARK_PACKAGES, BenchmarkPackages, own_requirements, package_states
from vlagym.errors import ConfigError, DependencyError
from vlagym.eval.cli import install as cli_install


def test_what_is_declared_for_libero_is_what_it_needs():
    pinned = {pin.partition("==")[0] for pin in BENCHMARK_PACKAGES["libero"].without_dependencies}
    assert pinned == {"hf-libero", "bddl", "future"}
    names = {state.requirement.name for state in package_states("libero")}
    assert pinned < names and not names & {"torch", "torchvision", "robomimic", "wandb", "transformers"}
    assert {"robosuite", "mujoco", "termcolor"} <= {requirement.name for requirement in own_requirements()}


def test_only_what_is_missing_is_installed(monkeypatch, tmp_path):
    have = {"cloudpickle": "3", "easydict": "1.0", "pyyaml": "6", "hf-libero": "0.1.4"}
    monkeypatch.setattr(packages, "installed_version", have.get)
    pins = tmp_path / "pins"
    first, second = cli_install.commands(["pip"], "libero", pins)
    assert first[:3] == ["pip", "--constraint", str(pins)] and {entry.partition(">")[0] for entry in first[3:]} == {
        "easydict",
        "matplotlib",
    }
    assert second == ["pip", "--no-deps", "bddl==1.0.1", "future==1.0.0"]
    forced = cli_install.commands(["pip"], "libero", pins, force=True)[-1]
    assert forced == ["pip", "--no-deps", "--force-reinstall", "hf-libero==0.1.4", "bddl==1.0.1", "future==1.0.0"]
    assert "--reinstall" in cli_install.commands(["/bin/uv", "pip", "install"], "libero", pins, force=True)[-1]


def test_everything_that_is_installed_is_held_but_what_is_asked_for():
    pins = dict(pin.split("==") for pin in cli_install.installed_pins(["MuJoCo"]))
    assert pins["numpy"] == packages.installed_version("numpy") and "mujoco" not in pins


def test_an_unknown_benchmark_names_the_near_ones():
    with pytest.raises(ConfigError, match=r"unknown benchmark 'libro'.*'libero'"):
        cli_install.main(["libro"])


@pytest.mark.parametrize("benchmark", ["calvin", "simpler"])
def test_what_a_newer_python_cannot_have_is_said(monkeypatch, benchmark):
    monkeypatch.setattr("platform.python_version_tuple", lambda: ("3", "12", "4"))
    with pytest.raises(DependencyError, match=r"exist for Python 3\.11 and older; this is Python 3\.12\. Make an environment"):
        cli_install.main([benchmark, "--dry-run"])
    assert cli_install.main(["robosuite", "--dry-run"]) == 0


def test_an_environment_without_pip_uses_uv_or_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(cli_install, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DependencyError, match=r"has no pip.*ensurepip.*run this command again"):
        cli_install.main(["libero", "--dry-run"])
    (tmp_path / "uv").write_text("#!/bin/sh\n")
    (tmp_path / "uv").chmod(0o755)
    assert cli_install.find_installer() == [str(tmp_path / "uv"), "pip", "install", "--python", sys.executable]


def make_wheel(folder: Path, name: str, version: str, *requirements: str) -> None:
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(f"Requires-Dist: {r}\n" for r in requirements)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in (f"{name}.py", f"{info}/METADATA", f"{info}/WHEEL")))


# Puts a made-up benchmark into the table; everything else is the product's own, run in the fresh environment.
DRIVER = """
import sys
from packaging.requirements import Requirement
from vlagym.envs import packages
from vlagym.envs.packages import BENCHMARK_PACKAGES, BenchmarkPackages
packages.requires = lambda name: ['toy-plain>=1; extra == "toy"', 'toy-greedy>=1; extra == "greedy"']
BENCHMARK_PACKAGES["toy"] = BenchmarkPackages("toy", ("toy-alone==2.0",))
BENCHMARK_PACKAGES["greedy"] = BenchmarkPackages("greedy")
from vlagym.eval.cli import main
sys.exit(main(["install", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def fresh_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a new environment with its own pip, vlagym, and something like a CPU torch; the index is a folder of wheels."""
    root = tmp_path_factory.mktemp("install")
    wheels = root / "wheels"
    wheels.mkdir()
    for version in ("2.13.0+cpu", "3.0"):
        make_wheel(wheels, "toy_torch", version)
    make_wheel(wheels, "toy_plain", "1.5", "toy-torch>=2")
    make_wheel(wheels, "toy_alone", "2.0", "toy-torch>=3", "toy-robomimic")
    make_wheel(wheels, "toy_greedy", "1.0", "toy-torch>=3")
    venv.create(root / "venv", with_pip=True)
    python = root / "venv" / "bin" / "python"
    purelib = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, capture_output=True, text=True
    ).stdout.strip()
    # What runs these tests is importable there too; an editable vlagym is found through a .pth file, which has to be repeated.
    inherited = [path for path in site.getsitepackages() if Path(path).is_dir()]
    finders = [file.read_text() for path in inherited for file in Path(path).glob("__editable__*vlagym*.pth")]
    Path(purelib, "inherited.pth").write_text("\n".join([*inherited, *finders]) + "\n")
    installed = run(python, "-m", "pip", "install", "-q", "toy-torch==2.13.0+cpu")
    assert installed.returncode == 0, installed.stderr
    return python


def run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = python.parents[2]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "VIRTUAL_ENV"))}
    settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(root / "wheels"), "PIP_CONFIG_FILE": os.devnull}
    return subprocess.run([python, *arguments], capture_output=True, text=True, check=False, env=inherited | settings, cwd=root)


def versions(python: Path) -> dict[str, str]:
    listing = run(python, "-m", "pip", "list", "--local", "--format=freeze").stdout.split()
    return dict(line.split("==") for line in listing if "==" in line)


def test_a_fresh_environment_gets_the_benchmark_and_keeps_its_torch(fresh_venv):
    before = versions(fresh_venv)
    dry = run(fresh_venv, "-c", DRIVER, "toy", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert (
        dry.stdout.count("would run:") == 2
        and "--constraint INSTALLED_VERSIONS 'toy-plain>=1'" in dry.stdout
        and "--no-deps toy-alone==2.0" in dry.stdout
    )
    assert versions(fresh_venv) == before
    done = run(fresh_venv, "-c", DRIVER, "toy")
    assert done.returncode == 0, done.stderr
    assert "toy: installed: toy-plain 1.5, toy-alone 2.0" in done.stdout
    after = versions(fresh_venv)
    assert {name: version for name, version in after.items() if name in before} == before
    assert set(after) - set(before) == {"toy_plain", "toy_alone"}
    again = run(fresh_venv, "-c", DRIVER, "toy")
    assert again.returncode == 0 and "everything is installed" in again.stdout


def test_what_would_replace_torch_is_not_installed(fresh_venv):
    before = versions(fresh_venv)
    done = run(fresh_venv, "-c", DRIVER, "greedy")
    assert done.returncode == 2
    assert "the installer ended with exit code 1" in done.stderr and "toy-torch==2.13.0+cpu" in done.stdout
    assert versions(fresh_venv) == before


def test_the_table_is_open_to_more_benchmarks():
    assert all(isinstance(entry, BenchmarkPackages) for entry in BENCHMARK_PACKAGES.values())
    assert BENCHMARK_PACKAGES["robosuite"] == BenchmarkPackages(extra=None)
