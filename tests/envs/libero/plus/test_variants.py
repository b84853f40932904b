"""The variants are upstream's, all 6,983 that need only LIBERO's own meshes: names, levels, tasks, sentences, cameras, arms."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from needs import need_assets

from vlagym.conf import suite_settings
from vlagym.envs.assets import fetch
from vlagym.envs.libero.bddl import check_problem, read_language
from vlagym.envs.libero.plus.arm import arm_poses
from vlagym.envs.libero.plus.camera import LIBERO_CAMERAS, CameraTurn, turned
from vlagym.envs.libero.plus.settings import LiberoPlusSettings
from vlagym.envs.libero.plus.variants import variants
from vlagym.envs.registry import make_suite
from vlagym.envs.spec import Task
from vlagym.errors import AssetError, ConfigError
from vlagym.eval.plan.plan import plan_episodes

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10")


def plus(base: str, **settings: object) -> LiberoPlusSettings:
    suite = make_suite({**suite_settings(base.replace("libero", "libero_plus")), **settings})
    assert isinstance(suite, LiberoPlusSettings)
    return suite


@pytest.fixture(scope="module")
def recorded(golden: Path) -> Path:
    return golden / "perturbations" / "plus"


def test_names_levels_tasks_and_both_prompts_are_those_of_upstreams_list(recorded: Path) -> None:
    need_assets("libero_plus")
    listed = json.loads(gzip.decompress((recorded / "variants.json.gz").read_bytes()))["suites"]
    assert sum(map(len, listed.values())) == 6983
    for base in SUITES:
        upstream, clean = plus(base), plus(base, instruction="clean")
        found = []
        for task in upstream.tasks():
            for trial, variant in enumerate(variants(base)[task.name]):
                prompts = [sentence(suite, task, trial) for suite in (upstream, clean)]
                found.append([variant.number, variant.name, variant.category, variant.level, task.name, *prompts])
        # Upstream gives no level to 0 tasks of these.
        assert sorted(found) == sorted([*entry[:3], entry[3] or 0, *entry[4:]] for entry in listed[base])


def sentence(suite: LiberoPlusSettings, task: Task, trial: int) -> str:
    return suite._instruction(task, variants(suite.base_suite)[task.name][trial])


def test_every_recorded_camera_is_upstreams(recorded: Path) -> None:
    need_assets("libero_plus")
    content = json.loads((recorded / "cameras.json").read_text(encoding="utf-8"))
    turns = {(base, v.number): v.turn for base in SUITES for listed in variants(base).values() for v in listed}
    assert len(content["variants"]) == 800
    for base, number, problem, pos, quat in content["variants"]:
        assert turned(LIBERO_CAMERAS[problem], turns[base, number]) == (tuple(pos), tuple(quat))
    for problem, (pos, quat) in content["not_perturbed"].items():
        assert turned(LIBERO_CAMERAS[problem], CameraTurn()) == (tuple(pos), tuple(quat))


def test_every_recorded_arm_pose_is_upstreams(recorded: Path) -> None:
    poses = json.loads((recorded / "robot_poses.json").read_text(encoding="utf-8"))["poses"]
    assert len(poses) == 250
    assert all(list(arm_poses()[int(number) - 1]) == pose for number, pose in poses.items())


def test_first_trials_are_some_of_each_category() -> None:
    need_assets("libero_plus")
    suite = plus("libero_goal")
    for task in suite.tasks():
        assert {suite.variant(task.name, trial).category for trial in range(5)} == {
            "camera",
            "robot",
            "language",
            "noise",
            "layout",
        }


def test_categories_and_difficulty_choose_trials_and_change_no_number_of_one() -> None:
    need_assets("libero_plus")
    some = plus("libero_10", categories=["camera", "noise"], difficulty=[5])
    every = plus("libero_10")
    plan = plan_episodes([some])
    assert plan
    for spec in plan:
        variant = every.variant(spec.task, spec.trial)
        assert variant.category in ("camera", "noise")
        assert variant.level == 5
    assert len(plan) == sum(
        v.category in ("camera", "noise") and v.level == 5 for listed in variants("libero_10").values() for v in listed
    )
    assert some.protocol() == every.protocol()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"categories": ["camara"]}, "category of LIBERO-plus in suite.categories 'camara'. Did you mean 'camera'"),
        ({"categories": ["camera", "light"]}, "variants of 'light' (suite.categories) need upstream's assets.zip"),
        ({"categories": []}, "at least one category"),
        ({"difficulty": [6]}, "levels among"),
        ({"instruction": "cleaned"}, "suite.instruction must be one of upstream, clean; got 'cleaned'"),
        ({"revision": "eaf6577"}, "suite.revision"),
        ({"image_size": 128}, "256 pixels"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(settings: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        plus("libero_spatial", **settings)


def test_data_that_was_not_fetched_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLAGYM_ASSETS_DIR", str(tmp_path))
    with pytest.raises(AssetError, match="vla-eval assets fetch libero_plus"):
        plus("libero_spatial", difficulty=[1]).tasks()
    assert len(plus("libero_spatial").tasks()) == 10  # what can be run is known without


def test_a_mirror_without_the_archive_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mirror").mkdir()
    for name, value in (("DIR", tmp_path / "assets"), ("MIRROR", tmp_path / "mirror"), ("SOURCE", "mirror")):
        monkeypatch.setenv(f"VLAGYM_ASSETS_{name}", str(value))
    with pytest.raises(AssetError, match=r"mirror.* LIBERO-plus-4976dc3\w+\.tar\.gz") as error:
        fetch("libero_plus")
    assert "stands in" not in str(error.value)  # nothing could: the set has no stand-ins
    assert "\n" not in str(error.value)


def test_a_damaged_definition_is_named_with_its_remedy(tmp_path: Path) -> None:
    file = tmp_path / "task.bddl"
    whole = "(define (problem P)\n (:domain robosuite)\n ; a (comment\n (:language Put  the BOWL down)\n (:goal (And (On a b)))\n)"
    file.write_text(whole)
    check_problem(file, "Fetch it.")
    assert read_language(file, "Fetch it.") == "put the bowl down"
    for damaged in (whole[:-1], whole.replace("(:language", "(language"), whole.replace("(:goal", "(goal"), "\x00"):
        file.write_text(damaged)
        with pytest.raises(AssetError, match=r"task\.bddl is not a BDDL problem.* Fetch it\."):
            check_problem(file, "Fetch it.")
