"""Scenes, textures and objects of upstream's assets.zip come up where a variant asks for them, in one process with plain LIBERO."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from perturbation_recordings import assert_as_recorded, load_recording, make_env, need_data, play
from stock_libero import PLATE_TASK
from upstream_assets import WITH_MESH, colour_of, light_of, write_assets

from vlagym.conf import suite_settings
from vlagym.envs.assets import locate
from vlagym.envs.libero.plus.scenery import ADDED_OBJECTS, Scenery, scenery
from vlagym.envs.libero.plus.variants import ZIP_CATEGORIES, variants
from vlagym.envs.libero.tasks import TaskFiles
from vlagym.envs.registry import make_suite
from vlagym.errors import AssetError
from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import evaluate
from vlagym.eval.tables.runs import load_run

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10")
# In the form of upstream's BASE_add_K.bddl: two objects of new kinds in regions of their own.
REGIONS = """(:regions
    (add_object_region_0 (:target main_table) (:ranges ((0.2499995 -0.1500005 0.2500005 -0.1499995)))
      (:yaw_rotation ((0.0 0.0))))
    (add_object_region_1 (:target main_table) (:ranges ((-0.2000005 -0.2000005 -0.1999995 -0.1999995)))
      (:yaw_rotation ((0.0 0.0))))"""
OBJECTS = "(:objects can_of_soda__1_1 - can_of_soda__1 bottle_of_aspirin_1 - bottle_of_aspirin"
INIT = """(:init (On can_of_soda__1_1 main_table_add_object_region_0)
    (On bottle_of_aspirin_1 main_table_add_object_region_1)"""
ADDED = PLATE_TASK.replace("(:regions", REGIONS).replace("(:objects", OBJECTS).replace("(:init", INIT)
BOTH = Scenery("scenes/lights/tabletop_light_sync_modified_7.xml", "light-gray-floor-tile.png", "Bricks02_COL_VAR1_6K.png")


KINDS = ("light", "table", "tb")
ZIP = tuple(ZIP_CATEGORIES.values())


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the setting names."""
    need_data("libero_plus_spatial", "libero_plus")
    monkeypatch.setenv("VLAGYM_ASSETS_LIBERO_PLUS_ZIP", str(tmp_path))
    return tmp_path / "assets"


def colour(model: Any, texture: str) -> np.ndarray:
    """The mean colour of a texture of a compiled model."""
    mean: np.ndarray = model.texture(texture).data.reshape(-1, 3).mean(0)
    return mean


def test_lights_walls_and_added_objects_are_the_archives_whatever_was_built_before(named: Path, tmp_path: Path) -> None:
    """The textures of both scenes are read from the same paths, so that MuJoCo keeps one of them."""
    others = BOTH._replace(wall="CliffDesert006_AO_HIRES.png")
    write_assets(locate("libero").path, named, [BOTH, others])
    (tmp_path / "task.bddl").write_text(ADDED)
    suite = make_suite(suite_settings("libero_plus_spatial"))
    env = suite.make_env(())
    try:
        before = env._world_of(TaskFiles(tmp_path / "task.bddl", None), others).engine
        assert np.abs(colour(before.model, "tex-wall") - colour_of(others.wall)).max() < 4
        engine = env._world_of(TaskFiles(tmp_path / "task.bddl", None), BOTH).engine
        model = engine.model
        assert model.light("light1").pos.tolist() == list(light_of(BOTH.scene))
        assert model.light("light2").pos.tolist() == [-3, -3, 4]
        assert np.abs(colour(model, "tex-wall") - colour_of(BOTH.wall)).max() < 4
        assert model.mesh(f"{WITH_MESH}_1_body").vertnum.tolist() == [4]
        engine.reset(np.random.RandomState(0))
        for kind, number, place in (("can_of_soda__1", 1, (0.25, -0.15)), (WITH_MESH, 1, (-0.2, -0.2))):
            assert np.abs(colour(model, f"{kind}_{number}_skin") - colour_of(kind)).max() < 1
            body = engine.data.body(f"{kind}_{number}_main")
            assert body.xpos[:2] == pytest.approx(place, abs=0.06)  # LIBERO draws within its horizontal radius
            # What upstream's turns about x, y and z come to.
            assert np.abs(body.xquat) == pytest.approx([np.sqrt(0.5), 0, 0, np.sqrt(0.5)], abs=1e-6)
    finally:
        env.close()


def test_an_object_whose_file_defines_none_is_named(named: Path, tmp_path: Path) -> None:
    write_assets(locate("libero").path, named, [BOTH])
    (named / ADDED_OBJECTS[WITH_MESH]).write_text("<mujoco><worldbody/></mujoco>")
    (tmp_path / "task.bddl").write_text(ADDED)
    env = make_suite(suite_settings("libero_plus_spatial")).make_env(())
    with pytest.raises(AssetError, match=r"psvktc\.xml defines no body named 'object'\. Download assets\.zip"):
        env._world_of(TaskFiles(tmp_path / "task.bddl", None), Scenery())


def one_of_each(base: str) -> dict[str, tuple[str, int]]:
    """Kind of change and room -> a task and its trial."""
    found = {}
    for task, of_task in variants(base).items():
        for trial, v in enumerate(of_task):
            kind = v.from_zip.partition("_")[0]
            if kind in KINDS:
                found.setdefault(f"{kind} {task.split('_SCENE')[0] if task[0].isupper() else ''}", (task, trial))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("base", SUITES)
def test_every_kind_and_room_shows_its_scene_and_leaves_the_plain_one_alone(base: str, named: Path) -> None:
    suite = make_suite(suite_settings(base.replace("libero", "libero_plus")))
    chosen = one_of_each(base)
    sceneries = {key: scenery(base, task, variants(base)[task][trial].from_zip) for key, (task, trial) in chosen.items()}
    write_assets(locate("libero").path, named, sceneries.values())
    env = make_env(suite.name)
    try:
        for key, (task, trial) in chosen.items():
            env.reset(options={"task": task, "trial": 0})
            plain = env.render("primary")
            found = sceneries[key]
            env.reset(options={"task": task, "trial": trial})
            model = env._world.engine.model
            light = model.light("light1").pos.tolist()
            assert (light == list(light_of(found.scene))) == key.startswith("light"), key
            assert (env.render("primary") != plain).any(-1).mean() > 0.1, key
            env.reset(options={"task": task, "trial": 0})
            assert np.array_equal(env.render("primary"), plain), key
    finally:
        env.close()


@pytest.mark.slow
def test_a_recorded_variant_stays_upstreams_after_one_of_the_archive(named: Path) -> None:
    recording = load_recording("plus", "camera_3")
    base = recording.meta["suite"]
    task, trial = next(
        (task, trial)
        for task, listed in variants(base).items()
        for trial, v in enumerate(listed)
        if v.number == recording.meta["id"]
    )
    light = next(trial for trial, v in enumerate(variants(base)[task]) if v.from_zip.startswith("light_"))
    write_assets(locate("libero").path, named, [scenery(base, task, variants(base)[task][light].from_zip)])
    env = make_env(base.replace("libero", "libero_plus"))
    try:
        env.reset(options={"task": task, "trial": light})
        assert_as_recorded(play(env, task, trial, recording, 2), recording)
    finally:
        env.close()


@pytest.mark.slow
def test_a_run_records_what_it_took_from_the_archive_and_covers_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_data("libero_plus_spatial", "libero_plus")
    base, task = "libero_spatial", "pick_up_the_black_bowl_on_the_ramekin_and_place_it_on_the_plate"
    every = [scenery(base, name, v.from_zip) for name, of_task in variants(base).items() for v in of_task if v.category in ZIP]
    write_assets(locate("libero").path, tmp_path / "all" / "assets", every, kinds=())
    trials = [next(trial for trial, v in enumerate(variants(base)[task]) if v.category == category) for category in ZIP]
    settings = [
        "suite=libero_plus_spatial",
        f"suite.categories=[{','.join(ZIP)}]",
        "suite.horizon=4",
        "policy=random",
        "policy.chunk=4",
        f"tasks=[{task}]",
        f"trials={trials}",
        "video=none",
        "workers=1",
        f"assets.libero_plus_zip={tmp_path / 'all'}",
    ]
    outcome = evaluate(load_config([*settings, f"run_dir={tmp_path / 'run'}"]))
    assert outcome.complete
    run = load_run(outcome.folder)
    assert {variant.category for variant in run.variants.values()} == set(ZIP)
    (leg,) = run.header["legs"]
    record = leg["suite_provenance"]["libero_plus_zip"]
    assert record["files"] > 300
    assert any("covers 2,402 of 2,402 variants, LIBERO-plus as a whole 10,030 of 10,030" in notice for notice in leg["notices"])
    assert set(run.categories()["coverage"]) == {"2,402 of 2,402 variants"}
    # A file that is not used changes nothing; one that is missing is named before anything is run.
    assets = tmp_path / "all" / "assets"
    (assets / "textures" / "unused.png").write_bytes(b"x")
    monkeypatch.setenv("VLAGYM_ASSETS_LIBERO_PLUS_ZIP", str(tmp_path / "all"))
    suite = make_suite({**suite_settings("libero_plus_spatial"), "categories": list(ZIP)})
    assert suite.provenance()["libero_plus_zip"] == record
    (assets / every[-1].scene).unlink()
    with pytest.raises(AssetError, match=f"{every[-1].scene} is not among them"):
        suite.check_ready()


def test_upstreams_textures_are_read_from_paths_that_are_used_again_but_not_at_the_same_time(named: Path) -> None:
    """MuJoCo knows a texture by path and time, and keeps all that it knows."""
    from vlagym.envs.libero.plus.building import scene_arguments

    scenes = [Scenery(f"scenes/tabletop_table_{name}.xml", "light-gray-floor-tile.png", f"{name}.png") for name in "AB"]
    write_assets(locate("libero").path, named, scenes, kinds=())
    seen = []
    for scene in scenes:
        with scene_arguments(scene) as arguments:
            xml = Path(arguments["scene_xml"])
            files = {
                node.get("name"): Path(node.get("file")) for node in ElementTree.parse(xml).iter("texture") if node.get("file")
            }
            files["tex-wall"] = files["tex-wall"].with_name(arguments["scene_properties"]["wall_style"])
            assert files["tex-table"].read_bytes() == (named / "textures" / scene.wall).read_bytes()
            assert files["tex-wall"].read_bytes() == (named / "textures" / scene.wall).read_bytes()
            assert files["texplane"] == named / "textures" / scene.floor, "LIBERO's own are few"
            seen.append({name: (file, file.stat().st_mtime) for name, file in files.items() if file.parent == xml.parent})
        assert not list(xml.parent.iterdir())
    first, second = seen
    assert {file for file, _ in first.values()} == {file for file, _ in second.values()}
    assert not {time for _, time in first.values()} & {time for _, time in second.values()}
