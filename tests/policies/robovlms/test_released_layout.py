"""A checkpoint of the released size, name by name and shape by shape: a .pt without contents, opened as a real one is."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
import torch

from vlagym.errors import PolicyError
from vlagym.policies.robovlms.config import RoboVlmsConfig
from vlagym.policies.robovlms.network import UNUSED, build

PARAMETERS = 1_705_698_374  # 6.82 GB of float32, the size of the files on the hub
BACKBONE = 1_664_485_376


class HeadersOnly:
    """Names and shapes of a released checkpoint; nothing to read."""

    def __init__(self, shapes: Mapping[str, list[int]]) -> None:
        self.shapes = {name.removeprefix("model."): tuple(shape) for name, shape in shapes.items()}
        self.where = "released"

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
        for name in names:
            yield name, torch.empty(self.shapes[name], device="meta")


@pytest.fixture
def released(folder: Path) -> dict[str, list[int]]:
    return dict(json.loads((folder / "released_layout.json").read_text()))


def test_every_weight_of_a_released_checkpoint_has_its_place(released: dict[str, list[int]]) -> None:
    source = HeadersOnly(released)
    assert len(source.shapes) == 919
    network = build(RoboVlmsConfig(), lambda _: source, device=torch.device("meta"), dtype=torch.float32)
    assert {*network.state_dict(), UNUSED} == source.shapes.keys()
    sizes = {name: math.prod(shape) for name, shape in source.shapes.items()}
    assert sum(sizes.values()) - sizes[UNUSED] == PARAMETERS  # the one that is not used is tied to the embeddings
    assert sum(size for name, size in sizes.items() if name.startswith("backbone.") and name != UNUSED) == BACKBONE
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS


def test_a_weight_that_a_released_checkpoint_lacks_is_named(released: dict[str, list[int]]) -> None:
    del released["model.act_head.rnn.weight_hh_l3"]
    with pytest.raises(PolicyError, match=r"missing \(1\): act_head.rnn.weight_hh_l3\.$"):
        build(RoboVlmsConfig(), lambda _: HeadersOnly(released), device=torch.device("meta"), dtype=torch.float32)


def test_a_chunk_of_another_length_is_noticed(released: dict[str, list[int]]) -> None:
    with pytest.raises(PolicyError, match=r"of another shape \(4\): act_head.actions.mlp.6.bias \[60\], not \[36\]"):
        build(RoboVlmsConfig(chunk=6), lambda _: HeadersOnly(released), device=torch.device("meta"), dtype=torch.float32)
