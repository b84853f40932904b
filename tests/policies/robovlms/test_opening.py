"""Checkpoints as published and converted; what does not fit is refused in a sentence, and nothing in a file is executed."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vlagym.errors import ConfigError, PolicyError
from vlagym.eval.cli import main
from vlagym.policies.robovlms.config import RoboVlmsConfig, read_config
from vlagym.policies.robovlms.convert import convert
from vlagym.policies.robovlms.network import UNUSED
from vlagym.policies.robovlms.opening import find_published, read_pt

from .conftest import Make

Observe = Callable[..., Any]
Edit = Callable[..., Path]
Change = Callable[[dict[str, Any]], Any]


def backbone(file: Path) -> str:
    return str(file.parents[1] / "kosmos-tiny")


def test_conversion_keeps_every_value_and_acts_the_same(
    folder: Path, tmp_path: Path, config: RoboVlmsConfig, make: Make, observe: Observe
) -> None:
    assert convert(str(folder / "ckpt" / "kosmos_ph_tiny.pt"), tmp_path / "out", None, str(folder / "kosmos-tiny")) == config
    assert read_config(tmp_path / "out" / "config.json") == config
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    stored = read_pt(folder / "ckpt" / "kosmos_ph_tiny.pt")
    published = dict(stored.read(stored.shapes))
    converted = load_file(tmp_path / "out" / "model.safetensors")
    assert {*converted, UNUSED} == published.keys()
    assert all(torch.equal(tensor, published[name]) for name, tensor in converted.items())
    observation = observe({"primary": np.full((200, 200, 3), 60, np.uint8), "wrist": np.zeros((84, 84, 3), np.uint8)}, "lift it")
    actions = []
    for checkpoint in (tmp_path / "out", folder / "ckpt" / "kosmos_ph_tiny.pt"):
        policy = make("calvin_abcd_d", checkpoint=str(checkpoint))
        policy.reset([observation["episode_id"]])
        actions.append(policy.act([observation])[0])
    np.testing.assert_array_equal(*actions)


def test_the_command_line_converts(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = [str(folder / "ckpt" / "kosmos_ph_tiny.pt"), str(tmp_path / "out"), "--backbone", str(folder / "kosmos-tiny")]
    assert main(["convert", "robovlms", *source]) == 0
    assert "window of 8 steps, chunks of 10 actions, seeing scene and hand" in capsys.readouterr().out
    assert main(["convert", "robovlms", *source]) == 2
    assert "exists already" in capsys.readouterr().err


def test_the_configuration_of_published_weights_is_found(copied: Path) -> None:
    """As on the hub: weights and configurations in two folders, the post-trained ones under other names."""
    (copied / "checkpoints").mkdir()
    (copied / "configs").mkdir()
    for weights, settings in (
        ("kosmos_ph_calvin_abc", "kosmos_ph_calvin_abc"),
        ("kosmos_ph_bridge-post-train", "kosmos_ph_post_train_bridge"),
        ("kosmos_ph_google-robot-post-train", "kosmos_ph_post_train_google_robot"),
    ):
        (copied / "checkpoints" / f"{weights}.pt").touch()
        with pytest.raises(ConfigError, match=f"{weights}.pt has no configuration: none of .*{weights}.json.* is there"):
            find_published(str(copied / "checkpoints" / f"{weights}.pt"), None, str(copied / "kosmos-tiny"))
        shutil.copyfile(copied / "ckpt" / "kosmos_ph_tiny.json", copied / "configs" / f"{settings}.json")
        found = find_published(str(copied / "checkpoints" / f"{weights}.pt"), None, str(copied / "kosmos-tiny"))
        assert found.settings == copied / "configs" / f"{settings}.json"
    with pytest.raises(ConfigError, match=r"policy.config=gone.json: there is no such file"):
        find_published(str(copied / "ckpt" / "kosmos_ph_tiny.pt"), "gone.json", str(copied / "kosmos-tiny"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"robovlm_name": "RoboPaligemma", "model": "paligemma"}, "another network: robovlm_name is 'RoboPaligemma'.*RoboKosMos"),
        ({"act_head__type": "GPTDecoder"}, "act_head.type is 'GPTDecoder'.* it is 'LSTMDecoder'"),
        ({"act_head__action_space": "discrete"}, "act_head.action_space is 'discrete'"),
        ({"act_head__history_type": "pre"}, "act_head.history_type is 'pre'"),
        ({"act_head": None}, "act_head.type is None"),
        ({"use_vision_resampler": True}, "use_vision_resampler is True"),
        ({"use_mu_law": True}, "use_mu_law is True"),
        ({"action_scale": 2.0}, "action_scale is 2.0"),
        ({"image_size": 336}, "image_size is 336"),
        ({"window_size": None}, "window_size must be a number from 1; got None"),
        ({"window_size": 0}, "window_size must be a number from 1; got 0"),
        ({"window_size": "8"}, "window_size must be a number from 1; got '8'"),
        ({"window_size": 8.5}, "window_size must be a number from 1; got 8.5"),
        ({"exp_name": "calvin_wd-0_ws-16_act-10_abc"}, "contradicts itself: window_size is 8, but its exp_name says 'ws-16'"),
        ({"raw_config_path": "bridge_hist=16_act=10.json"}, "window_size is 8, but its raw_config_path says 'hist=16'"),
        ({"exp_name": "calvin_ws-8_act-5"}, "fwd_pred_next_n is 10, but its exp_name says 'act-5'"),
        ({"use_hand_rgb": "yes"}, "use_hand_rgb must be true or false; got 'yes'"),
        ({"norm_min": None}, r"\(norm_min, norm_max\) must be two rising numbers; got \[None, 0.65\]"),
        ({"norm_min": 1.0}, r"must be two rising numbers; got \[1.0, 0.65\]"),
        ({"act_head__hidden_size": 32}, r"of another shape \(18\): act_head"),
        ({"fwd_pred_next_n": 6}, r"of another shape \(4\): act_head.actions.mlp.6.bias \[60\], not \[36\]"),
    ],
)
def test_a_configuration_of_another_network_is_refused(changes: dict[str, Any], message: str, edited: Edit, make: Make) -> None:
    with pytest.raises((ConfigError, PolicyError), match=message):
        make("calvin_abcd_d", checkpoint=str(edited(**changes)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.update(model_type="llama"), "is of a 'llama'; the backbone must be a Kosmos-2"),
        (lambda config: config["text_config"].update(activation_function="relu"), "it says 'relu' where 'gelu' is expected"),
        (lambda config: config["text_config"].update(layers=3), r"missing \(20\): backbone.text_model.model.layers.2"),
        (lambda config: config["text_config"].update(layers="2"), "text_config has values of the wrong kind: layers='2'"),
        (lambda config: config["vision_config"].update(hidden_size=-1), "vision_config has values of the wrong kind"),
        (lambda config: config.update(text_config=[1]), "text_config must be an object"),
        (lambda config: config.update(latent_query_num=9), r"latent_query \[8, 16\], not \[9, 16\]"),
    ],
)
def test_another_backbone_is_refused(change: Change, message: str, copied: Path, make: Make) -> None:
    file = copied / "kosmos-tiny" / "config.json"
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))
    with pytest.raises((ConfigError, PolicyError), match=message):
        make("calvin_abcd_d", backbone=str(copied / "kosmos-tiny"))


def without_head(checkpoint: dict[str, Any]) -> None:
    weights = checkpoint["state_dict"]
    for name in [name for name in weights if "act_head" in name]:
        del weights[name]


def under_both_names(checkpoint: dict[str, Any]) -> None:
    checkpoint["state_dict"]["action_token"] = torch.zeros(16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_head, r"missing \(32\): act_head.actions.mlp.0.bias"),
        (under_both_names, "both with and without 'model.' before their names"),
        (lambda checkpoint: checkpoint.pop("state_dict"), "holds no state_dict and no model_state_dict"),
        (lambda checkpoint: checkpoint.update(state_dict=[1]), "must hold a state dict"),
        (lambda checkpoint: checkpoint["state_dict"].update({"model.a": 1}), "must hold a state dict"),
        (lambda checkpoint: checkpoint["state_dict"].update({"model.new.weight": torch.zeros(2)}), "not part of .*: new.weight"),
    ],
)
def test_weights_that_do_not_fit_are_named(change: Change, message: str, copied: Path, make: Make) -> None:
    file = copied / "ckpt" / "kosmos_ph_tiny.pt"
    checkpoint = torch.load(file, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, file)
    with pytest.raises(PolicyError, match=message) as raised:
        make("calvin_abcd_d", checkpoint=str(file))
    assert "\n" not in str(raised.value)
    with pytest.raises(PolicyError, match=message):
        convert(str(file), copied / "out", None, backbone(file))
    assert not (copied / "out").exists()


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("form", ["torch", "pickle", "cut", "empty"])
def test_a_file_with_code_in_it_is_refused_and_nothing_is_executed(form: str, copied: Path, make: Make) -> None:
    target, file = copied / "executed", copied / "ckpt" / "kosmos_ph_tiny.pt"
    if form == "torch":
        torch.save({**torch.load(file, weights_only=True), "callbacks": Trap(target)}, file)
    elif form == "pickle":
        file.write_bytes(pickle.dumps({"state_dict": Trap(target)}))
    else:
        file.write_bytes(file.read_bytes()[: 100_000 if form == "cut" else 0])
    with pytest.raises(PolicyError, match="cannot be loaded as plain weights"):
        make("calvin_abcd_d", checkpoint=str(file))
    assert not target.exists()


def test_a_converted_folder_that_is_damaged_is_named(folder: Path, tmp_path: Path, make: Make) -> None:
    out = tmp_path / "out"
    convert(str(folder / "ckpt" / "kosmos_ph_tiny.pt"), out, None, str(folder / "kosmos-tiny"))
    whole = (out / "config.json").read_text()
    for old, new, message in (
        ('"robovlms"', '"rt1"', "does not describe a RoboVLMs"),
        ('"window"', '"windows"', "lacks window"),
        ('"window": 8', '"window": true', "window must be a number from 1; got True"),
        ("-0.65", "0.9", "two rising numbers"),
    ):
        (out / "config.json").write_text(whole.replace(old, new))
        with pytest.raises(PolicyError, match=message):
            make("calvin_abcd_d", checkpoint=str(out))
    (out / "config.json").write_text(whole)
    (out / "tokenizer.json").write_text("{}")
    with pytest.raises(PolicyError, match="tokenizer.json is not a tokenizer"):
        make("calvin_abcd_d", checkpoint=str(out))
    (out / "tokenizer.json").unlink()
    with pytest.raises(PolicyError, match="tokenizer.json is missing"):
        make("calvin_abcd_d", checkpoint=str(out))
