"""Weights from files: what does not fit is named, nothing is executed, nothing is held twice."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks need torch")
safetensors_torch = pytest.importorskip("safetensors.torch", reason="networks need safetensors")

from vlagym.errors import PolicyError  # noqa: E402
from vlagym.policies.network.weights import SafetensorsFolder, StateDict, fill, load_pt  # noqa: E402

CPU = torch.device("cpu")


def empty() -> torch.nn.Module:
    with torch.device("meta"):
        return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))


def weights() -> dict[str, torch.Tensor]:
    return {name: torch.randn(tensor.shape) for name, tensor in empty().state_dict().items()}


def test_a_module_is_filled_and_converted() -> None:
    module, values = empty(), weights()
    fill(module, StateDict(values, "here"), dtype=torch.bfloat16, device=CPU)
    assert torch.equal(module[0].weight, values["0.weight"].bfloat16())
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_all_that_does_not_fit_is_named_in_one_message() -> None:
    values = weights()
    del values["0.bias"], values["1.weight"]
    values |= {"surplus": torch.zeros(1), "1.bias": torch.zeros(5), "known.surplus": torch.zeros(1)}
    with pytest.raises(PolicyError) as caught:
        fill(empty(), StateDict(values, "here"), dtype=torch.float32, device=CPU, unused=lambda name: name.startswith("known"))
    message = str(caught.value)
    assert "missing (2): 0.bias, 1.weight" in message
    assert "not part of the network (1): surplus" in message
    assert "of another shape (1): 1.bias [5], not [2]" in message


def test_shards_are_read_as_one(tmp_path: Path) -> None:
    values = weights()
    shards = {
        "model-00001-of-00002.safetensors": ["0.weight", "1.bias"],
        "model-00002-of-00002.safetensors": ["0.bias", "1.weight"],
    }
    for file, names in shards.items():
        safetensors_torch.save_file({name: values[name] for name in names}, tmp_path / file)
    weight_map = {name: file for file, names in shards.items() for name in names}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    module = empty()
    fill(module, SafetensorsFolder(tmp_path), dtype=torch.float32, device=CPU)
    assert all(torch.equal(module.state_dict()[name], values[name]) for name in values)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    safetensors_torch.save_file(weights(), tmp_path / "model.safetensors")
    whole = (tmp_path / "model.safetensors").read_bytes()
    for length in (len(whole) - 5, 40, 3, 0):
        (tmp_path / "model.safetensors").write_bytes(whole[:length])
        with pytest.raises(PolicyError, match="model.safetensors is damaged or cut short .*fetch the checkpoint again"):
            SafetensorsFolder(tmp_path)


@pytest.mark.parametrize("shard", ["../secret.safetensors", "/etc/secret.safetensors", "gone.safetensors"])
def test_an_index_cannot_leave_its_folder(tmp_path: Path, shard: str) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    safetensors_torch.save_file(weights(), tmp_path / "secret.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"0.weight": shard}}))
    with pytest.raises(PolicyError, match="which is not in"):
        SafetensorsFolder(folder)


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="holds neither model.safetensors nor"):
        SafetensorsFolder(tmp_path)


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_a_pickle_in_a_pt_file_is_not_executed(tmp_path: Path, form: str) -> None:
    target, file = tmp_path / "executed", tmp_path / "action_head--1_checkpoint.pt"
    if form == "torch":
        torch.save({"fc1.weight": Trap(target)}, file)
    else:
        file.write_bytes(pickle.dumps({"fc1.weight": Trap(target)}))
    with pytest.raises(PolicyError, match="which vlagym does not execute") as raised:
        load_pt(file)
    assert "weights_only" not in str(raised.value)  # torch's own message advises to switch it off
    assert not target.exists()


def test_a_pt_file_that_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "a.pt")
    with pytest.raises(PolicyError, match="must hold a state dict"):
        load_pt(tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(PolicyError, match="b.pt cannot be loaded"):
        load_pt(tmp_path / "b.pt")


def test_names_of_data_parallel_training_lose_their_prefix(tmp_path: Path) -> None:
    torch.save({"module.fc1.weight": torch.ones(2)}, tmp_path / "a.pt")
    assert list(load_pt(tmp_path / "a.pt")) == ["fc1.weight"]


def test_a_state_dict_inside_a_training_checkpoint_is_found(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "shapes": {torch.Size([2])}, "model_state_dict": {"fc1.weight": torch.ones(2)}}, tmp_path / "a.pt")
    assert list(load_pt(tmp_path / "a.pt", ("state_dict", "model_state_dict"))) == ["fc1.weight"]
    with pytest.raises(PolicyError, match="holds no weights and no network"):
        load_pt(tmp_path / "a.pt", ("weights", "network"))


def test_numbers_survive_the_way_through_a_file(tmp_path: Path) -> None:
    values = {"0.weight": torch.from_numpy(np.arange(12, dtype=np.float32).reshape(4, 3))}
    safetensors_torch.save_file(values, tmp_path / "model.safetensors")
    [(name, read)] = list(SafetensorsFolder(tmp_path).read(["0.weight"]))
    assert name == "0.weight"
    assert torch.equal(read, values["0.weight"])
