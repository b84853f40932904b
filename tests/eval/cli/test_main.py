"""The command line itself: exit codes, messages, and that help costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vlagym import __version__
from vlagym.eval.cli import main


def test_help_imports_nothing_heavy() -> None:
    """`vla-eval --help` answers in well under half a second because none of these is imported."""
    code = (
        "import sys; from vlagym.eval.cli import main; assert main(['--help']) == 0; "
        "heavy = {'numpy', 'gymnasium', 'hydra', 'mujoco', 'robosuite', 'torch', 'pandas', 'scipy', 'rich'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "vla-eval suite=libero_goal policy=openvla" in done.stdout


def test_planning_imports_no_simulator_and_no_model() -> None:
    code = (
        "import sys; from vlagym.envs.registry import make_suite; from vlagym.conf import suite_names, suite_settings; "
        "[make_suite(suite_settings(n)).tasks() for n in suite_names()]; "
        "heavy = {'mujoco', 'robosuite', 'libero', 'torch', 'pybullet', 'sapien', 'transformers'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["suite=robosuit"], "Did you mean 'robosuite'"),
        (["polcy=random"], "Did you mean 'policy'"),
        (["suite=toy", "policy=push", "tasks=[push_rigth]"], "Did you mean 'push_right'"),
        (["resume=nowhere"], "nowhere is not a run"),
        (["resume=nowhere", "episodes_per_task=3"], "a run keeps its settings"),
    ],
)
def test_a_mistake_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str], arguments: list[str], named: str) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert named in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out


def test_a_run_prints_its_table_and_where_things_are(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["suite=toy", "policy=push", "episodes_per_task=1", f"run_dir={tmp_path / 'run'}"]) == 0
    printed = capsys.readouterr().out
    assert "[2/2] toy/" in printed
    assert "100.0 %" in printed
    assert f"results: {tmp_path / 'run'}" in printed


def test_list_names_suites_tasks_and_policies(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("robosuite", "toy", "random", "scripted", "replay"))
    assert main(["list", "robosuite"]) == 0
    assert "lift" in capsys.readouterr().out
