"""Both adapters from observation to action, as the runner uses them, on networks whose numbers are known."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from shapes_only import ShapesOnly

from vlagym.errors import ConfigError, PolicyError
from vlagym.eval.plan.config import load_config
from vlagym.policies import transforms
from vlagym.policies.base import Policy, PolicyObservation
from vlagym.policies.checker import check_policy
from vlagym.policies.registry import check_policy_settings, make_policy

from .conftest import OFT_TOWERS, TOWERS

Observe = Callable[..., PolicyObservation]


def settings(policy: str, folder: Path, **changes: Any) -> dict[str, Any]:
    """The recipe for LIBERO, with another checkpoint."""
    towers = TOWERS if policy == "openvla" else OFT_TOWERS
    recipe = load_config(["suite=libero_goal", f"policy={policy}"]).legs[0].policy
    return {**recipe, "checkpoint": str(folder), "vision_towers": towers, "device": "cpu", **changes}


@pytest.fixture(scope="module")
def policy(checkpoint: Path, libero_like: ShapesOnly) -> Iterator[Policy]:
    built = make_policy(settings("openvla", checkpoint), libero_like)
    yield built
    built.close()


@pytest.fixture(scope="module")
def oft_policy(golden: Path, libero_like: ShapesOnly) -> Iterator[Policy]:
    built = make_policy(settings("openvla_oft", golden / "openvla_oft_tiny" / "checkpoint"), libero_like)
    yield built
    built.close()


def test_openvla_keeps_the_contract(policy: Policy, libero_like: ShapesOnly) -> None:
    check_policy(policy, libero_like)
    assert policy.cameras == ("primary",)


def test_openvla_oft_keeps_the_contract(oft_policy: Policy, libero_like: ShapesOnly) -> None:
    check_policy(oft_policy, libero_like)
    assert oft_policy.cameras == ("primary", "wrist")


def test_openvla_acts_as_the_reference_evaluation_would(
    golden: Path, checkpoint: Path, recorded: np.lib.npyio.NpzFile, libero_like: ShapesOnly, observe: Observe
) -> None:
    tasks = json.loads((golden / "openvla_tiny" / "golden_meta.json").read_text())["tasks"]
    raw = [*recorded["images_224"], *recorded["images_256"]]  # recorded from the processor on: no JPEG, no crop, not mirrored
    policy = make_policy(settings("openvla", checkpoint, image_transforms=[]), libero_like)
    observations = [
        observe({"primary": image}, task, index, index) for index, (image, task) in enumerate(itertools.product(raw, tasks))
    ]
    policy.reset([observation["episode_id"] for observation in observations])
    chunks = policy.act(observations)
    expected = transforms.FlipBinaryGripper()(recorded["actions__libero_goal"], {})
    np.testing.assert_array_equal(np.concatenate(chunks), expected)
    assert chunks[0].dtype == np.float64


def test_openvla_oft_acts_as_the_reference_evaluation_would(golden: Path, oft_policy: Policy, observe: Observe) -> None:
    folder = golden / "openvla_oft_tiny"
    recorded = np.load(folder / "golden.npz")
    tasks = json.loads((folder / "golden_meta.json").read_text())["tasks"]
    mirrored = {"primary": "full_image", "wrist": "wrist_image"}  # recorded after upstream's rotation
    observations = [
        observe(
            {camera: recorded[name][case][:, ::-1] for camera, name in mirrored.items()},
            tasks[case],
            case,
            state=recorded["state"][case].astype(np.float32),
        )
        for case in range(len(tasks))
    ]
    oft_policy.reset([observation["episode_id"] for observation in observations])
    chunks = oft_policy.act(observations)
    assert [chunk.shape for chunk in chunks] == [(8, 7)] * len(tasks)
    expected = np.stack([transforms.FlipBinaryGripper()(chunk, {}) for chunk in recorded["A_actions__libero_goal"]])
    np.testing.assert_allclose(np.stack(chunks), expected, atol=1e-4)


def test_settings_are_checked_without_loading_weights(
    checkpoint: Path, golden: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A fine-tune on three of LIBERO's four suites: what its fourth leg lacks is known before the first episode."""
    from vlagym.policies.openvla import loading, oft

    monkeypatch.setattr(loading, "build", lambda *_, **__: pytest.fail("weights were loaded"))
    monkeypatch.setattr(oft, "build", loading.build)
    folder = tmp_path / "three_suites"
    shutil.copytree(checkpoint, folder, copy_function=os.symlink)
    statistics = json.loads((checkpoint / "dataset_statistics.json").read_text())["libero_goal"]
    (folder / "dataset_statistics.json").unlink()
    known = ["libero_spatial", "libero_object", "libero_goal"]
    (folder / "dataset_statistics.json").write_text(json.dumps(dict.fromkeys(known, statistics)))
    legs = load_config(["suite=libero_all", "policy=openvla", f"policy.checkpoint={folder}"]).legs
    for leg in legs:
        suite = ShapesOnly(leg.suite["name"])
        leg_settings = {**leg.policy, "vision_towers": TOWERS, "device": "cpu"}
        if suite.name in known:
            check_policy_settings(leg_settings, suite)
        else:
            with pytest.raises(ConfigError, match=r"unknown policy.unnorm_key.*'libero_10'"):
                check_policy_settings(leg_settings, suite)
    without_heads = golden / "openvla_oft_tiny" / "checkpoint"
    with pytest.raises(ConfigError, match="has no vision_backbone--STEP_checkpoint.pt"):
        check_policy_settings(settings("openvla_oft", without_heads, film=True), ShapesOnly())


def test_a_chunk_can_be_executed_in_part(golden: Path, libero_like: ShapesOnly, observe: Observe) -> None:
    checkpoint = golden / "openvla_oft_tiny" / "checkpoint"
    policy = make_policy(settings("openvla_oft", checkpoint, executes=3, max_batch=2), libero_like)
    observation = observe(dict.fromkeys(("primary", "wrist"), np.full((256, 256, 3), 99, np.uint8)), "lift it")
    policy.reset([observation["episode_id"]])
    assert policy.act([observation])[0].shape == (3, 7)
    assert policy.max_batch == 2


def test_diffusion_noise_belongs_to_episode_and_step(golden: Path, libero_like: ShapesOnly, observe: Observe) -> None:
    folder = golden / "openvla_oft_tiny"
    policy = make_policy(
        settings(
            "openvla_oft",
            folder / "checkpoint",
            head="diffusion",
            components=str(folder / "components_diffusion"),
            diffusion_steps=2,
        ),
        libero_like,
    )
    images = dict.fromkeys(("primary", "wrist"), np.full((256, 256, 3), 99, np.uint8))
    first, other, later = observe(images, "lift it", 0), observe(images, "lift it", 1), observe(images, "lift it", 0, step=8)
    policy.reset([first["episode_id"], other["episode_id"]])
    together = policy.act([first, other])
    torch.manual_seed(1)
    np.random.seed(1)
    np.testing.assert_allclose(policy.act([first])[0], together[0], atol=1e-5)
    assert not np.allclose(together[0], together[1], atol=1e-3)
    assert not np.allclose(together[0], policy.act([later])[0], atol=1e-3)


def test_the_record_says_what_acted(policy: Policy, oft_policy: Policy) -> None:
    record = policy.provenance()
    assert (record["unnorm_key"], record["dtype"], record["device"]) == ("libero_goal", "float32", "cpu")
    assert len(record["checkpoint_sha256"]) == 64
    assert record["recipe"]["image_transforms"][0] == "MirrorHorizontally()"
    assert record["packages"]["torch"] == torch.__version__
    assert (oft_policy.provenance()["head"], oft_policy.provenance()["executes"]) == ("l1", 8)
    json.dumps([record, oft_policy.provenance()])


def test_a_pair_without_recipe_is_refused_with_those_that_have_one(checkpoint: Path) -> None:
    elsewhere = ShapesOnly("elsewhere")
    for bare in ({"name": "openvla"}, {"name": "openvla", "checkpoint": str(checkpoint)}):
        with pytest.raises(
            ConfigError, match="'openvla' has no recipe for suite 'elsewhere'.*libero_10, libero_90, libero_goal, .*policy.emits"
        ):
            make_policy(bare, elsewhere)


def test_actions_that_the_suite_would_misread_are_refused(checkpoint: Path, libero_like: ShapesOnly) -> None:
    with pytest.raises(ConfigError, match=r"would misread \(gripper_open: 1.0 != -1.0; gripper_closed: 0.0 != 1.0\)"):
        make_policy(settings("openvla", checkpoint, action_transforms=[]), libero_like)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unnorm_key": "libero_gaol"}, "unknown policy.unnorm_key.*Did you mean 'libero_goal'"),
        ({"unnorm_key": "dim9_nomask"}, "must have 7 entries each"),
        ({"cameras": ["primary", "wrist"]}, "OpenVLA sees one camera"),
        ({"emits": {"mode": "delta"}}, "policy.emits must say mode, frame, rotation, unit"),
        ({"attention": "flash"}, "policy.attention must be one of sdpa, eager"),
        ({"dtype": "int8"}, "policy.dtype must be one of"),
        ({"device": "cuda:99"}, "policy.device=cuda:99 cannot be used here"),
        ({"max_batch": 0}, "policy.max_batch must be a whole number from 1"),
        ({"vision_towers": None}, r"do not fit the network.*of another shape \(103\): projector.fc1.bias \[352\], not \[8704\]"),
        ({"checkpoint": "nowhere"}, "there is no such folder"),
        ({"chunk": 3}, "unknown setting policy.chunk"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(
    checkpoint: Path, libero_like: ShapesOnly, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((ConfigError, PolicyError), match=message):
        make_policy(settings("openvla", checkpoint, **changes), libero_like)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"platform": None}, "policy.platform must name"),
        ({"platform": "aloha"}, "the platform's actions have 14 entries, 'libero_goal' takes 7"),
        ({"platform": "bridge"}, "the platform's state has 7 entries"),
        ({"executes": 9}, "policy.executes must be 1..8"),
        ({"head": "diffusion"}, "no noisy_action_projector--STEP|missing"),
        ({"film": True}, "no vision_backbone--STEP"),
        ({"cameras": ["primary"] * 4}, "one to three cameras"),
    ],
)
def test_a_wrong_setting_of_oft_says_what_is_wrong(
    golden: Path, libero_like: ShapesOnly, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((ConfigError, PolicyError), match=message):
        make_policy(settings("openvla_oft", golden / "openvla_oft_tiny" / "checkpoint", **changes), libero_like)


def test_bad_observations_are_named(policy: Policy, observe: Observe) -> None:
    empty = observe({"primary": np.zeros((0, 0, 3), np.uint8)}, "lift it")
    policy.reset([empty["episode_id"]])
    with pytest.raises(PolicyError, match="image 'primary' must be uint8"):
        policy.act([empty])
    silent = observe({"primary": np.zeros((256, 256, 3), np.uint8)}, " ")
    with pytest.raises(PolicyError, match="the instruction is empty"):
        policy.act([silent])


def test_an_action_that_is_not_finite_is_caught_before_the_gripper_rule(
    golden: Path, libero_like: ShapesOnly, observe: Observe, tmp_path: Path
) -> None:
    folder = golden / "openvla_oft_tiny" / "checkpoint"
    for file in folder.glob("*.pt"):
        weights = torch.load(file, weights_only=True)
        torch.save(
            {name: torch.full_like(w, float("nan")) if "fc2" in name else w for name, w in weights.items()}, tmp_path / file.name
        )
    policy = make_policy(settings("openvla_oft", folder, components=str(tmp_path)), libero_like)
    observation = observe(dict.fromkeys(("primary", "wrist"), np.zeros((256, 256, 3), np.uint8)), "lift it")
    policy.reset([observation["episode_id"]])
    with pytest.raises(PolicyError, match=r"episode libero_goal/task_0/0/0 at step 0 is not finite: \[nan"):
        policy.act([observation])


def test_weights_that_do_not_fit_are_all_named(broken: Path, libero_like: ShapesOnly) -> None:
    weights = load_file(broken / "model.safetensors")
    del weights["projector.fc1.bias"], weights["language_model.model.norm.weight"]
    weights["language_model.model.layers.3.mlp.up_proj.weight"] = torch.zeros(2)
    save_file(weights, broken / "model.safetensors")
    with pytest.raises(PolicyError) as caught:
        make_policy(settings("openvla", broken), libero_like)
    assert "missing (2): language_model.model.norm.weight, projector.fc1.bias" in str(caught.value)
    assert "not part of the network (1): language_model.model.layers.3.mlp.up_proj.weight" in str(caught.value)


def test_random_weights_of_a_named_size_act(libero_like: ShapesOnly) -> None:
    with pytest.raises(ConfigError, match="unknown size of random weights 'openvla-8b'.*openvla-7b"):
        make_policy(settings("openvla", Path("random:openvla-8b"), vision_towers=None), libero_like)


def test_nothing_heavy_is_imported_before_a_policy_is_built() -> None:
    code = (
        "import sys, vlagym.policies.openvla.policy, vlagym.policies.rt1.policy, vlagym.policies.transforms;"
        "print([m for m in ('torch', 'transformers', 'tokenizers', 'PIL', 'safetensors', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
