"""Numbers written down in the code are those of the benchmark's own configuration files."""

import numpy as np
import pytest
from needs import need_assets
from omegaconf import OmegaConf

from vlagym.envs.calvin.annotations import ANNOTATIONS_FILE, load_annotations
from vlagym.envs.calvin.oracle import TASKS
from vlagym.envs.calvin.scenes import SCENES
from vlagym.errors import AssetError


@pytest.fixture(scope="module")
def conf(data_dir):
    return data_dir.parent / "conf"


def test_scenes(conf):
    assert set(SCENES) == set("ABCD")
    for letter, scene in SCENES.items():
        expected = OmegaConf.to_container(OmegaConf.load(conf / f"scene/calvin_scene_{letter}.yaml"), resolve=False)
        blocks = expected["objects"]["movable_objects"]
        assert {f"block_{name.removesuffix('_block')}": file for name, file in scene.blocks.items()} == {
            name: block["file"] for name, block in blocks.items()
        }
        assert [f"block_{name.removesuffix('_block')}" for name in scene.blocks] == list(blocks)
        assert scene.table == expected["objects"]["fixed_objects"]["table"]["file"]
        np.testing.assert_array_equal(scene.surfaces, list(expected["surfaces"].values()))


def test_robot_and_cameras(conf):
    from vlagym.envs.calvin import painter, world

    files = [OmegaConf.load(conf / f"robot/{name}.yaml") for name in ("panda", "panda_longer_finger")]
    robot = {key: value for file in files for key, value in OmegaConf.to_container(file, resolve=False).items()}
    assert robot["filename"] == world.ROBOT_URDF
    assert tuple(robot["gripper_joint_ids"]) == world.FINGER_JOINTS
    assert robot["tcp_link_id"] == world.TCP_LINK
    assert (robot["max_joint_force"], robot["max_velocity"], robot["gripper_force"]) == (
        world.ARM_FORCE,
        world.ARM_SPEED,
        world.FINGER_FORCE,
    )
    np.testing.assert_array_equal(world.ARM_LOW, robot["lower_joint_limits"])
    np.testing.assert_array_equal(world.ARM_HIGH, robot["upper_joint_limits"])
    static = OmegaConf.load(conf / "cameras/cameras/static.yaml")
    np.testing.assert_array_equal(painter.STATIC_EYE, static.look_from)
    np.testing.assert_array_equal(painter.STATIC_TARGET, static.look_at)
    np.testing.assert_array_equal(painter.STATIC_UP, static.up_vector)
    for camera, file in (("primary", "static"), ("wrist", "gripper")):
        expected = OmegaConf.load(conf / f"cameras/cameras/{file}.yaml")
        assert painter.LENSES[camera] == painter.Lens(expected.fov, expected.nearval, expected.farval)


def test_tasks_and_thresholds(conf):
    expected = OmegaConf.to_container(OmegaConf.load(conf / "tasks/new_playtable_tasks.yaml"))["tasks"]
    assert set(TASKS) == set(expected)
    for task, (function, *arguments) in expected.items():
        if function in ("rotate_object", "push_object", "move_door_rel"):
            assert TASKS[task].args[1] == arguments[1], task
        if function == "lift_object":
            assert TASKS[task].args[1:] == (arguments[1], arguments[3]), task
        if function == "place_object":
            assert TASKS[task].args == (arguments[1],), task
        if function == "toggle_light":
            assert TASKS[task].args == (arguments[0], arguments[2]), task


def test_annotations_are_the_validation_sets(data_dir):
    sentences = load_annotations(need_assets("calvin"))
    assert set(sentences) == set(TASKS)
    assert sentences["lift_red_block_drawer"] == "Take the red block from the drawer"
    assert sum(sentence[0].isupper() for sentence in sentences.values()) == 3


def test_annotations_that_lack_a_subtask_are_refused(tmp_path):
    file = tmp_path / ANNOTATIONS_FILE
    file.parent.mkdir(parents=True)
    file.write_text("open_drawer: [pull]\n")
    with pytest.raises(AssetError, match="34 subtasks.*vla-eval assets fetch calvin"):
        load_annotations(tmp_path)
