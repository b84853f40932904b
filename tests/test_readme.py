"""What the README and the site say is what there is: commands are run, files exist, Python runs.

Commands are run as they stand, with settings added that make a run short. What a placeholder stands for is made first. Where a
benchmark's data are missing, what needs them is skipped. What is too long to run here is parsed (tests/test_pages.py).
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from needs import need_assets, need_suite
from pages import PAGES, REPO, blocks_of, commands_of, named, text_of, write_files

import vlagym
from vlagym.eval import cli
from vlagym.eval.cli.config_dir import with_config_dir
from vlagym.eval.plan.config import split_suites

# Those that need no checkpoint, no server and no page's own runs.
RUN = (
    "README",
    "quickstart",
    "running",
    "comparing",
    "publishing",
    "libero",
    "calvin",
    "simpler",
    "robosuite",
    "simple",
    "small",
    "index",
)
RUN += ("adding-a-policy",)
# What they are of is in no folder here, or they write or install packages: parsed only.
WANT_RUNS = ("compare SWEEP", "export results/DEMOS", "import ", "install", "new ", "table RUN RUN")
FREE_POLICIES = {"random", "scripted", "replay", "small"}


def is_run(command: str) -> bool:
    """Whether a command is run here: one of a checkpoint that has to be downloaded is not, nor one that goes on until stopped."""
    policies = {argument.removeprefix("policy=") for argument in shlex.split(command) if argument.startswith("policy=")}
    if command.startswith(("serve", "convert", "doctor ")):  # `doctor` alone looks at one suite of every benchmark
        return False
    if command in ("sweep", "--multirun") or command.startswith(WANT_RUNS):
        return False
    return command.startswith(("gate", "bench")) or all(policy in FREE_POLICIES or ".py:" in policy for policy in policies)


COMMANDS = sorted({command for page in PAGES if page.stem in RUN for command in commands_of(page) if is_run(command)})
# Minutes each; what they do is tested piece by piece beside the code.
SLOW = (
    "bench policy=openvla",
    "bench suite=libero_spatial",
    "doctor",
    "policy=my_function.py:still",
    "policy=small",
    "render results/RUN --episodes",
    "suite=[libero_goal,robosuite]",
    "suite=libero_all",
    "suite=libero_goal policy=random episodes_per_task",
    "suite=robosuite suite.trials=50 policy=small",
    "sweep policy=random seeds=0,1",
)
MARKED = [pytest.param(command, marks=pytest.mark.slow) if command.startswith(SLOW) else command for command in COMMANDS]
SHORT_RUN = ["tasks=[0]", "episodes_per_task=1", "workers=1", "video=none"]
SHORT_BENCH = ["episodes=1", "chunks=[8]", "workers=[1]", "suite.horizon=8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs results/RUN, BASELINE, CURRENT and ANOTHER; the last three can tell a margin of 5 points."""
    folder = tmp_path_factory.mktemp("readme")
    write_files(folder)
    assert cli.main(["policy=random", *SHORT_RUN, "suite.image_size=64", f"run_dir={folder / 'results' / 'RUN'}"]) == 0
    assert cli.main(["suite=toy", "policy=push", "suite.trials=50", "video=none", f"run_dir={folder / 'BASELINE'}"]) == 0
    for copy in ("CURRENT", "ANOTHER"):
        shutil.copytree(folder / "BASELINE", folder / copy)
    return folder


@pytest.mark.parametrize("command", MARKED)
def test_a_command_runs(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    given = shlex.split(command)
    with with_config_dir(given) as arguments:
        skip_without_data(arguments)
        short = shortened(arguments)
    if arguments[0] == "gate":
        given = ["policy=push" if argument.startswith("policy=") else argument for argument in given]
    assert exit_code([*given, *short]) == 0


def shortened(arguments: list[str]) -> list[str]:
    """Settings that make what a command does short."""
    if arguments[0] == "bench":
        return ["calls=1", "warm_up=0"] if arguments[1].startswith("policy=") else SHORT_BENCH
    if arguments[0] in ("sweep", "--multirun", "-m"):
        return SHORT_RUN[1:]
    if "=" not in arguments[0] or arguments[0].startswith("resume="):
        return []
    suites, _ = split_suites(arguments)
    if all(suite.startswith("libero") for suite in suites):
        return [*SHORT_RUN, "suite.horizon=20"]
    return [*SHORT_RUN, *(["suite.image_size=64"] if suites == ["robosuite"] and "policy=small" not in arguments else [])]


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
    for archive in arguments[2:] if arguments[:2] in (["assets", "fetch"], ["assets", "verify"]) else []:
        need_assets(archive)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_file_named_exists(page: Path) -> None:
    pattern = r"(?<![\w/])((?:tests|conf|eval|envs|policies|docs|examples)/[\w./-]*)"
    # Links are looked at in tests/test_pages.py; a name in capitals stands for another.
    text = re.sub(r"\]\([^)]*\)", "]", text_of(page))
    missing = [name for name in re.findall(pattern, text) if "NAME" not in name and not (REPO / name).exists()]
    assert not missing


def test_both_quick_starts_are_one() -> None:
    page = next(page for page in PAGES if page.stem == "quickstart")
    assert blocks_of(page, "bash") == blocks_of(REPO / "README.md", "bash")
    assert len(blocks_of(page, "bash")) == 2


# The example of a server of one's own runs in tests/policies/serving/test_ones_own.py.
LONG_EXAMPLES = ("adding-a-benchmark", "python")  # half a minute each; what they use is tested beside the code
PYTHON = [(page, blocks_of(page, "python")) for page in PAGES if page.stem != "serving" and blocks_of(page, "python")]


@pytest.mark.parametrize(("page", "blocks"), PYTHON, ids=[named(page) for page, _ in PYTHON])
def test_python_examples_are_python(page: Path, blocks: list[str]) -> None:
    for code in blocks:
        compile(code, str(page), "exec")


@pytest.mark.parametrize(
    ("page", "blocks"),
    [pytest.param(*one, id=named(one[0]), marks=[pytest.mark.slow] if one[0].stem in LONG_EXAMPLES else []) for one in PYTHON],
)
def test_python_examples_run(page: Path, blocks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, as scripts in one folder."""
    monkeypatch.chdir(tmp_path)
    for code in blocks:
        names: dict[str, object] = {"__name__": "__main__"}
        exec(code, names)
        if "env" in names:
            assert names["observation"]["images"]["primary"].shape == (256, 256, 3)  # type: ignore[index]
            names["env"].close()  # type: ignore[attr-defined]
    vlagym.close_workers()
