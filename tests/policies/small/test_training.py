"""The scripts that the small policy was trained with go from nothing to checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from vlagym.policies.small.network import read_checkpoint

TRAINING = Path(__file__).parents[3] / "examples" / "train_small_policy"
SCRIPTS = ("network", "record", "train")


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are imported as when one of them is run."""
    pytest.importorskip("torch", reason="training needs torch")
    monkeypatch.syspath_prepend(str(TRAINING))
    for name in SCRIPTS:
        monkeypatch.delitem(sys.modules, name, raising=False)


def run(script: ModuleType, arguments: Sequence[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(script.__file__), *map(str, arguments)])
    script.main()


def test_from_nothing_to_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import record
    import train

    monkeypatch.setattr(record, "MOMENTS", {"lift": 2})
    monkeypatch.setattr(train, "BATCH", 4)
    demonstrations, trained = tmp_path / "demonstrations", tmp_path / "trained"
    run(record, [demonstrations, "lift", "--episodes", 1, "--seed", 0], monkeypatch)
    (file,) = demonstrations.iterdir()
    with np.load(file) as episode:
        assert str(episode["instruction"]) == "lift the red cube"
        assert episode["images"].shape == (2, 2, 64, 64, 3)
        assert episode["images"].std(axis=(2, 3, 4)).min() > 10  # there is something to see
        assert episode["actions"].shape == (2, record.CHUNK, 7)
        assert np.abs(episode["actions"][0, 0, :3]).max() > 0.1  # the expert moves
        assert episode["given"][0].all()
    run(train, [demonstrations, trained, "--steps", 20, "--seed", 0], monkeypatch)
    networks = [read_checkpoint(trained / f"{length}.npz") for length in ("short", "middle", "long")]
    assert [network.config.steps for network in networks] == [2, 6, 20]


def test_the_network_that_is_trained_is_the_one_that_acts(tmp_path: Path) -> None:
    import torch
    from network import SmallNetwork as Trained
    from train import bags, write

    torch.manual_seed(0)
    words = ["cube", "lift", "red", "the"]
    trained = Trained(words, state_size=11, chunk=8)
    trained.state_mean.uniform_(-1, 1)
    write(trained, tmp_path / "new.npz", {"steps": 0, "seed": 0, "moments": 0})
    draw = np.random.default_rng(0)
    images, state = draw.integers(0, 256, (2, 64, 64, 3), np.uint8), draw.standard_normal(11).astype(np.float32)
    with torch.no_grad():
        expected = trained(*map(torch.from_numpy, (images[None], state[None], bags(["lift the red cube"], words))))[0]
        expected[:, 6] = torch.sigmoid(expected[:, 6])
    chunk = read_checkpoint(tmp_path / "new.npz")(list(images), state, "lift the red cube")
    np.testing.assert_allclose(chunk, expected.numpy(), rtol=0, atol=1e-5)
