"""A package that ``vla-eval new`` writes works as it stands, and nothing is overwritten or hidden by it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from pages import REPO

from vlagym.envs import ActionSpec, Suite, Task, VlaEnv
from vlagym.eval.cli import main
from vlagym.policies import Policy


@pytest.mark.parametrize("kind", ["suite", pytest.param("policy", marks=pytest.mark.slow)])
def test_a_new_package_is_installed_and_passes_its_own_test(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's own test evaluates a policy on it by its name."""
    monkeypatch.chdir(tmp_path)
    name = f"one_new_{kind}"
    assert main(["new", kind, name]) == 0
    quiet = ["-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--root-user-action=ignore"]
    subprocess.run([sys.executable, "-m", "pip", "install", *quiet, "--target", "site", f"./{name}"], check=True)
    path = os.pathsep.join(["site", os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", name, f"{name}/tests"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["suite", "there"], "there is there already, and nothing of it is overwritten"),
        (["suite", "fine", "folder=there"], "there is there already"),
        (["suite", "robosuite"], "there is a suite 'robosuite' already"),
        (["suite", "toy"], "there is a suite 'toy' already"),
        (["policy", "push"], "there is a policy 'push' already"),
        (["policy", "numpy"], "there is a Python package 'numpy' already, which yours would hide"),
        (["policy", "My-Policy"], "'My-Policy' cannot be the name of a Python package"),
        (["policy", "class"], "'class' cannot be the name"),
        (["policy", "../x"], "'../x' cannot be the name"),
        (["benchmark", "mine"], "invalid choice: 'benchmark'"),
        (["suite"], "the following arguments are required: name"),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_line(
    typed: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert main(["new", *typed]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert not list((tmp_path / "there").iterdir())


def test_the_contracts_page_names_every_member() -> None:
    page = (REPO / "docs" / "contract.md").read_text(encoding="utf-8")
    asked = {name for kind in (Suite, VlaEnv, Policy) for name in kind.__abstractmethods__}
    own = {name for kind in (Suite, Policy) for base in kind.__mro__[:2] for name in vars(base) if not name.startswith("_")}
    said = {*asked, *own, *Policy.__annotations__, *(field.name for kind in (ActionSpec, Task) for field in fields(kind))}
    said -= {"cameras", "variation"}  # follow from what is named
    missing = sorted(name for name in said if f"`{name}`" not in page and f"`{name}(" not in page and f", {name}(" not in page)
    assert not missing
