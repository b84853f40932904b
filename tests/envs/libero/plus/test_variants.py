"""The variants are upstream's: names, categories, levels, tasks, sentences, cameras, arms, and scenes of upstream's own archive."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from needs import need_assets

from vlagym.conf import suite_settings
from vlagym.envs.assets import fetch
from vlagym.envs.libero.bddl import check_problem, read_language
from vlagym.envs.libero.plus.arm import arm_poses
from vlagym.envs.libero.plus.camera import LIBERO_CAMERAS, CameraTurn, turned
from vlagym.envs.libero.plus.scenery import Scenery, scenery
from vlagym.envs.libero.plus.suite import LiberoPlusSuite
from vlagym.envs.libero.plus.variants import CATEGORIES, COUNTS, OFFICIAL_COUNTS, ZIP_CATEGORIES, ZIP_COUNTS, variants
from vlagym.envs.registry import make_suite
from vlagym.envs.spec import Task
from vlagym.envs.suite import protocol_sha256
from vlagym.errors import AssetError, ConfigError
from vlagym.eval.plan.plan import plan_episodes

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10")


def plus(base: str, **settings: object) -> LiberoPlusSuite:
    suite = make_suite({**suite_settings(base.replace("libero", "libero_plus")), **settings})
    assert isinstance(suite, LiberoPlusSuite)
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
            for trial, variant in enumerate(variants(base)[task.name][: task.trials]):
                prompts = [sentence(suite, task, trial) for suite in (upstream, clean)]
                found.append([variant.number, variant.name, variant.category, variant.level, task.name, *prompts])
        # Upstream gives no level to 0 tasks of these.
        assert sorted(found) == sorted([*entry[:3], entry[3] or 0, *entry[4:]] for entry in listed[base])


def test_all_10_030_names_categories_levels_and_tasks_are_upstreams() -> None:
    listed = json.loads((need_assets("libero_plus") / "benchmark" / "task_classification.json").read_text(encoding="utf-8"))
    assert sum(len(listed[base]) for base in SUITES) == 10_030
    ours = {**CATEGORIES, **ZIP_CATEGORIES}
    for base in SUITES:
        found = [(v.number, v.name, v.category, v.level) for of_task in variants(base).values() for v in of_task]
        assert sorted(found) == [
            (entry["id"], entry["name"], ours[entry["category"]], entry["difficulty_level"] or 0) for entry in listed[base]
        ]
        assert all(v.name.startswith(f"{task}_") for task, of_task in variants(base).items() for v in of_task)
    from_zip = Counter((v.category, v.level == 0) for base in SUITES for vs in variants(base).values() for v in vs if v.from_zip)
    # Of upstream's variants 121 have no level, all of them lights.
    assert from_zip == {("light", False): 1_021, ("light", True): 121, ("background", False): 1_076, ("layout", False): 829}


def test_every_variant_of_the_archive_has_its_scene_and_comes_after_all_others() -> None:
    need_assets("libero_plus")
    rooms = {"tabletop": "tabletop", "floor": "floor", "kitchen": "kitchen", "liv": "living_room", "study": "study"}
    scenes = Counter()
    for base in SUITES:
        for number, (task, of_task) in enumerate(variants(base).items()):
            assert [bool(v.from_zip) for v in of_task] == [False] * COUNTS[base][number] + [True] * ZIP_COUNTS[base][number]
            for v in of_task[COUNTS[base][number] :]:
                kind = v.from_zip.partition("_")[0]
                found = scenery(base, task, v.from_zip)
                if kind == "add":
                    assert found == Scenery()
                    continue
                room = Path(found.scene).name.removeprefix("libero_").partition("_")[0]
                assert base != "libero_10" or task.lower().startswith(rooms[room]), "the room of the task's own scene"
                assert found.scene.startswith("scenes/lights/") == (kind == "light")
                assert found.floor.endswith(".png") and found.wall.endswith(".png")
                scenes[kind] += 1
    assert scenes == {"light": 1_142, "table": 613, "tb": 463}
    # As upstream's BDDL files and classes have it.
    bowl = "pick_up_the_black_bowl_between_the_plate_and_the_ramekin_and_place_it_on_the_plate"
    assert scenery("libero_spatial", bowl, "tb_18") == Scenery(
        "scenes/tabletop_table_Bricks02_NRM_6K.xml", "light-gray-floor-tile.png", "ceramic.png"
    )


def sentence(suite: LiberoPlusSuite, task: Task, trial: int) -> str:
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


def test_what_needs_the_archive_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = plus("libero_spatial", categories=["camera", "light"])
    with pytest.raises(ConfigError, match=r"variants of 'light' .* need upstream's assets\.zip: .*assets\.libero_plus_zip=PATH"):
        suite.tasks()
    assert suite.coverage == (1_644, 2_402)
    assert suite.whole_coverage == (6_983, 10_030)


def test_with_the_archive_everything_can_be_run_and_no_trial_has_another_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_assets("libero_plus")
    without = {base: plus(base) for base in SUITES}
    trials = {base: {task.name: task.trials for task in suite.tasks()} for base, suite in without.items()}
    hashes = {base: protocol_sha256(suite.protocol()) for base, suite in without.items()}
    monkeypatch.setenv("VLAGYM_ASSETS_LIBERO_PLUS_ZIP", str(tmp_path))
    added = {}
    for base in SUITES:
        suite = plus(base)
        assert suite.coverage == (OFFICIAL_COUNTS[base], OFFICIAL_COUNTS[base])
        assert suite.whole_coverage == (10_030, 10_030)
        assert len(plan_episodes([suite])) == OFFICIAL_COUNTS[base]
        assert protocol_sha256(suite.protocol()) == hashes[base]
        lights = plan_episodes([replace(suite, categories=("light",))])
        assert {suite.variant(spec.task, spec.trial).category for spec in lights} == {"light"}
        assert all(spec.trial >= trials[base][spec.task] for spec in lights)
        hard = plan_episodes([replace(suite, categories=("light",), difficulty=(5,))])
        assert {suite.variant(spec.task, spec.trial).level for spec in hard} == {5}
        added[base] = sum(
            "add_" in suite.variant(s.task, s.trial).name for s in plan_episodes([replace(suite, categories=("layout",))])
        )
    assert added == {"libero_spatial": 208, "libero_object": 208, "libero_goal": 240, "libero_10": 173}
    lights = plan_episodes([replace(suite, categories=("light",)) for suite in without.values()])
    assert len(lights) == 1_142  # those without a level too, where all levels are asked for


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
