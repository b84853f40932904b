"""What a LoRA fine-tune leaves: merged as PEFT merges, or refused by the file's name; no part of it is silently left out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from shapes_only import ShapesOnly

from vlagym.errors import ConfigError, PolicyError, VlagymError
from vlagym.policies.base import PolicyObservation
from vlagym.policies.network.lora import Merged, read_adapter
from vlagym.policies.network.weights import SafetensorsFolder
from vlagym.policies.registry import make_policy

from .conftest import edit_json
from .test_policy import settings

RANK, ALPHA = 4, 6
TUNED = ("language_model.model.layers.0.self_attn.q_proj", "vision_backbone.featurizer.blocks.0.attn.qkv", "projector.fc2")


@pytest.fixture(params=["openvla", "openvla_oft"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def base(golden: Path, kind: str) -> Path:
    return golden / f"{kind}_tiny" / "checkpoint"


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in sorted(folder.glob("model*.safetensors")) for name, tensor in load_file(file).items()}


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    """An adapter alone, as ``PeftModel.save_pretrained`` writes it."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for module, weight in ((module, weights_of(base)[f"{module}.weight"]) for module in TUNED):
        tensors[f"base_model.model.{module}.lora_A.weight"] = torch.randn(RANK, weight.shape[1], generator=generator)
        tensors[f"base_model.model.{module}.lora_B.weight"] = 0.05 * torch.randn(weight.shape[0], RANK, generator=generator)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "base_model_name_or_path": str(base), "r": RANK, "lora_alpha": ALPHA, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config | {"init_lora_weights": "gaussian", "lora_dropout": 0.0}))
    return folder


@pytest.fixture
def merged(base: Path, adapter: Path, tmp_path: Path) -> Path:
    """The checkpoint that merging by hand gives: W + alpha / r * B A, in the weights' own dtype."""
    folder = tmp_path / "merged"
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns("model*"))
    for file in (folder, *folder.iterdir()):
        file.chmod(0o755)
    tensors, low_rank = weights_of(base), load_file(adapter / "adapter_model.safetensors")
    for module in TUNED:
        down, up = (low_rank[f"base_model.model.{module}.lora_{side}.weight"] for side in "AB")
        weight = tensors[f"{module}.weight"]
        tensors[f"{module}.weight"] = (weight.float() + (ALPHA / RANK) * (up @ down)).to(weight.dtype)
        assert not torch.equal(tensors[f"{module}.weight"], weight)
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture
def oft_run(golden: Path, adapter: Path, tmp_path: Path) -> Path:
    """What OpenVLA-OFT's training leaves unmerged: heads, statistics and processor around a folder lora_adapter."""
    folder = tmp_path / "oft_run"
    source = golden / "openvla_oft_tiny" / "checkpoint"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("model*", "config.json"))
    for file in (folder, *folder.iterdir()):
        file.chmod(0o755)
    shutil.copytree(adapter, folder / "lora_adapter")
    statistics = json.loads((folder / "dataset_statistics.json").read_text())
    (folder / "dataset_statistics.json").write_text(json.dumps({"libero_goal": statistics["libero_goal"]}))
    return folder


Act = Callable[..., np.ndarray]


@pytest.fixture
def act(libero_like: ShapesOnly, observe: Callable[..., PolicyObservation], kind: str) -> Act:
    """The actions of a policy made from a folder, on an image of noise."""

    def actions(folder: Path, **changes: Any) -> np.ndarray:
        policy = make_policy(settings(kind, folder, **changes), libero_like)
        image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
        observation = observe({"primary": image, "wrist": image[::-1]}, "lift the bowl", state=np.zeros(8, np.float32))
        policy.reset([observation["episode_id"]])
        chunk = policy.act([observation])[0]
        policy.close()
        return chunk

    return actions


def test_merging_on_loading_gives_the_merged_checkpoint(base: Path, adapter: Path, merged: Path) -> None:
    ours = dict(Merged(SafetensorsFolder(base), read_adapter(adapter)).read(weights_of(base)))
    theirs = weights_of(merged)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) and ours[name].dtype == theirs[name].dtype for name in theirs)


def test_an_adapter_alone_finds_its_base_and_acts_as_the_merged_checkpoint(
    base: Path, adapter: Path, merged: Path, act: Act, kind: str
) -> None:
    heads = {"components": str(copied_heads(base, adapter.parent / "heads"))} if kind == "openvla_oft" else {}
    tuned = act(adapter, **heads)
    np.testing.assert_array_equal(tuned, act(merged))
    if kind == "openvla_oft":
        assert not np.array_equal(tuned, act(base))


def copied_heads(source: Path, folder: Path) -> Path:
    folder.mkdir()
    for file in source.glob("*_checkpoint.pt"):
        shutil.copy(file, folder)
    return folder


@pytest.mark.parametrize("kind", ["openvla_oft"], indirect=True)
def test_a_run_that_nobody_merged_brings_adapter_heads_and_statistics(
    oft_run: Path, merged: Path, act: Act, libero_like: ShapesOnly, base: Path
) -> None:
    np.testing.assert_array_equal(act(oft_run), act(merged))
    policy = make_policy(settings("openvla_oft", oft_run), libero_like)
    record = policy.provenance()
    assert record["base"] == str(base)
    assert {"checkpoint_sha256", "adapter_sha256", "base_sha256"} <= record.keys()
    policy.close()


@pytest.mark.parametrize("kind", ["openvla_oft"], indirect=True)
def test_heads_of_a_run_are_not_used_without_its_adapter(oft_run: Path, base: Path, libero_like: ShapesOnly) -> None:
    with pytest.raises(ConfigError, match=rf"lora_adapter was trained together with the components.*policy.checkpoint={oft_run}"):
        make_policy(settings("openvla_oft", base, components=str(oft_run)), libero_like)
    shutil.rmtree(oft_run / "lora_adapter")
    with pytest.raises(ConfigError, match=rf"{oft_run}/dataset_statistics.json was trained together"):
        make_policy(settings("openvla_oft", base, components=str(oft_run)), libero_like)


@pytest.mark.parametrize("kind", ["openvla_oft"], indirect=True)
def test_weights_beside_lora_adapter_are_merged_ones(oft_run: Path, merged: Path, base: Path, act: Act) -> None:
    shutil.copy(base / "config.json", oft_run)
    shutil.copy(merged / "model.safetensors", oft_run)
    np.testing.assert_array_equal(act(oft_run), act(merged))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_dora": True}, "use_dora=True, which is not merged here"),
        ({"bias": "all"}, "bias='all'"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa'"),
        ({"peft_type": "IA3"}, "type 'IA3'; only LORA"),
        ({"base_model_name_or_path": None}, "does not name the checkpoint that the adapter tunes; give it as policy.base"),
        ({"base_model_name_or_path": "/of/the training/machine"}, "tunes /of/the training/machine, which is not here"),
        ({"r": 8}, "at rank 8: it belongs to another base"),
        ({"lora_alpha": None}, "lacks or garbles 'lora_alpha'"),
    ],
)
@pytest.mark.parametrize("kind", ["openvla"], indirect=True)
def test_an_adapter_that_cannot_be_merged_is_refused(
    adapter: Path, libero_like: ShapesOnly, changes: dict[str, Any], message: str
) -> None:
    edit_json(adapter / "adapter_config.json", **changes)
    with pytest.raises(VlagymError, match=message):
        make_policy(settings("openvla", adapter), libero_like)


@pytest.mark.parametrize("kind", ["openvla"], indirect=True)
def test_an_adapters_base_can_be_named(adapter: Path, base: Path, merged: Path, act: Act) -> None:
    edit_json(adapter / "adapter_config.json", base_model_name_or_path="/of/the training/machine")
    np.testing.assert_array_equal(act(adapter, base=str(base)), act(merged))


@pytest.mark.parametrize("kind", ["openvla"], indirect=True)
def test_an_adapter_of_other_modules_is_refused(adapter: Path, libero_like: ShapesOnly) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    for name, message in (
        ("base_model.model.other.lora_A.weight", "has only one of lora_A and lora_B for other.weight"),
        ("base_model.model.lm_head.weight", "holds 'base_model.model.lm_head.weight', which is no part of a LoRA"),
    ):
        save_file({**tensors, name: torch.zeros(RANK, 3)}, adapter / "adapter_model.safetensors")
        with pytest.raises(PolicyError, match=message):
            make_policy(settings("openvla", adapter), libero_like)


@pytest.mark.parametrize(
    ("changes", "file", "setting"),
    [
        ({"proprio": False}, "proprio_projector--50000_checkpoint.pt", "policy.proprio=true"),
        ({"head": "discrete"}, "action_head--50000_checkpoint.pt", "policy.head=l1"),
    ],
)
@pytest.mark.parametrize("kind", ["openvla_oft"], indirect=True)
def test_a_component_that_would_be_left_out_is_named(
    base: Path, libero_like: ShapesOnly, changes: dict[str, Any], file: str, setting: str
) -> None:
    with pytest.raises(ConfigError, match=rf"{file} is part of this checkpoint and would not be used.*{setting}"):
        make_policy(settings("openvla_oft", base, **changes), libero_like)


@pytest.mark.parametrize("kind", ["openvla_oft"], indirect=True)
def test_openvla_does_not_take_openvla_ofts_checkpoint(base: Path, libero_like: ShapesOnly) -> None:
    recipe = settings("openvla_oft", base)["vision_towers"]
    with pytest.raises(ConfigError, match=r"action_head--50000_checkpoint.pt is part of.*policy=openvla_oft"):
        make_policy(settings("openvla", base, vision_towers=recipe), libero_like)
