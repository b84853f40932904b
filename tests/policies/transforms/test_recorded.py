"""Transforms one by one against what recorded clients sent for the same observations, and executed of the same answers."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlagym.envs.registry import make_suite
from vlagym.eval.plan.config import load_config
from vlagym.policies.pipeline import Pipeline
from vlagym.policies.remote import groot, json_numpy, openpi, starvla, vla_eval, xvla
from vlagym.policies.transforms import ACTION_TRANSFORMS, IMAGE_TRANSFORMS, STATE_TRANSFORMS, base

Read = Callable[[str], Any]
Numbers = Mapping[str, Any]


@pytest.fixture(scope="module")
def recorded(golden: Path) -> Read:
    def read(name: str) -> Any:
        data = (golden / "remote" / name).read_bytes()
        data = gzip.decompress(data) if name.endswith(".gz") else data
        decode = {"gr00t": groot.decode, "vla_ev": vla_eval.decode, "xvla/": json_numpy.loads}
        return next((how for start, how in decode.items() if name.startswith(start)), openpi.decode)(data)

    return read


@pytest.fixture(scope="module")
def observed(golden: Path) -> Numbers:
    return dict(np.load(golden / "remote" / "observations.npz", allow_pickle=False))


def image(name: str, **settings: Any) -> base.ImageTransform:
    return IMAGE_TRANSFORMS[name](**settings)


def state(name: str, before: Any, executed: Any = None, **settings: Any) -> Any:
    return STATE_TRANSFORMS[name](**settings)(np.asarray(before, np.float64), executed)


def with_gripper(values: Any) -> Any:
    """Actions of which only the gripper matters."""
    values = np.asarray(values, np.float64)
    return np.concatenate([np.zeros((len(values), 6)), values[:, None]], axis=1)


def test_images_are_resized_as_pillow_and_opencv_do(recorded: Read, observed: Numbers) -> None:
    turned = observed["libero.agentview_image"][::-1, ::-1]
    sent = recorded("openpi/request_libero.client.msgpack.gz")["observation/image"]
    np.testing.assert_array_equal(image("pil_resize_with_pad", height=224, width=224)(turned), sent)
    for robot, key, height, width in (("google", "image", 256, 320), ("widowx", "image_0", 256, 256)):
        sent = recorded(f"gr00t/n1.7/{robot}_sim_request.client.msgpack.gz")["data"]["observation"][f"video.{key}"][0, 0]
        np.testing.assert_array_equal(image("linear_resize", height=height, width=width)(observed[f"{robot}.image"]), sent)
    for robot, name in (("google", "google_robot"), ("widowx", "widowx_bridge")):
        sent = recorded(f"starvla/{name}_request.client.msgpack.gz")["examples"][0]["image"][0]
        np.testing.assert_array_equal(image("area_resize", height=224, width=224)(observed[f"{robot}.image"]), sent)


def test_images_are_turned_as_libero_and_xvla_see_them(recorded: Read, observed: Numbers) -> None:
    sent = recorded("xvla/libero.request.json.gz")
    upright = {name: observed[f"libero.{name}_image"][::-1] for name in ("agentview", "robot0_eye_in_hand")}
    np.testing.assert_array_equal(image("mirror_horizontally")(upright["agentview"]), json_numpy.loads(sent["image0"]))
    np.testing.assert_array_equal(image("flip_vertically")(upright["robot0_eye_in_hand"]), json_numpy.loads(sent["image1"]))


def test_the_bridge_frame_is_groots(recorded: Read, observed: Numbers) -> None:
    sent = recorded("gr00t/n1.7/widowx_sim_request.client.msgpack.gz")["data"]["observation"]
    pose = observed["widowx.eef_pos"]
    euler = state("bridge_euler", pose)
    np.testing.assert_allclose(euler[3:6], [sent[f"state.{name}"].item() for name in ("roll", "pitch", "yaw")], rtol=0, atol=1e-7)
    np.testing.assert_allclose(euler[6], sent["state.gripper"].item(), rtol=0, atol=1e-7)
    padded = state("append_constants", euler, values=[0.0], at=6)
    np.testing.assert_array_equal(padded[[6, 7]], [sent["state.pad"].item(), euler[6]])


def test_quaternion_and_gripper_of_the_google_robot_are_groots(recorded: Read, observed: Numbers) -> None:
    sent = recorded("gr00t/n1.7/google_sim_request.client.msgpack.gz")["data"]["observation"]
    closed = state("complement_entry", observed["google.eef_pos"], entry=7)
    taken = state("take_entries", closed, entries=[4, 5, 6, 3, 7])
    expected = [sent[f"state.{name}"].item() for name in ("rx", "ry", "rz", "rw", "gripper")]
    np.testing.assert_allclose(taken, expected, rtol=0, atol=1e-7)


def test_calvins_pose_in_six_numbers_is_xvlas(recorded: Read, observed: Numbers) -> None:
    sent = np.asarray(json_numpy.loads(recorded("xvla/calvin.request.json.gz")["proprio"]), np.float64)
    taken = state("take_entries", observed["calvin.robot_obs"], entries=[0, 1, 2, 3, 4, 5, 14])
    six = state("euler_to_six", taken, layout="rows")
    np.testing.assert_allclose(six[:9], sent[:9], rtol=0, atol=1e-7)
    assert state("binary_entry", six, entry=9)[9] == sent[9]
    for value in (-1.0, 0.0, 1.0):
        assert state("binary_entry", [value], entry=0)[0] == float(value > 0)


def test_the_controllers_frame_is_the_hands_turned(golden: Path, observed: Numbers) -> None:
    """robosuite 1.4.0: ee_ori_mat = R(robot0_eef_quat) turned by -90 degrees about z."""
    executed = np.load(golden / "remote/xvla/executed.npz")
    hand = executed["libero.ee_ori_mat"]  # of robot0_eef_quat
    vector = state("append_controller_pose", [*np.zeros(3), *_vector(hand), 0.0, 0.0])
    columns = state("controller_pose", [*np.zeros(3), *_vector(hand), 0.0, 0.0], layout="columns")[3:9]
    turned = hand @ np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(columns, turned[:, :2].T.ravel(), rtol=0, atol=2e-5)  # the quaternion is that far from length 1
    np.testing.assert_allclose(_matrix(vector[11:14]), turned, rtol=0, atol=2e-5)
    assert observed["libero.robot0_eef_quat"].shape == (4,)


def test_the_rotation_vector_of_vla_eval_is_the_short_one(recorded: Read, observed: Numbers) -> None:
    sent = recorded("vla_eval/observation_png.client.msgpack")["payload"]["states"]
    quat = observed["libero.robot0_eef_quat"]  # x y z w
    long = quat[:3] / np.linalg.norm(quat[:3]) * 2 * np.arccos(quat[3])
    short = state("shortest_axis_angle", [*np.zeros(3), *long, 0.0, 0.0])
    rounded = state("round_entries", short, first=3, count=3)
    assert rounded.dtype == np.float64
    np.testing.assert_array_equal(rounded[3:6], short[3:6].astype(np.float32))
    np.testing.assert_allclose(_matrix(rounded[3:6]), _matrix(sent[3:6]), rtol=0, atol=2e-5)  # the quaternion, too
    assert np.linalg.norm(short[3:6]) <= np.pi
    over = state("shortest_axis_angle", [0, 0, 0, 0, 0, 4.0])
    np.testing.assert_allclose(over[3:6], [0, 0, 4.0 - 2 * np.pi])


@pytest.mark.parametrize(("benchmark", "entries"), [("libero", 9), ("calvin", 10), ("widowx", 10)])
def test_xvla_is_told_the_pose_that_it_commanded(golden: Path, recorded: Read, benchmark: str, entries: int) -> None:
    executed = np.load(golden / "remote/xvla/executed.npz")
    rows = np.asarray(recorded(f"xvla/{benchmark}.reply.json")["action"])[: len(executed[f"{benchmark}.actions"]), :10]
    first = np.asarray(json_numpy.loads(recorded(f"xvla/{benchmark}.request.json.gz")["proprio"]), np.float64)
    after = state("closed_loop", first, executed=rows[-1], entries=entries)
    np.testing.assert_allclose(after, executed[f"{benchmark}.proprio_after"].ravel(), rtol=0, atol=1e-7)
    np.testing.assert_array_equal(state("closed_loop", first, entries=entries), first)


@pytest.mark.parametrize(
    ("benchmark", "layout", "to", "add"),
    [
        ("libero", "columns", "axis_angle", None),
        ("widowx", "rows", "euler_xyz", [0, np.pi / 2, 0]),
        ("google", "rows", "euler_xyz", None),
    ],
)
def test_six_numbers_become_the_rotation_that_xvla_commands(
    golden: Path, recorded: Read, benchmark: str, layout: Any, to: Any, add: Any
) -> None:
    expected = np.load(golden / "remote/xvla/executed.npz")[f"{benchmark}.actions"]
    rows = np.asarray(recorded(f"xvla/{benchmark}.reply.json")["action"])[:, :10]
    rows = rows[0::2][:10] if benchmark == "google" else rows[: len(expected)]
    turned = ACTION_TRANSFORMS["rotation_from_six"](layout=layout, to=to, add=add)(rows, {})
    if benchmark == "libero":
        for ours, theirs in zip(turned[:, 3:6], expected[:, 3:6], strict=True):
            np.testing.assert_allclose(_matrix(ours), _matrix(theirs), rtol=0, atol=2e-5)
    else:
        np.testing.assert_allclose(turned[:, 3:6], expected[:, 3:6], rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("benchmark", "threshold", "inclusive", "negated"),
    [("libero", 0.5, False, False), ("calvin", 0.8, True, True), ("widowx", 0.7, True, True), ("google", 0.25, False, False)],
)
def test_each_rule_for_xvlas_gripper(
    golden: Path, recorded: Read, benchmark: str, threshold: float, inclusive: bool, negated: bool
) -> None:
    expected = np.load(golden / "remote/xvla/executed.npz")[f"{benchmark}.actions"]
    rows = np.asarray(recorded(f"xvla/{benchmark}.reply.json")["action"])[:, :10]
    rows = rows[0::2][:10] if benchmark == "google" else rows[: len(expected)]
    actions = ACTION_TRANSFORMS["binary_gripper"](threshold=threshold, inclusive=inclusive)(rows, {})
    actions = ACTION_TRANSFORMS["negate_gripper"]()(actions, {}) if negated else actions
    np.testing.assert_array_equal(actions[:, -1], expected[:, -1])
    assert set(expected[:, -1]) == {-1.0, 1.0}


def test_a_gripper_that_is_held_is_groots(golden: Path, recorded: Read) -> None:
    (chunk,) = groot.GrootWire(["gripper"]).chunks(recorded("gr00t/n1.7/google_sim_reply.server.msgpack"), 1)
    executed = np.load(golden / "remote/gr00t/n1.7/google_executed.npz")["last_action"]
    held = ACTION_TRANSFORMS["hold_gripper"](steps=15, threshold=0.5)
    assert float(held(with_gripper(chunk[:1, 0]), {})[0, -1]) == pytest.approx(executed[-1], abs=1e-7)
    grippers = [0.6, 0.0, *[0.9] * 14, 0.9, 0.6]  # -0.2; +1 for 15 actions; then -0.8 for 15
    expected = [-0.2, *[1.0] * 15, -0.8, -0.8]
    np.testing.assert_allclose(held(with_gripper(grippers), {})[:, -1], expected)


@pytest.mark.parametrize(("robot", "horizon"), [("google_robot", 2), ("widowx_bridge", 7)])
def test_starvlas_ensemble_and_grippers(golden: Path, recorded: Read, robot: str, horizon: int) -> None:
    """Three steps, each with a new query that the same chunk answers."""
    expected = np.load(golden / "remote/starvla/executed.npz")[f"{robot}_executed"]
    (chunk,) = starvla.chunks((golden / f"remote/starvla/{robot}_reply.server.msgpack").read_bytes(), 1)
    ensemble, memory = ACTION_TRANSFORMS["agreeing_actions"](horizon=horizon, alpha=0.1), {}
    merged = np.concatenate([ensemble(chunk, memory) for _ in range(3)])
    np.testing.assert_allclose(merged[:, :3], expected[:, :3], rtol=0, atol=1e-6)
    turned = ACTION_TRANSFORMS["euler_to_axis_angle"]()(merged, {})
    np.testing.assert_allclose(turned[:, 3:6], expected[:, 3:6], rtol=0, atol=1e-6)
    rules = {
        "google_robot": ACTION_TRANSFORMS["sticky_gripper"](steps=10, threshold=0.5, compares_with="last_hold"),
        "widowx_bridge": ACTION_TRANSFORMS["binary_gripper"](threshold=0.5),
    }
    np.testing.assert_allclose(rules[robot](merged, {})[:, -1], expected[:, -1], rtol=0, atol=1e-6)


def test_a_sticky_gripper_may_compare_with_where_the_last_hold_began() -> None:
    """starVLA's rule: the value before is remembered only when a hold starts, so that slow changes add up."""
    sticky = ACTION_TRANSFORMS["sticky_gripper"](steps=3, threshold=0.5, compares_with="last_hold")
    changes = sticky(with_gripper([1.0, 0.7, 0.4, 0.4, 0.4, 0.4, 0.9, 1.0]), {})[:, -1]
    np.testing.assert_allclose(changes, [0.0, 0.3, 0.6, 0.6, 0.6, 0.0, -0.5, -0.6])


def test_calvins_deltas_add_up_to_the_pose_that_is_commanded() -> None:
    suite = make_suite(load_config(["suite=calvin_d", "suite.action_form=absolute_euler", "policy=random"]).legs[0].suite)
    emits = {"mode": "delta", "frame": "world", "rotation": "euler_xyz", "unit": "m_rad", "gripper_open": 1, "gripper_closed": -1}
    recipe: Any = {"cameras": [], "image_transforms": [], "action_transforms": ["accumulate_deltas"], "emits": emits}
    pipeline = Pipeline(suite, "vla_eval_server", recipe)
    assert not pipeline.action_spec.differences(suite.action_spec)
    start = np.array([0.1, 0.2, 0.3, 3.0, -1.0, 0.5, *np.full(9, 7.0)])
    deltas = np.array([[0.01, 0.0, 0.0, 0.2, 0.0, 0.0, 0.4], [0.01, 0.0, -0.1, 0.0, 0.1, 0.0, -0.2]])
    observation: Any = {"images": {}, "state": start, "instruction": "x", "episode_id": "calvin_d/chain/0/0", "step": 0}
    pipeline.reset([observation["episode_id"]])
    first = pipeline.actions(observation, deltas)
    wrapped = 3.2 - 2 * np.pi
    np.testing.assert_allclose(first, [[0.11, 0.2, 0.3, wrapped, -1, 0.5, 0.4], [0.12, 0.2, 0.2, wrapped, -0.9, 0.5, -0.2]])
    # Where the hand came to be in the meantime is not looked at, until a new subtask begins.
    moved = {**observation, "state": start + 1, "step": 2}
    np.testing.assert_allclose(pipeline.actions(moved, deltas[:1])[0, :3], [0.13, 0.2, 0.2])
    pipeline.reset([observation["episode_id"]])
    np.testing.assert_allclose(pipeline.actions(moved, deltas[:1])[0, :3], [1.11, 1.2, 1.3])
    pipeline.close()


def test_the_recorded_xvla_answers_are_of_thirty_actions(golden: Path) -> None:
    for benchmark in ("libero", "calvin", "widowx", "google"):
        assert xvla.chunk((golden / f"remote/xvla/{benchmark}.reply.json").read_bytes()).shape == (30, 10)


def _vector(matrix: Any) -> Any:
    from vlagym.policies.transforms.rotations import matrix_to_axis_angle

    return matrix_to_axis_angle(matrix)


def _matrix(vector: Any) -> Any:
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(np.array(vector, np.float64)).as_matrix()
