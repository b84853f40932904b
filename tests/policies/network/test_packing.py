"""Packed linear layers: the same numbers from another layout of the weights."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra openvla")
pytest.importorskip("safetensors", reason="needs the extra openvla")

from vlagym.policies.network.packing import PackedLinear, can_pack, describe_weights, expect_packed  # noqa: E402
from vlagym.policies.network.weights import StateDict, fill  # noqa: E402

CPU = torch.device("cpu")
needs_packing = pytest.mark.skipif(not can_pack(CPU, torch.float32), reason="this machine's torch has no packed linear layers")


def network(bias: bool = True) -> torch.nn.Module:
    """Linear layers at two depths, and a layer that is none."""
    inner = torch.nn.ModuleDict({"linear": torch.nn.Linear(149, 83, bias=bias)})
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), inner, torch.nn.Linear(149, 1024, bias=bias))


def packed_copy(plain: torch.nn.Module, bias: bool = True) -> torch.nn.Module:
    """The same network with packed weights."""
    with torch.device("meta"):
        packed = network(bias)
    expect_packed(packed)
    fill(packed, StateDict(plain.state_dict(), "memory"), dtype=torch.float32, device=CPU)
    return packed


@needs_packing
@pytest.mark.parametrize("rows", [(1,), (2, 7), (280,), (3, 281)])
@pytest.mark.parametrize("bias", [True, False])
def test_packed_layers_give_the_numbers_of_plain_ones(rows: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    plain = network(bias)
    packed = packed_copy(plain, bias)
    x = torch.randn(*rows, 149)
    with torch.inference_mode():
        for name in ("1.linear", "2"):
            torch.testing.assert_close(packed.get_submodule(name)(x), plain.get_submodule(name)(x), rtol=1e-5, atol=1e-5)


@needs_packing
def test_every_linear_layer_of_a_network_is_packed_and_nothing_else() -> None:
    plain = network()
    packed = packed_copy(plain)
    assert [name for name, inner in packed.named_modules() if isinstance(inner, PackedLinear)] == ["1.linear", "2"]
    assert type(packed[0]) is torch.nn.Conv2d
    weight_bytes = 4 * (3 * 4 + 4 + 149 * 83 + 83 + 149 * 1024 + 1024)
    assert describe_weights(plain) == {"weight_bytes": weight_bytes, "linear_layers": "torch"}
    assert describe_weights(packed) == {"weight_bytes": weight_bytes, "linear_layers": "oneDNN, packed"}


def test_only_what_a_cpu_computes_is_packed() -> None:
    assert not can_pack(torch.device("cuda"), torch.float32)
    assert not can_pack(CPU, torch.float64)
