"""Checkpoints in other people's layouts: what they are and the next step, in one line that can be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from vlagym.envs.registry import make_suite
from vlagym.errors import VlagymError
from vlagym.eval.plan.config import load_config
from vlagym.policies.registry import check_policy_settings, make_policy

safetensors = pytest.importorskip("safetensors.torch", reason="needs the extra openvla")


@pytest.fixture
def checkpoint(golden: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint."""
    return Path(shutil.copytree(golden / "openvla_tiny" / "checkpoint", tmp_path / "openvla-tiny"))


def refusal(checkpoint: Path, at_once: bool = True) -> str:
    """What the policy says of a checkpoint, with the settings a user would type."""
    towers = "policy.vision_towers=[{embed_dim: 48, depth: 4, heads: 3}, {embed_dim: 40, depth: 3, heads: 2}]"
    [leg] = load_config(["suite=libero_goal", "policy=openvla", f"policy.checkpoint={checkpoint}", towers]).legs
    suite = make_suite(leg.suite)
    with pytest.raises(VlagymError) as made:
        make_policy(leg.policy, suite)
    said = str(made.value)
    if at_once:
        with pytest.raises(VlagymError) as checked:
            check_policy_settings(leg.policy, suite)
        assert str(checked.value) == said, "known before the first episode"
    assert "\n" not in said
    assert len(said) < 700, "a line, not a page"
    return said


def test_a_run_folder_of_the_prismatic_code_is_recognised(tmp_path: Path) -> None:
    run = tmp_path / "prism-dinosiglip-224px+mx-libero"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "step-080000-epoch-09-loss=0.0987.pt").write_bytes(b"PK")
    (run / "config.json").write_text(json.dumps({"model": {"model_id": "prism"}}))
    assert "run folder of the prismatic training code" in refusal(run)
    assert "convert_openvla_weights_to_hf.py" in refusal(run)
    assert "run folder of the prismatic training code" in refusal(run / "checkpoints")


def test_weights_that_are_pickled_are_named_with_the_way_to_safetensors(checkpoint: Path) -> None:
    for file in checkpoint.glob("*.safetensors*"):
        file.unlink()
    (checkpoint / "pytorch_model-00001-of-00002.bin").write_bytes(b"PK")
    said = refusal(checkpoint)
    assert "pytorch_model-00001-of-00002.bin, which may hold Python objects and is not read" in said
    assert "safe_serialization=True" in said


def test_a_saved_model_is_sent_to_the_converter(tmp_path: Path) -> None:
    saved = tmp_path / "rt_1_x_tf"
    (saved / "variables").mkdir(parents=True)
    (saved / "saved_model.pb").write_bytes(b"")
    assert f"`vla-eval convert rt1 {saved} OUT`" in refusal(saved)


@pytest.mark.parametrize("wrapper", ["module.", "model.", "_orig_mod."])
def test_names_with_a_wrapper_in_front_are_recognised(checkpoint: Path, wrapper: str) -> None:
    index = checkpoint / "model.safetensors.index.json"
    for file in checkpoint.glob("*.safetensors"):
        tensors = safetensors.load_file(file)
        safetensors.save_file({wrapper + name: tensor for name, tensor in tensors.items()}, file)
    if index.is_file():
        content = json.loads(index.read_text())
        content["weight_map"] = {wrapper + name: file for name, file in content["weight_map"].items()}
        index.write_text(json.dumps(content))
    assert f"is called {wrapper}NAME: what was saved is a wrapper around the network" in refusal(checkpoint, at_once=False)


def test_a_mistyped_path_offers_its_neighbour_and_is_not_looked_for_on_the_hub(checkpoint: Path) -> None:
    assert f"Did you mean {checkpoint}?" in refusal(checkpoint.with_name("openvla-tinny"))


def test_a_folder_of_checkpoints_names_them(checkpoint: Path, tmp_path: Path) -> None:
    assert "give one of them: openvla-tiny" in refusal(tmp_path)
