"""The files of the official 7B checkpoint, name by name and shape by shape: three shards without contents, opened as a real one is.

Names are those that upstream wrote for its tiny network, counted up to the official depths; shapes follow from the official widths.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra openvla")
pytest.importorskip("transformers", reason="needs the extra openvla")

from vlagym.errors import PolicyError  # noqa: E402
from vlagym.policies.network.weights import SafetensorsFolder  # noqa: E402
from vlagym.policies.openvla.config import read_config  # noqa: E402
from vlagym.policies.openvla.loading import build  # noqa: E402

# Part of the network -> how many blocks it has, and what its widths are instead of the tiny network's.
OFFICIAL = {
    "vision_backbone.featurizer.": (24, {48: 1024, 144: 3 * 1024, 192: 4096}),
    "vision_backbone.fused_featurizer.": (27, {40: 1152, 80: 2 * 1152, 120: 3 * 1152, 149: 4304}),
    "projector.": (0, {48: 4096, 88: 1024 + 1152, 352: 4 * (1024 + 1152)}),
    "language_model.": (32, {48: 4096, 128: 11008}),
}
PARAMETERS = 7_541_237_184
SHARDS = 3
BLOCK = re.compile(r"(blocks|layers)\.0\.")


class HeadersOnly(SafetensorsFolder):
    """Names and shapes from the files; their contents, which are holes, are left alone."""

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
        for name in names:
            yield name, torch.empty(self.shapes[name], dtype=torch.bfloat16, device="meta")


def official_shapes(tiny: dict[str, list[int]]) -> Iterator[tuple[str, list[int]]]:
    for name, shape in tiny.items():
        depth, widths = next(value for prefix, value in OFFICIAL.items() if name.startswith(prefix))
        wide = [widths.get(size, size) for size in shape]
        if BLOCK.search(name):
            for block in range(depth):
                yield BLOCK.sub(rf"\g<1>.{block}.", name), wide
        elif not re.search(r"(blocks|layers)\.\d", name):
            yield name, wide


def write_shard(file: Path, shapes: dict[str, list[int]]) -> None:
    """A safetensors file in bfloat16 whose contents are a hole."""
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    encoded = json.dumps(header).encode()
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", len(encoded)) + encoded)
        opened.truncate(8 + len(encoded) + end)


@pytest.fixture
def write(golden: Path, tmp_path: Path) -> Callable[..., Path]:
    tiny = golden / "openvla_tiny"
    shapes = dict(official_shapes(json.loads((tiny / "weight_names_shapes.json").read_text())))

    def write(without: str | None = None) -> Path:
        kept = [name for name in shapes if name != without]
        files = [f"model-0000{shard + 1}-of-0000{SHARDS}.safetensors" for shard in range(SHARDS)]
        file_of = {name: files[index * SHARDS // len(kept)] for index, name in enumerate(kept)}
        for file in files:
            write_shard(tmp_path / file, {name: shapes[name] for name in kept if file_of[name] == file})
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": file_of}))
        config = json.loads((tiny / "checkpoint" / "config.json").read_text())
        config["text_config"] = {"model_type": "llama", "pad_token_id": 32000, "torch_dtype": "bfloat16", "vocab_size": 32064}
        (tmp_path / "config.json").write_text(json.dumps(config))
        preprocessor = (tiny / "checkpoint" / "preprocessor_config.json").read_text()
        (tmp_path / "preprocessor_config.json").write_text(preprocessor)
        return tmp_path

    return write


def test_every_weight_of_the_official_checkpoint_has_its_place(write: Callable[..., Path]) -> None:
    folder = write()
    source = HeadersOnly(folder)
    assert sum(math.prod(shape) for shape in source.shapes.values()) == PARAMETERS
    model = build(read_config(folder), lambda module: source, device=torch.device("meta"), dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model.language_model.lm_head.weight.shape == (32064, 4096)


def test_a_weight_that_the_official_checkpoint_lacks_is_named(write: Callable[..., Path]) -> None:
    folder = write(without="language_model.model.layers.31.mlp.down_proj.weight")
    with pytest.raises(PolicyError, match=r"missing \(1\): language_model.model.layers.31.mlp.down_proj.weight\.$"):
        build(read_config(folder), lambda module: HeadersOnly(folder), device=torch.device("meta"), dtype=torch.bfloat16)
