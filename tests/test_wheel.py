"""The wheel: installed outside the checkout it holds every module and the configuration, and nothing but `vlagym/`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
PARTS = ("conf", "edges", "envs", "eval", "policies", "results/published")
SKIPPED = shutil.ignore_patterns(".git", "build", "*.egg-info", "__pycache__", ".*_cache", "20*", ".venv")
IMPORT_EVERYTHING = """
import importlib, pkgutil, vlagym
skipped = ("__main__", ".kernels")  # entry scripts, and what Triton compiles, which comes with torch for GPUs
names = [m.name for m in pkgutil.walk_packages(vlagym.__path__, "vlagym.") if not m.name.endswith(skipped)]
for name in names:
    importlib.import_module(name)
print(vlagym.__file__)
print(len(names))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(REPO, folder / "source", ignore=SKIPPED)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(folder / "source"),
    ]
    subprocess.run(build, check=True)
    return next(folder.glob("vlagym-*.whl"))


def test_a_wheel_holds_the_package_only(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"vlagym", next(n for n in names if "dist-info" in n).split("/")[0]}
    assert not [name for name in names if "/tests/" in name]
    assert "vlagym/setup.py" not in names
    assert {"vlagym/conf/config.yaml", "vlagym/results/published/scores.json", "vlagym/py.typed"} <= set(names)
    files = [
        path
        for part in PARTS
        for path in (REPO / part).rglob("*")
        if path.suffix in (".py", ".json", ".npz", ".yaml", ".html", ".txt")
    ]
    missing = {f"vlagym/{path.relative_to(REPO)}" for path in files} - set(names)
    assert not missing, "files that the wheel lacks: see setup.py and pyproject.toml's package-data"


def test_every_module_imports_from_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = Path(
        subprocess.run(
            [python, "-c", "import site; print(site.getsitepackages()[0])"], check=True, capture_output=True, text=True
        ).stdout.strip()
    )
    # The third-party packages of the environment that runs the tests; its own editable vlagym is not found through a .pth line.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    zipfile.ZipFile(wheel).extractall(site)
    done = subprocess.run([python, "-I", "-c", IMPORT_EVERYTHING], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    origin, count = done.stdout.split()
    assert Path(origin).is_relative_to(site)
    assert int(count) > 30
