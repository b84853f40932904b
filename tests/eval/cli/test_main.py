"""The command line itself: exit codes, messages, and that help costs nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from omegaconf import OmegaConf

from vlagym import __version__
from vlagym.eval.cli import main
from vlagym.eval.cli.arguments import as_settings
from vlagym.eval.plan.config import RunConfig, load_config

FIRST_STAGE = "reading the settings ...\n"  # said at once, before anything can be found wrong


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
    assert captured.out in ("", FIRST_STAGE)


def test_a_run_prints_its_table_and_where_things_are(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["suite=toy", "policy=push", "episodes_per_task=1", f"run_dir={tmp_path / 'run'}"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("reading the settings ...\n")
    assert "push on toy: " in printed
    assert "[2/2] toy/" in printed
    assert "100.0 %" in printed
    assert f"results: {tmp_path / 'run'}" in printed


def test_list_names_suites_tasks_and_policies(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("robosuite", "toy", "random", "scripted", "replay"))
    assert main(["list", "robosuite"]) == 0
    assert "lift" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["libero_goal"], "'libero_goal' is a suite: did you mean suite=libero_goal?"),
        (["openvla", "suite=libero_goal"], "'openvla' is a policy: did you mean policy=openvla?"),
        (["reprot", "run"], "'reprot' is neither a command nor a setting.*Did you mean 'report'"),
        (["hydra/launcher=joblib"], "hydra/launcher=joblib: the runs of a sweep are not given to Hydra's launchers but run"),
        (["hydra.run.dir=x"], "hydra.run.dir is a setting of Hydra's launcher and means nothing here: run_dir=FOLDER"),
        (["-m", "suite=robosuite"], "a sweep needs a setting with several values"),
        (["--config-dir", "mine"], "mine is no folder, so it holds no settings"),
        (["--config-path", "mine"], "--config-path is Hydra's and not taken here.*--config-dir FOLDER"),
        (["--cfg", "hydra"], "--cfg job prints the settings"),
        (["list", "libero_gaol"], "unknown suite or policy 'libero_gaol'. Did you mean 'libero_goal'"),
        (["table", "--formt", "csv", "x"], "unrecognized arguments: --formt. Did you mean '--format'"),
        (["compare", "a", "b", "allow_incomplete=yes"], "allow_incomplete must be true or false"),
        (["assets", "fetch", "libero", "source=nowhere"], "argument --source: invalid choice: 'nowhere'"),
        (["power", "drop=5", "rate=eighty"], "argument --rate: must be a number.*got 'eighty'"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_with_what_was_probably_meant(
    typed: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(typed) == 2
    output, error = capsys.readouterr()
    assert re.search(said, error), error
    assert output in ("", FIRST_STAGE)
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir()), "nothing is run"


def test_the_settings_of_a_run_are_shown_and_nothing_is_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    typed = ["suite=libero_goal", "policy=openvla", f"run_dir={tmp_path / 'run'}", "seeds=[0,1]"]
    assert main(["show", *typed]) == 0
    shown = capsys.readouterr().out
    assert main([*typed, "--cfg", "job"]) == 0
    assert capsys.readouterr().out == shown
    config = RunConfig.from_json(cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.create(shown))))
    assert config == load_config(typed)
    assert config.legs[0].policy["unnorm_key"] == "libero_goal", "the recipe is in it"
    assert not list(tmp_path.iterdir())


def test_help_with_a_suite_and_a_policy_says_what_they_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suite=libero_goal", "policy=openvla", "--help"]) == 0
    said = capsys.readouterr().out
    assert "  suite.horizon=300  # policy steps" in said
    assert "  suite.settle_steps=10  # steps with the gripper open" in said
    assert "  policy.dtype=null  # float32 | bfloat16 | float16" in said


def test_commands_take_settings_in_either_style(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "--rate", "80", "--drop", "5"]) == 0
    dashes = capsys.readouterr().out
    assert main(["power", "rate=80", "drop=5"]) == 0
    assert capsys.readouterr().out == dashes
    assert as_settings(["--margin", "5", "--fail-on-task", "baseline=run", "--looks=3"], ("margin", "fail_on_task", "looks")) == [
        "margin=5",
        "fail_on_task=true",
        "baseline=run",
        "looks=3",
    ]


def test_list_takes_plurals_sets_and_policies_and_cuts_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "suites", "--json"]) == 0
    suites = json.loads(capsys.readouterr().out)["suites"]
    assert {"suite": "robosuite", "tasks": 5, "episodes": 15}.items() <= next(
        s for s in suites if s["suite"] == "robosuite"
    ).items()
    assert main(["list", "libero_all"]) == 0
    assert "LIVING_ROOM_SCENE5_put_the_white_mug_on_the_left_plate_and_put_the_yellow_and_white_mug_on_the_right_plate" in (
        capsys.readouterr().out
    )
    assert main(["list", "openvla"]) == 0
    assert "libero_goal" in capsys.readouterr().out


def test_the_last_run_is_found_as_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["suite=toy", "policy=random", "episodes_per_task=1", "video=none", "workers=1"]) == 0
        folder = re.search(r"results: (\S+)", capsys.readouterr().out)
        assert folder is not None
        assert (tmp_path / "results" / "latest").resolve() == (tmp_path / folder[1]).resolve()
    assert main(["table", "results/latest"]) == 0


def test_a_share_is_the_same_in_per_cent_and_as_a_fraction(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "drop=5", "rate=0.8", "power=0.9"]) == 0
    fraction = capsys.readouterr().out
    assert "from 80 % with 90 % power" in fraction
    assert main(["power", "--drop", "5", "--rate", "80", "--power", "90"]) == 0
    assert capsys.readouterr().out == fraction
