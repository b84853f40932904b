"""A user's own settings in files (``--config-dir``), and those that installed packages offer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from toy_suite import ToySuite

from vlagym import evaluate
from vlagym.conf import group_names, in_force, whose
from vlagym.errors import ConfigError
from vlagym.eval.cli import main
from vlagym.eval.plan.config import load_config
from vlagym.eval.tables.folder import RunFolder

RECIPE = "# @package policy\n"
FILES = {
    "suite/near.yaml": "name: near\nbenchmark: toy\ngoal: 0.3  # closer than the toy's own\ntrials: 3\n",
    "suite/nearest.yaml": "defaults: [near, _self_]\nname: nearest\ngoal: 0.1\n",
    "policy/slow.yaml": "defaults: [random, _self_]\nchunk: 9\n",
    "recipe/slow-near.yaml": f"{RECIPE}chunk: 11\n",
    "variation/dusk.yaml": "noise: {sigma: 3}\n",
}
RUN = ["policy=push", "video=none", "workers=1"]


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write(tmp_path / "my 'own', [conf] ${x}", FILES)


def test_files_of_ones_own_are_chosen_like_vlagyms(own: Path) -> None:
    with in_force(own):
        config = load_config(["suite=[near,nearest]", "policy=slow", "suite.variation=[dusk,noisy]", "suite.trials=2"])
        assert whose("suite", "near") == str(own)
    near, nearest = config.legs
    assert (near.suite["goal"], near.suite["trials"]) == (0.3, 2)
    assert (nearest.suite["name"], nearest.suite["goal"], nearest.suite["benchmark"]) == ("nearest", 0.1, "toy")
    assert (near.policy["chunk"], nearest.policy["chunk"]) == (11, 9)
    # What a name of one's own stands for is in the record; vlagym's own names stay.
    assert near.suite["variation"] == [{"noise": {"sigma": 3}}, "noisy"]


def test_once_the_folder_is_no_longer_named_its_names_are_unknown(own: Path) -> None:
    with in_force(own):
        assert "near" in group_names("suite")
    assert "near" not in group_names("suite")
    with pytest.raises(ConfigError, match="unknown suite 'near'"):
        load_config(["suite=near"])


def drop_last_episode(run: Path) -> None:
    log = run / "episodes.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))


def test_a_run_is_resumed_without_its_folder_and_with_a_changed_one(own: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["--config-dir", str(own), "suite=near", *RUN, "suite.variation=dusk", f"run_dir={run}"]) == 0
    header, before = RunFolder(run).header(), RunFolder(run).results()
    assert header["legs"][0]["protocol"]["goal"] == 0.3
    drop_last_episode(run)
    write(own, {"suite/near.yaml": FILES["suite/near.yaml"].replace("0.3", "9.0"), "variation/dusk.yaml": "noise: {sigma: 99}\n"})
    assert main([f"resume={run}", f"config_dir={own}"]) == 0
    shutil.rmtree(own)
    assert main([f"resume={run}"]) == 0
    assert [(r.spec, r.success, r.steps) for r in RunFolder(run).results()] == [(r.spec, r.success, r.steps) for r in before]
    assert RunFolder(run).header()["legs"][0]["protocol_sha256"] == header["legs"][0]["protocol_sha256"]


def test_what_departs_from_a_suite_of_ones_own_is_said(own: Path, tmp_path: Path) -> None:
    run = evaluate(
        "push", "near", config_dir=own, overrides=["suite.goal=0.2"], video="none", workers=1, run_dir=str(tmp_path / "r")
    )
    assert run.header["legs"][0]["departures"]["settings"] == {"goal": [0.2, 0.3]}
    assert "VLAGYM_CONFIG_DIR" not in os.environ


def test_lists_say_whose_everything_is(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = {}
    for what in ("policies", "recipes", "variations"):
        assert main(["list", what, "--json", "--config-dir", str(own)]) == 0
        listed |= json.loads(capsys.readouterr().out)
    from_own = {kind: [next(iter(row.values())) for row in rows if row["from"] == str(own)] for kind, rows in listed.items()}
    assert from_own == {"policies": ["slow"], "recipes": ["slow-near"], "variations": ["dusk"]}
    assert next(row for row in listed["policies"] if row["policy"] == "slow")["recipes for"] == "near"
    assert {row["from"] for row in listed["variations"]} == {"vlagym", str(own)}


def test_help_says_what_a_file_of_ones_own_says(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suite=near", "--help", f"--config-dir={own}"]) == 0
    assert "suite.goal=0.3  # closer than the toy's own" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "is no folder"),
        ({"README": ""}, "holds no settings. A folder of settings holds policy/, recipe/, suite/, variation/"),
        ({"suites/a.yaml": ""}, "suites: there is no such group of settings. Did you mean 'suite'"),
        ({"a.yaml": "name: a"}, "a.yaml belongs to no group"),
        ({"suite/a.yml": "name: a"}, "call it a.yaml"),
        ({"suite/more/a.yaml": "name: a"}, "more is a folder, and nothing would read what is in it"),
        ({"suite/a b.yaml": "name: a"}, "suite=a b could not be typed"),
        ({"suite/a.yaml": "name: ["}, "a.yaml is not a file of settings (suite=NAME) that can be read: not YAML"),
        ({"suite/a.yaml": "- a"}, "it is no mapping"),
        ({"suite/libero_goal.yaml": "name: libero_goal"}, "there is a suite 'libero_goal' already, in"),
        ({"suite/_libero.yaml": "name: a"}, "there is a suite '_libero' already"),
        ({"policy/openvla.yaml": "name: openvla"}, "begin it with `defaults: [openvla, _self_]` to change a part"),
        ({"variation/dim.yaml": "noise: {sigma: 3}"}, "there is a variation 'dim' already"),
        ({"recipe/openvla-libero_goal.yaml": RECIPE + "a: 1"}, "there is a recipe 'openvla-libero_goal' already"),
        ({"suite/toy.yaml": "name: toy"}, "there is a suite 'toy' already, from toy_suite:ToySuite"),
        ({"policy/push.yaml": "name: push"}, "there is a policy 'push' already, from toy_suite:PushPolicy"),
        ({"recipe/a-b.yaml": "chunk: 2"}, "a recipe begins with the line `# @package policy`"),
        ({"recipe/a-b.yaml": f"# two\n{RECIPE}chunk: 2"}, "a recipe begins with the line"),
        ({"suite/a.yaml": "# @package _global_\nname: a"}, "`# @package _global_` cannot be said here"),
    ],
)
def test_a_folder_that_would_not_mean_what_it_seems_to_is_refused(
    files: dict[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "--config-dir", str(write(tmp_path / "own", files))]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("overrides", "changes", "said"),
    [
        (["suite=near"], {"suite/near.yaml": "name: far\nbenchmark: toy\n"}, "must say `name: near`"),
        (["suite=near"], {"suite/near.yaml": "name: near\nbenchmark: toy\ngaol: 1\n"}, "near.yaml: unknown setting suite.gaol"),
        (["suite=near"], {"suite/near.yaml": "defaults: [nothing, _self_]\nname: near\n"}, "nothing"),
        (["suite=near", "policy=slow"], {"recipe/slow-near.yaml": f"{RECIPE}chunck: 1\n"}, "unknown setting policy.chunck"),
        (["suite=neer"], {}, "Did you mean 'near'"),
        (["policy=slwo"], {}, "Did you mean 'slow'"),
        (["suite=near", "suite.variation=dsk"], {}, "unknown variation 'dsk'"),
        (["suite=near", "suite.variation=dusk"], {"variation/dusk.yaml": "nois: {sigma: 3}\n"}, "Did you mean 'noise'"),
        (["suite=robosuite", "policy=my_small"], {"policy/my_small.yaml": "defaults: [small, _self_]\n"}, "recipe=small-robosuite"),
    ],
)
def test_a_mistake_in_a_file_is_one_sentence(
    overrides: list[str], changes: dict[str, str], said: str, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(own, changes)
    assert main([*overrides, f"run_dir={tmp_path / 'run'}", "--config-dir", str(own)]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("given", [["--config-dir"], ["--config-dir="], ["--config-dir", "--help"], ["--config-dir=a", "-cd", "b"]])
def test_the_option_takes_one_folder(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(given) == 2
    assert "--config-dir" in capsys.readouterr().err


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with a suite and its file, a second suite, a recipe and a variation; never imported."""
    info = write(
        tmp_path / "site",
        {
            "their_package/__init__.py": "raise RuntimeError('imported')",
            "their_package/conf/suite/theirs.yaml": "name: theirs\nbenchmark: theirs\ngoal: 0.4\n",
            "their_package/conf/suite/their_other.yaml": "defaults: [theirs, _self_]\nname: their_other\ngoal: 2.0\n",
            "their_package/conf/recipe/slow-robosuite.yaml": f"{RECIPE}chunk: 3\n",
            "their_package/conf/variation/their_fog.yaml": "blur: {share: 0.1}\n",
            "theirs-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: theirs\nVersion: 1\n",
            "theirs-1.dist-info/entry_points.txt": (
                "[vlagym.conf]\ntheirs = their_package.conf\n[vlagym.suites]\ntheirs = toy_suite:ToySuite\n"
            ),
        },
    )
    monkeypatch.syspath_prepend(str(info))
    return info / "their_package" / "conf"


def test_a_package_offers_files_of_settings(package: Path) -> None:
    config = load_config(["suite=[theirs,their_other]", "policy=push", "suite.variation=their_fog"])
    assert [leg.suite["goal"] for leg in config.legs] == [0.4, 2.0]
    assert config.legs[0].suite["variation"] == [{"blur": {"share": 0.1}}]
    assert whose("recipe", "slow-robosuite") == "their_package.conf"


def test_a_package_that_takes_a_name_of_vlagyms_is_refused(package: Path) -> None:
    write(package, {"suite/robosuite.yaml": "name: robosuite\n"})
    with pytest.raises(ConfigError, match=r"their_package/conf/suite/robosuite.yaml: there is a suite 'robosuite' already"):
        load_config([])


def test_suites_of_packages_are_made_by_gymnasium(package: Path) -> None:
    """In a process of its own, which has not registered anything yet."""
    code = (
        "import gymnasium\n"
        "for name, goal in ('theirs', 0.4), ('their_other', 2.0), ('toy', 1.0):\n"
        "    env = gymnasium.make(f'vlagym.envs:vlagym/{name}-v0')\n"
        "    observation, info = env.reset(seed=0, options={'task': 'push_far', 'trial': 1})\n"
        "    print(name, env.unwrapped.suite.goal == goal, info['task'], observation['images']['primary'].shape)\n"
    )
    path = os.pathsep.join([str(package.parents[1]), str(Path(__file__).parents[1] / "helpers"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{name} True push_far (96, 128, 3)" for name in ("theirs", "their_other", "toy")]


def test_the_toys_own_defaults_are_a_suite() -> None:
    from vlagym.envs.registry import default_suite

    assert default_suite("toy") == ToySuite()


@pytest.mark.slow
def test_a_policys_file_may_name_code(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is recorded by its hash, and asked for again when the run is resumed, like one that was typed."""
    code = write(tmp_path, {"mine.py": "def push(observation, speed):\n    return [speed, -1]\n"}) / "mine.py"
    write(own, {"policy/mine.yaml": f"name: push_on\ncode: {code}:push\nspeed: 0.5\n"})
    run, rest = tmp_path / "run", ["video=none", "workers=1", "--config-dir", str(own)]
    assert main(["suite=near", "policy=mine", f"run_dir={run}", *rest]) == 0
    assert "code_sha256" in RunFolder(run).header()["legs"][0]["policy_provenance"]
    assert main([f"resume={run}"]) == 2
    assert f"allow_code=[{code}:push]" in capsys.readouterr().err
