"""Every transform alone against numbers that upstream's own code wrote down."""

from __future__ import annotations

import itertools
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vlagym.envs.robosuite.specs import ACTION_SPEC
from vlagym.envs.spec import ActionSpec
from vlagym.errors import ConfigError, PolicyError
from vlagym.policies import transforms as t
from vlagym.policies.transforms import resampling


@pytest.fixture(scope="module")
def recorded(golden: Path) -> np.lib.npyio.NpzFile:
    return np.load(golden / "openvla_tiny" / "image_pipeline.npz")


def test_each_step_of_the_image_path_equals_tensorflow(recorded: np.lib.npyio.NpzFile) -> None:
    pytest.importorskip("simplejpeg", reason="the image path of OpenVLA is in the extra openvla")
    steps = (
        (t.JpegRoundTrip(), "input", "jpeg_decoded"),
        (t.Lanczos3Resize(), "jpeg_decoded", "resized_u8"),
        (t.CenterCrop(), "resized_u8", "center_crop_u8"),
    )
    cases = [name.removesuffix("/input") for name in recorded.files if name.endswith("/input")]
    assert cases
    for case, (transform, before, after) in itertools.product(cases, steps):
        np.testing.assert_array_equal(transform(recorded[f"{case}/{before}"]), recorded[f"{case}/{after}"], f"{case}: {transform}")


def test_resampled_values_equal_tensorflows_before_they_are_rounded(recorded: np.lib.npyio.NpzFile) -> None:
    cases = [name.removesuffix("/resized_f32_rows96_128") for name in recorded.files if name.endswith("/resized_f32_rows96_128")]
    assert cases
    for case in cases:
        rows = resampling.resample_rows(recorded[f"{case}/jpeg_decoded"].astype(np.float32), 224)
        resized = resampling.resample_rows(rows.swapaxes(0, 1), 224).swapaxes(0, 1)
        np.testing.assert_array_equal(resized[96:128], recorded[f"{case}/resized_f32_rows96_128"], case)


def test_the_image_path_of_openvla_oft_equals_tensorflow(golden: Path) -> None:
    pytest.importorskip("simplejpeg", reason="the image path of OpenVLA is in the extra openvla")
    oft = np.load(golden / "openvla_oft_tiny" / "golden.npz")
    for case, (camera, name) in itertools.product(range(len(oft["full_image"])), enumerate(("full_image", "wrist_image"))):
        resized = t.Lanczos3Resize()(t.JpegRoundTrip()(oft[name][case]))
        if case == 0:
            np.testing.assert_array_equal(resized, oft["resized_u8_case0"][0, camera], name)
        np.testing.assert_array_equal(t.CenterCrop()(resized), oft["cropped_u8"][case, camera], f"{name} {case}")


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the features are those of x86 processors")
def test_the_image_path_does_not_depend_on_the_processor(golden: Path) -> None:
    """NumPy picks its loops by the processor; without these features it takes those of the oldest one it supports."""
    same_tests = [
        f"{__file__}::{test.__name__}"
        for test in (
            test_each_step_of_the_image_path_equals_tensorflow,
            test_resampled_values_equal_tensorflows_before_they_are_rounded,
            test_the_image_path_of_openvla_oft_equals_tensorflow,
            test_resize_with_pad_equals_tensorflow,
        )
    ]
    older = {**os.environ, "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(Path(__file__).parent), *same_tests]
    outcome = subprocess.run(command, env=older, capture_output=True, text=True, timeout=300, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "4 passed" in outcome.stdout


def test_our_upright_image_mirrored_is_the_stock_image_rotated() -> None:
    stock = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    ours = stock[::-1]
    np.testing.assert_array_equal(t.MirrorHorizontally()(ours), stock[::-1, ::-1])


def test_resize_with_pad_equals_tensorflow(golden: Path) -> None:
    recorded = np.load(golden / "rt1" / "simplerenv_rt1_golden.npz")
    cases = [name.removesuffix("/in") for name in recorded.files if name.endswith("/in")]
    assert cases
    for case in cases:
        np.testing.assert_array_equal(t.ResizeWithPad()(recorded[f"{case}/in"]), recorded[f"{case}/out"], err_msg=case)
    for robot, images in (("google_robot", "google_images"), ("widowx_bridge", "widowx_images")):
        for frame in range(len(recorded[f"{robot}/resized"])):
            image = np.roll(recorded[images][0], 37 * frame, axis=1) // (1 + frame)
            np.testing.assert_array_equal(t.ResizeWithPad()(image), recorded[f"{robot}/resized"][frame])


def test_area_resize_averages() -> None:
    pytest.importorskip("cv2", reason="area_resize needs OpenCV")
    image = np.repeat(np.repeat(np.arange(16, dtype=np.uint8).reshape(4, 4, 1), 2, axis=0), 2, axis=1).repeat(3, axis=2)
    np.testing.assert_array_equal(t.AreaResize(4, 4)(image), image[::2, ::2])


def test_libero_gripper_equals_upstream(golden: Path) -> None:
    recorded = np.load(golden / "openvla_tiny" / "libero_postprocess.npz")
    ours = t.FlipBinaryGripper()(recorded["action_in"], {})
    np.testing.assert_array_equal(ours, recorded["action_out"])
    assert np.array_equal(np.signbit(ours), np.signbit(recorded["action_out"]))  # -0.0 for a gripper of one half
    assert ours.dtype == np.float64


def test_rt1_actions_on_simplerenv_equal_upstream(golden: Path) -> None:
    recorded = np.load(golden / "rt1" / "simplerenv_rt1_golden.npz")

    def network_says(robot: str) -> np.ndarray:
        raw = {part: recorded[f"{robot}/raw/{part}"] for part in ("world_vector", "rotation_delta", "gripper_closedness_action")}
        return np.concatenate(list(raw.values()), axis=1)

    def env_gets(robot: str) -> np.ndarray:
        return np.concatenate([recorded[f"{robot}/action/{part}"] for part in ("world_vector", "rot_axangle", "gripper")], axis=1)

    google = network_says("google_robot")
    np.testing.assert_allclose(t.GripperDeadband()(google, {}), env_gets("google_robot"), atol=1e-7)
    widowx = network_says("widowx_bridge")  # recorded after SimplerEnv had rescaled it in place
    for transform in t.action_transforms(["euler_to_axis_angle", "negate_gripper", {"binary_gripper": {"threshold": 0.0}}]):
        widowx = transform(widowx, {})
    np.testing.assert_array_equal(widowx, env_gets("widowx_bridge"))


def test_rescaling_maps_the_ends_and_clips() -> None:
    transform = t.RescaleEntries(first=0, count=3, before=1.75, after=0.05)
    actions = np.array([[-1.75, 0.0, 1.75, 9.0], [-3.0, 0.875, 2.0, 9.0]], np.float32)
    np.testing.assert_allclose(transform(actions, {}), [[-0.05, 0, 0.05, 9], [-0.05, 0.025, 0.05, 9]], atol=1e-8)
    assert transform(actions, {}).dtype == np.float32


@pytest.mark.parametrize("euler", [(0.1, -0.2, 0.3), (0, 0, 0), (np.pi, 0, 0), (3.0, 1.5, -2.8)])
def test_euler_angles_become_the_same_rotation(euler: tuple[float, float, float]) -> None:
    rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    ours = rotation.from_rotvec(t.euler_to_axis_angle(*euler)).as_matrix()
    np.testing.assert_allclose(ours, rotation.from_euler("xyz", euler).as_matrix(), atol=1e-12)


def sticky_reference(values: list[float], repeats: int = 15) -> list[float]:
    """The rule as SimplerEnv's OpenVLA adapter states it: a change beyond 0.5 is repeated, its own step included."""
    out: list[float] = []
    held, change = 0, 0.0
    for now, before in zip(values, [values[0], *values], strict=False):
        relative = before - now
        if held == 0 and abs(relative) > 0.5:
            held, change = repeats, relative
        if held:
            held, relative = held - 1, change
        out.append(relative)
    return out


def test_sticky_gripper_holds_a_large_change_for_fifteen_steps() -> None:
    values = [1.0] * 3 + [0.0] * 5 + [1.0] * 20 + [0.9] * 3
    memory: dict[str, object] = {}
    transform = t.StickyGripper()
    ours = [float(transform(np.array([[0.0, value]]), memory)[0, -1]) for value in values]
    assert ours == sticky_reference(values)
    assert ours[3:18] == [1.0] * 15
    assert ours[18] == 0.0  # the change back at step 8 fell into the hold and is gone, as upstream
    in_one_chunk = transform(np.array([[0.0, value] for value in values]), {})[:, -1]
    assert in_one_chunk.tolist() == ours


def test_transforms_say_what_they_do_to_the_meaning_of_an_action() -> None:
    def gripper(spec: ActionSpec) -> tuple[float, float]:
        return spec.gripper_open, spec.gripper_closed

    opens_at_one = replace(ACTION_SPEC, gripper_open=1.0, gripper_closed=0.0)
    assert gripper(t.FlipBinaryGripper().spec(opens_at_one)) == (-1.0, 1.0)
    assert gripper(t.BinaryGripper().spec(opens_at_one)) == (1.0, -1.0)
    assert gripper(t.StickyGripper().spec(opens_at_one)) == (-1.0, 1.0)
    assert gripper(t.NegateGripper().spec(ACTION_SPEC)) == (1.0, -1.0)
    assert t.EulerToAxisAngle().spec(replace(ACTION_SPEC, rotation="euler_xyz")).rotation == "axis_angle"
    assert not t.FlipBinaryGripper().spec(opens_at_one).differences(ACTION_SPEC)


def test_a_transform_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"FlipBinaryGripper needs .*\(1.0, 0.0\)"):
        t.FlipBinaryGripper().spec(ACTION_SPEC)
    with pytest.raises(ConfigError, match="euler_xyz"):
        t.EulerToAxisAngle().spec(ACTION_SPEC)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (["center_corp"], "unknown image transform 'center_corp'.*center_crop"),
        ([{"center_crop": {"size": 3}}], "takes area, height, width"),
        ([{"a": {}, "b": {}}], "a name or"),
    ],
)
def test_a_recipe_that_cannot_be_read_names_the_entry(named: list[object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        t.image_transforms(named)  # type: ignore[arg-type]


def test_what_is_not_an_image_is_named() -> None:
    for wrong in (np.zeros((0, 0, 3), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8)):
        with pytest.raises(PolicyError, match=r"image 'primary' must be uint8\[height, width, 3\]"):
            t.check_image(wrong, "primary")


def test_every_transform_has_the_name_of_its_class() -> None:
    for named, base in ((t.IMAGE_TRANSFORMS, t.ImageTransform), (t.ACTION_TRANSFORMS, t.ActionTransform)):
        assert set(named.values()) == set(base.__subclasses__())
        for name, transform in named.items():
            assert name.replace("_", "") == transform.__name__.lower()


def test_transforms_are_described_for_the_record() -> None:
    assert t.describe(t.image_transforms(["mirror_horizontally", {"center_crop": {"area": 0.8}}])) == [
        "MirrorHorizontally()",
        "CenterCrop(area=0.8, height=224, width=224)",
    ]
