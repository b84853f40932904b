"""The adapter as the runner uses it, and its instruction encoders."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapes_only import INSTRUCTIONS, ShapesOnly

from vlagym.errors import ConfigError, DependencyError, PolicyError
from vlagym.policies.audit import audit_batch
from vlagym.policies.base import Policy, PolicyObservation
from vlagym.policies.checker import check_policy
from vlagym.policies.network.adapter import NetworkPolicy
from vlagym.policies.registry import check_policy_settings, make_policy
from vlagym.policies.rt1.convert import convert
from vlagym.policies.rt1.instructions import make_encoder

Observe = Callable[..., PolicyObservation]
EMITS = {
    "mode": "delta",
    "frame": "base",
    "rotation": "axis_angle",
    "unit": "m_rad",
    "gripper_open": -1.0,
    "gripper_closed": 1.0,
}


@pytest.fixture(scope="module")
def converted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rt1") / "tiny"
    convert(folder / "tiny_tf_saved_model", out, 0.25, 0.4)
    return out


@pytest.fixture(scope="module")
def embeddings(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in which every instruction has the recorded embedding."""
    file = tmp_path_factory.mktemp("rt1") / "embeddings.npz"
    recorded = np.load(folder / "tiny_golden.npz")["natural_language_embedding"]
    np.savez(file, **dict.fromkeys((*INSTRUCTIONS, "pick coke can"), recorded))
    return file


@pytest.fixture
def build(converted: Path, embeddings: Path, google_like: ShapesOnly) -> Callable[..., Policy]:
    def build(**changes: Any) -> Policy:
        settings = {
            "name": "rt1",
            "checkpoint": str(converted),
            "instruction_encoder": str(embeddings),
            "cameras": ["primary"],
            "image_transforms": ["resize_with_pad"],
            "action_transforms": ["gripper_deadband"],
            "emits": EMITS,
            "device": "cpu",
        }
        return make_policy({**settings, **changes}, google_like)

    return build


def test_an_instruction_without_embedding_is_known_before_the_first_episode(
    converted: Path, embeddings: Path, google_like: ShapesOnly
) -> None:
    recipe = {"cameras": ["primary"], "image_transforms": ["resize_with_pad"], "action_transforms": ["gripper_deadband"]}
    encoder = {"name": "rt1", "checkpoint": str(converted), "instruction_encoder": str(embeddings), "emits": EMITS, "device": "cpu"}
    check_policy_settings({**recipe, **encoder}, google_like, ["pick coke can"])
    with pytest.raises(PolicyError, match="has no embedding of 'pick coke cans'.*Did you mean 'pick coke can'"):
        check_policy_settings({**recipe, **encoder}, google_like, ["pick coke can", "pick coke cans"])


def test_rt1_keeps_the_contract(build: Callable[..., Policy], google_like: ShapesOnly) -> None:
    check_policy(build(), google_like)


def test_rt1_acts_as_simplerenvs_own_adapter(build: Callable[..., Policy], folder: Path, observe: Observe) -> None:
    recorded = np.load(folder / "simplerenv_rt1_golden.npz")
    policy = build()
    episodes = [observe({}, "pick coke can", episode)["episode_id"] for episode in range(2)]
    policy.reset(episodes)
    expected = np.concatenate(
        [recorded[f"google_robot/action/{part}"] for part in ("world_vector", "rot_axangle", "gripper")], axis=1
    )
    for frame in range(len(expected)):
        image = np.roll(recorded["google_images"][0], 37 * frame, axis=1) // (1 + frame)
        observations = [observe({"primary": image}, "pick coke can", episode, frame) for episode in range(2)]
        for chunk in policy.act(observations):
            np.testing.assert_allclose(chunk, expected[frame : frame + 1], atol=1e-6)
            assert chunk.dtype == np.float64
        assert policy.done(episodes) == [bool(recorded["google_robot/action/terminate_episode"][frame][0] > 0)] * 2


def test_a_window_of_frames_is_kept_per_episode(
    build: Callable[..., Policy], folder: Path, images: np.ndarray, observe: Observe
) -> None:
    recorded = np.load(folder / "tiny_golden.npz")
    policy = build(image_transforms=[], action_transforms=[])
    late = observe({"primary": images[0]}, "pick coke can", 1)
    policy.reset([late["episode_id"]])
    for frame in range(len(images)):
        batch = [observe({"primary": images[frame]}, "pick coke can", 0, frame)]
        if frame == 0:
            policy.reset([batch[0]["episode_id"]])
        if frame >= 3:  # a second episode joins, its first frames beside later ones of the first
            batch.append(observe({"primary": images[frame - 3]}, "pick coke can", 1, frame - 3))
        chunks = policy.act(batch)
        for own, chunk in zip((frame, frame - 3), chunks, strict=False):
            expected = np.concatenate(
                [recorded[f"action/{part}"][own] for part in ("world_vector", "rotation_delta", "gripper_closedness_action")]
            )
            np.testing.assert_array_equal(chunk[0], expected)
    policy.reset([late["episode_id"]])
    np.testing.assert_array_equal(policy.act([late])[0][0, :3], recorded["action/world_vector"][0])


def test_its_saying_so_may_be_ignored(build: Callable[..., Policy], folder: Path, observe: Observe) -> None:
    recorded = np.load(folder / "simplerenv_rt1_golden.npz")
    assert recorded["google_robot/action/terminate_episode"][0][0] == 1
    observation = observe({"primary": recorded["google_images"][0]}, "pick coke can")
    for terminates in (True, False):
        policy = build(terminates=terminates)
        policy.reset([observation["episode_id"]])
        policy.act([observation])
        assert policy.done([observation["episode_id"]]) == [terminates]


def test_the_record_says_what_acted(build: Callable[..., Policy]) -> None:
    record = build().provenance()
    assert len(record["checkpoint_sha256"]) == len(record["instruction_encoder_sha256"]) == 64
    assert record["recipe"]["image_transforms"] == ["ResizeWithPad(height=256, width=320)"]
    json.dumps(record)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint": None}, "policy.checkpoint is needed.*vla-eval convert rt1"),
        ({"emits": None}, "'rt1' has no recipe for suite 'simpler_google'.*simpler_google_va, simpler_google_vm"),
        ({"cameras": ["primary", "wrist"]}, "RT-1 sees one camera"),
        ({"checkpoint": "nowhere"}, "there is no such folder"),
        ({"instruction_encoder": "bert"}, "must be use, FILE.npz or package.module:function"),
        ({"max_batch": 0}, "policy.max_batch must be a whole number from 1"),
        ({"dtype": "int8"}, "policy.dtype must be one of"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(build: Callable[..., Policy], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**changes)


def test_a_frame_of_the_wrong_size_is_named(build: Callable[..., Policy], observe: Observe) -> None:
    policy = build(image_transforms=[])
    observation = observe({"primary": np.zeros((100, 100, 3), np.uint8)}, "pick coke can")
    policy.reset([observation["episode_id"]])
    with pytest.raises(PolicyError, match="frames of 256 x 320 pixels.*Add resize_with_pad"):
        policy.act([observation])


def test_random_weights_act_with_a_named_encoder(build: Callable[..., Policy], google_like: ShapesOnly, observe: Observe) -> None:
    policy = build(checkpoint="random:rt1", instruction_encoder="vlagym.policies.rt1.policy:random_embedding")
    observation = observe({"primary": np.full((512, 640, 3), 80, np.uint8)}, "pick coke can")
    policy.reset([observation["episode_id"]])
    assert policy.act([observation])[0].shape == (1, 7)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_passes_of_a_fixed_shape_keep_company_out_of_the_answers(
    build: Callable[..., Policy], google_like: ShapesOnly, dtype: str
) -> None:
    policy = build(batch=3, dtype=dtype, max_batch=None, instruction_encoder="vlagym.policies.rt1.policy:random_embedding")
    assert isinstance(policy, NetworkPolicy)
    assert policy.max_batch == 3
    assert audit_batch(policy, google_like).invariant
    policy.close()


def test_an_instruction_that_a_file_lacks_suggests_a_near_one(embeddings: Path) -> None:
    encode = make_encoder(str(embeddings), 512)
    assert encode("pick coke can").dtype == np.float32
    with pytest.raises(PolicyError, match="no embedding of 'pick coke cane' .*Did you mean 'pick coke can'"):
        encode("pick coke cane")
    with pytest.raises(PolicyError, match="the instruction is empty"):
        encode(" ")


def test_a_file_of_embeddings_must_hold_arrays(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a file of embeddings that can be read"):
        make_encoder(str(tmp_path / "gone.npz"), 512)
    np.savez(tmp_path / "objects.npz", **{"lift it": np.array([object()])})
    with pytest.raises(ConfigError, match="is not a file of embeddings that can be read"):
        make_encoder(str(tmp_path / "objects.npz"), 512)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "objects.npz").read_bytes()[:-30])
    with pytest.raises(ConfigError, match="is not a file of embeddings that can be read"):
        make_encoder(str(tmp_path / "cut.npz"), 512)
    np.savez(tmp_path / "short.npz", **{"lift it": np.zeros(3)})
    with pytest.raises(PolicyError, match="512 finite numbers are needed"):
        make_encoder(str(tmp_path / "short.npz"), 512)("lift it")


def test_an_encoder_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no.where:it cannot be imported"):
        make_encoder("no.where:it", 512)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(DependencyError, match=r"needs tensorflow .*pip install 'vlagym\[rt1-use\]'"):
        make_encoder("use", 512)
