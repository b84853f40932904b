"""What the README says is what there is: every command of it is run, its files exist, its Python runs.

Commands are run as they stand, with settings added that make a run short. What a placeholder stands for is made first. Where a
benchmark's data are missing, what needs them is skipped.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from needs import need_assets, need_suite

from vlagym.eval import cli
from vlagym.eval.plan.config import split_suites

REPO = Path(__file__).parents[1]
README = (REPO / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted({(a or b).strip() for a, b in re.findall(r"`vla-eval ([^`]+)`|^vla-eval ([^&#\n]+)", README, re.M)})
# Take a checkpoint of another framework; run in tests/policies/rt1/test_convert.py and tests/policies/robovlms/test_opening.py.
COMMANDS.remove("convert rt1 SAVED_MODEL OUT")
COMMANDS.remove("convert robovlms FILE.pt OUT")
# Goes on until it is stopped; run in tests/eval/cli/test_serve.py.
COMMANDS.remove("serve policy=openvla_oft suite=libero_goal port=8000 protocol=openpi")
SHORT_RUN = ["tasks=[0]", "episodes_per_task=1", "workers=1", "video=none"]
SHORT_BENCH = ["episodes=1", "chunks=[8]", "workers=[1]", "suite.horizon=8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which results/RUN, BASELINE and CURRENT are runs; the last two are long enough to tell a margin of 5 points."""
    folder = tmp_path_factory.mktemp("readme")
    assert cli.main(["policy=random", *SHORT_RUN, f"run_dir={folder / 'results' / 'RUN'}"]) == 0
    assert cli.main(["suite=toy", "policy=push", "suite.trials=50", "video=none", f"run_dir={folder / 'BASELINE'}"]) == 0
    shutil.copytree(folder / "BASELINE", folder / "CURRENT")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    arguments = shlex.split(command)
    skip_without_data(arguments)
    if arguments[0] == "gate":
        arguments = ["policy=push" if argument.startswith("policy=") else argument for argument in arguments]
    elif arguments[0] == "bench":
        arguments += ["calls=1", "warm_up=0"] if arguments[1].startswith("policy=") else SHORT_BENCH
    elif "=" in arguments[0] and not arguments[0].startswith("resume="):
        arguments += SHORT_RUN
    assert exit_code(arguments) == 0


def exit_code(arguments: list[str]) -> int | str | None:
    try:
        return cli.main(arguments)
    except SystemExit as end:  # argparse's, after --help
        return end.code


def skip_without_data(arguments: list[str]) -> None:
    suites = split_suites(arguments)[0] if any(a.startswith("suite=") for a in arguments) else []
    if arguments[0] == "doctor":
        suites = arguments[1:] or ["libero_goal", "calvin_d", "simpler_widowx"]
    for suite in suites:
        need_suite(suite)
    for archive in arguments[2:] if arguments[:2] == ["assets", "fetch"] else []:
        need_assets(archive)


def test_every_file_named_exists() -> None:
    for name in re.findall(r"\b((?:tests|conf|eval|envs|policies|docs|examples)/[\w./-]*)", README):
        assert (REPO / name).exists(), name


def test_the_python_example_runs() -> None:
    code = re.search(r"^```python\n(.*?)^```", README, re.S | re.M)
    assert code is not None
    names: dict[str, object] = {}
    exec(code.group(1), names)
    assert names["observation"]["images"]["primary"].shape == (256, 256, 3)  # type: ignore[index]
    names["env"].close()  # type: ignore[attr-defined]
