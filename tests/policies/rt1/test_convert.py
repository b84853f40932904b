"""Official TensorFlow checkpoints become ours without TensorFlow; what does not fit is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from vlagym.errors import ConfigError, PolicyError
from vlagym.eval.cli import main
from vlagym.policies.rt1.config import ACTION_PARTS, Rt1Config
from vlagym.policies.rt1.convert import convert
from vlagym.policies.rt1.naming import official_variables
from vlagym.policies.rt1.policy_specs import read_action_parts
from vlagym.policies.rt1.tf_checkpoint import TensorBundle

from .conftest import TINY


@pytest.fixture
def saved_model(folder: Path, tmp_path: Path) -> Path:
    """A copy of the exported policy, to be broken."""
    copied = tmp_path / "saved_model"
    shutil.copytree(folder / "tiny_tf_saved_model", copied, copy_function=shutil.copyfile)
    for path in (copied, *copied.rglob("*")):
        path.chmod(0o755)
    return copied


def index_of(folder: Path) -> Path:
    return folder / "variables" / "variables.index"


def test_an_exported_policy_is_read_without_tensorflow(folder: Path, tiny_values: dict[str, np.ndarray]) -> None:
    bundle = TensorBundle(index_of(folder / "tiny_tf_saved_model"))
    order = json.loads((folder / "tiny_module_variable_order.json").read_text())
    names = bundle.variable_names()
    for entry in order:
        np.testing.assert_array_equal(bundle.read(entry["checkpoint_key"]), tiny_values[entry["name"]])
        assert names[entry["checkpoint_key"]] == entry["full_name_in_object_graph"]


def test_conversion_keeps_every_value(folder: Path, tiny_values: dict[str, np.ndarray], tmp_path: Path) -> None:
    config = convert(folder / "tiny_tf_saved_model", tmp_path / "out", 0.25, 0.4)
    assert (config.layers, config.heads, config.key_size, config.model_size, config.window) == (2, 3, 24, 64, 6)
    assert Rt1Config.read(tmp_path / "out" / "config.json") == config
    converted = load_file(tmp_path / "out" / "model.safetensors")
    variables = [variable for variable in official_variables(TINY) if variable.ours]
    assert converted.keys() == {variable.ours for variable in variables}
    for variable in variables:
        np.testing.assert_array_equal(converted[str(variable.ours)], variable.convert(tiny_values[variable.official]))


def test_the_command_line_converts(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(folder / "tiny_tf_saved_model"), str(tmp_path / "out"), "--encoder-width", "0.25", "--encoder-depth", "0.4"]
    assert main(["convert", "rt1", *arguments]) == 0
    assert "RT-1 with 2 layers of 64, window 6" in capsys.readouterr().out
    assert main(["convert", "rt1", *arguments]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("policy", ["rt1main", "rt1simreal"])
def test_published_policies_have_the_variables_we_expect(folder: Path, policy: str) -> None:
    published = json.loads((folder / "official_checkpoint_index.json").read_text())
    ours = {variable.official: list(variable.shape) for variable in official_variables(Rt1Config())}
    named = {
        key.removeprefix("agent/_actor_network/").removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"): shape
        for key, shape in published[f"{policy}/ckpt (optimizer slots left out)"].items()
        if key.startswith("agent/")
    }
    assert named == ours
    numbered = {int(key.split("/")[1]): shape for key, shape in published[policy].items() if key.startswith("model_variables/")}
    assert [numbered[number] for number in sorted(numbered)] == list(ours.values())


def test_the_published_multi_robot_policy_has_the_variables_we_expect(folder: Path) -> None:
    published = json.loads((folder / "official_checkpoint_index.json").read_text())["rt1multirobot"]
    numbered = {int(key.split("/")[1]): shape for key, shape in published.items() if key.startswith("model_variables/")}
    config = Rt1Config(layers=10, key_size=256, model_size=1024)
    assert [numbered[number] for number in sorted(numbered)] == [list(variable.shape) for variable in official_variables(config)]


def test_published_specifications_say_what_actions_mean(folder: Path) -> None:
    parts = read_action_parts(folder / "official_rt1main_policy_specs.pbtxt")
    spec = json.loads((folder / "action_spec.json").read_text())
    assert [part.name for part in parts] == spec["action_order"]
    for part in parts:
        expected = spec["spec"][part.name]
        assert (part.low, part.high, part.size) == (expected["minimum"], expected["maximum"], expected["shape"][0])
        assert part.discrete == (expected["dtype"] == "int32")


def test_other_bounds_are_read_not_assumed(saved_model: Path, tmp_path: Path) -> None:
    specs = saved_model / "policy_specs.pbtxt"
    text = specs.read_text()
    at = text.index('name: "world_vector"')
    specs.write_text(
        text[:at] + text[at:].replace("float_val: 1.0", "float_val: 2.0", 1).replace("float_val: -1.0", "float_val: -2.0", 1)
    )
    config = convert(saved_model, tmp_path / "out", 0.25, 0.4)
    assert (config.action[1].name, config.action[1].low, config.action[1].high) == ("world_vector", -2.0, 2.0)
    assert config.detokenize(np.full(11, 255))["world_vector"].tolist() == [2.0] * 3


def test_another_encoder_is_noticed(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="holds 285 variables; an RT-1 with this encoder has 634 and 14 for each further"):
        convert(folder / "tiny_tf_saved_model", tmp_path / "out")
    with pytest.raises(PolicyError, match=r"of another shape \(\d+\): .*conv1x1/kernel \[1, 1, 320, 512\], not"):
        convert(folder / "tiny_tf_saved_model", tmp_path / "out", 0.5, 0.4)
    assert not (tmp_path / "out").exists()


def test_a_cut_or_missing_file_is_named(saved_model: Path, tmp_path: Path) -> None:
    index = index_of(saved_model)
    whole = index.read_bytes()
    for damaged in (whole[:-20], whole[: len(whole) // 2], b"", whole[:40] + b"\xff" * 60 + whole[100:]):
        index.write_bytes(damaged)
        with pytest.raises(
            PolicyError, match=r"variables.index is not the index of a TensorFlow checkpoint|lies beyond|lists its|holds"
        ):
            convert(saved_model, tmp_path / "out", 0.25, 0.4)
    index.write_bytes(whole)
    data = index.with_name("variables.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(PolicyError, match="lies beyond the data files"):
        convert(saved_model, tmp_path / "out", 0.25, 0.4)
    data.unlink()
    with pytest.raises(PolicyError, match="one is missing or cut short"):
        convert(saved_model, tmp_path / "out", 0.25, 0.4)
    index.unlink()
    with pytest.raises(ConfigError, match="no TensorFlow checkpoint there"):
        convert(saved_model, tmp_path / "out", 0.25, 0.4)


def test_missing_or_foreign_specifications_are_named(saved_model: Path, tmp_path: Path) -> None:
    specs = saved_model / "policy_specs.pbtxt"
    text = specs.read_text()
    specs.write_text(text.replace('"gripper_closedness_action"', '"claw"'))
    with pytest.raises(PolicyError, match="describes the actions .*claw.*an RT-1 has"):
        convert(saved_model, tmp_path / "out", 0.25, 0.4)
    specs.write_text(text[: len(text) // 2])
    with pytest.raises(PolicyError, match="is not a policy specification"):
        convert(saved_model, tmp_path / "out", 0.25, 0.4)
    specs.unlink()
    with pytest.raises(PolicyError, match="policy_specs.pbtxt is missing.*nothing says what the actions mean"):
        convert(saved_model, tmp_path / "out", 0.25, 0.4)


def test_a_description_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"model_type": "openvla"}')
    with pytest.raises(PolicyError, match="does not describe an RT-1"):
        Rt1Config.read(file)
    Rt1Config().write(file)
    assert Rt1Config.read(file).action == ACTION_PARTS
    file.write_text(file.read_text().replace('"layers"', '"depth"'))
    with pytest.raises(PolicyError, match="layers is missing"):
        Rt1Config.read(file)
