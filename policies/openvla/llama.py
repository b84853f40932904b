"""The Llama in fixed shapes: transformers' weights and arithmetic, over a cache whose size never changes.

transformers' own forward pass decides anew in every call what to compute, and launches some forty kernels per layer. Here a pass
is the same every time, so that it can be replayed as a CUDA graph; on a GPU products that read the same input are one product, and
what lies between products is one kernel each (`kernels`), with the roundings of the functions here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

Linear = Callable[[torch.Tensor], torch.Tensor]


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Root-mean-square normalisation, computed in float32: [..., D] -> [..., D]."""
    wide = x.to(torch.float32)
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return weight * wide.to(x.dtype)


def add_rms_norm(x: torch.Tensor, delta: torch.Tensor, weight: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of two [..., D], and its normalisation."""
    x = x + delta
    return x, rms_norm(x, weight, eps)


def rotate_into(qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Split a joint projection, rotate queries and keys by their positions, and store keys and values.

    Args:
        qkv: [B, N, (H + 2 K) * d].
        cos: [B or 1, N, d].
        sin: Likewise.
        keys: [B, N, K, d], written.
        values: Likewise.

    Returns:
        The queries [B, N, H, d].
    """
    batch, count, stored, size = keys.shape
    parts = qkv.view(batch, count, -1, size)
    turning, kept = parts[:, :, :-stored], parts[:, :, -stored:]
    first, second = turning.chunk(2, dim=-1)
    turned = turning * cos[:, :, None] + torch.cat((-second, first), dim=-1) * sin[:, :, None]
    keys.copy_(turned[:, :, -stored:])
    values.copy_(kept)
    return turned[:, :, :-stored]


def gated(gate_up: torch.Tensor) -> torch.Tensor:
    """SwiGLU's product: [..., 2 M] -> [..., M]."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


def attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Attention, causal without a mask: [B, S, H, d] to [B, N, K, d] -> [B, S, H * d]."""
    batch, count, heads, _ = queries.shape
    q, k, v = queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2)
    expanded = None if mask is None else mask.expand(batch, heads, count, -1)
    attended = F.scaled_dot_product_attention(
        q, k, v, attn_mask=expanded, is_causal=mask is None, enable_gqa=heads != keys.shape[2]
    )
    return attended.transpose(1, 2).reshape(batch, count, -1)


class KeyValues:
    """Keys and values of every layer, [layers, B, columns, K, d] each."""

    def __init__(self, layers: int, rows: int, columns: int, heads: int, like: torch.Tensor) -> None:
        size = (layers, rows, columns, heads, like.shape[-1])
        # Zeros, for what is hidden is still multiplied by zero.
        self._keys, self._values = like.new_zeros(size), like.new_zeros(size)

    def of(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Of a layer; where there is room for one alone, of the last that was computed."""
        index = layer % len(self._keys)
        return self._keys[index], self._values[index]


@dataclass(frozen=True)
class Wanted:
    """Whose states are wanted of the last layer: the rest of it is not computed.

    Attributes:
        positions: int64[B, S].
        mask: Added to their attention scores, [B, 1, 1, N].
    """

    positions: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True)
class _Layer:
    norm: torch.Tensor
    qkv: Linear
    output: Linear
    mlp_norm: torch.Tensor
    gate_up: Linear
    down: Linear


class LlamaLayers:
    """The layers of a `transformers.LlamaModel`, between embeddings and the final normalised states.

    Args:
        llama: The model with its weights. With `fused` its projections become views of joint ones; they keep names and values.
        fused: Join products, and use `kernels` between them; on a GPU with Triton.
    """

    def __init__(self, llama: Any, fused: bool) -> None:
        config: Any = llama.config
        self.count = int(config.num_hidden_layers)
        self.heads, self.stored_heads = int(config.num_attention_heads), int(config.num_key_value_heads)
        self._eps = float(config.rms_norm_eps)
        self._final_norm: torch.Tensor = llama.norm.weight
        self._layers = [_layer(layer, fused) for layer in llama.layers]
        self._between = _kernels() if fused else _Plain
        positions = torch.arange(int(config.max_position_embeddings), device=self._final_norm.device)[None]
        cos, sin = llama.rotary_emb(self._final_norm, positions)
        self.cos, self.sin = cos[0], sin[0]

    def cache(self, rows: int, columns: int) -> KeyValues:
        """Room for keys and values."""
        return KeyValues(self.count, rows, columns, self.stored_heads, self.cos)

    def __call__(
        self,
        x: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor | None = None,
        cache: KeyValues | None = None,
        column: int = 0,
        wanted: Wanted | None = None,
    ) -> torch.Tensor:
        """The normalised states.

        Args:
            x: Embeddings [B, N, D].
            positions: int64[B or 1, N].
            mask: Added to the attention scores, [B, 1, 1, columns]; None for causal attention among the N.
            cache: Where keys and values are put; with a mask, attention is to all of it.
            column: Of the first of the N in the cache.
            wanted: Whose states to return; None for all N.

        Returns:
            [B, N or S, D].
        """
        batch, count, _ = x.shape
        cos, sin = self.cos[positions], self.sin[positions]
        rows = torch.arange(batch, device=x.device)[:, None]
        between, store = self._between, cache or KeyValues(1, batch, count, self.stored_heads, self.cos)
        normed = between.rms_norm(x, self._layers[0].norm, self._eps)
        for index, layer in enumerate(self._layers):
            keys, values = store.of(index)
            here = slice(column, column + count)
            queries = between.rotate_into(layer.qkv(normed), cos, sin, keys[:, here], values[:, here])
            hidden = mask
            if wanted is not None and index == self.count - 1:
                x, queries, hidden = x[rows, wanted.positions], queries[rows, wanted.positions], wanted.mask
            if mask is None:
                keys, values = keys[:, here], values[:, here]
            attended = between.attend(queries, keys, values, hidden)
            x, normed = between.add_rms_norm(x, layer.output(attended), layer.mlp_norm, self._eps)
            following = self._layers[index + 1].norm if index + 1 < self.count else self._final_norm
            x, normed = between.add_rms_norm(x, layer.down(between.gated(layer.gate_up(normed))), following, self._eps)
        states: torch.Tensor = normed
        return states


def _layer(layer: Any, fused: bool) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return _Layer(
        norm=layer.input_layernorm.weight,
        qkv=_joint([attention.q_proj, attention.k_proj, attention.v_proj], fused),
        output=attention.o_proj,
        mlp_norm=layer.post_attention_layernorm.weight,
        gate_up=_joint([mlp.gate_proj, mlp.up_proj], fused),
        down=mlp.down_proj,
    )


def _joint(linears: list[nn.Linear], fused: bool) -> Linear:
    """Several linear layers of the same input as one, [..., in] -> [..., sum of outs]."""
    if not fused or any(linear.bias is not None for linear in linears):
        return lambda x: torch.cat([linear(x) for linear in linears], dim=-1)
    weight = torch.cat([linear.weight for linear in linears])
    for linear, part in zip(linears, torch.split(weight, [linear.out_features for linear in linears]), strict=True):
        linear.weight = nn.Parameter(part, requires_grad=False)
    return lambda x: F.linear(x, weight)


class _Plain:
    """What lies between the products, in torch's own operations."""

    rms_norm = staticmethod(rms_norm)
    add_rms_norm = staticmethod(add_rms_norm)
    rotate_into = staticmethod(rotate_into)
    gated = staticmethod(gated)
    attend = staticmethod(attend)


def _kernels() -> Any:
    """The same as kernels; attention of more than one query per row stays torch's."""
    from . import kernels

    class Fused(_Plain):
        rms_norm = staticmethod(kernels.rms_norm)
        add_rms_norm = staticmethod(kernels.add_rms_norm)
        rotate_into = staticmethod(kernels.rotate_into)
        gated = staticmethod(kernels.gated)

        @staticmethod
        def attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
            if mask is not None and queries.shape[1] == 1:
                return kernels.attend_one(queries, keys, values, mask)
            return attend(queries, keys, values, mask)

    return Fused
