"""What lies between a Llama's matrix products, as Triton kernels: the arithmetic and roundings of the functions in `llama`.

A program computes one row, always in the same order: what becomes of a row can depend neither on its neighbours nor on its place.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

# A product and a sum are two roundings in the functions these are equal to, so they may not be fused into one.
_WARPS_4, _WARPS_8 = ({"num_warps": warps, "enable_fp_fusion": False} for warps in (4, 8))
_HEADS = 16  # that one program of `rotate_into` computes
_COLUMNS = 64  # of the cache that `attend_one` reads at a time
_PIECE = 1024  # entries of a row that one program of `gated` computes


@triton.jit
def _add_rms_norm(x, delta, weight, total, normed, eps, width, HAS_DELTA: tl.constexpr, BLOCK: tl.constexpr):
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    at = tl.program_id(0).to(tl.int64) * width + columns
    value = tl.load(x + at, mask=inside, other=0.0)
    if HAS_DELTA:
        value = (value.to(tl.float32) + tl.load(delta + at, mask=inside, other=0.0).to(tl.float32)).to(value.dtype)
        tl.store(total + at, value, mask=inside)
    wide = value.to(tl.float32)
    scale = tl.rsqrt(tl.sum(wide * wide, axis=0) / width + eps)
    normal = (wide * scale).to(value.dtype).to(tl.float32)
    factor = tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32)
    tl.store(normed + at, (normal * factor).to(value.dtype), mask=inside)


@triton.jit
def _rotate_into(
    qkv,
    cos,
    sin,
    queries,
    keys,
    values,
    tokens,
    heads,
    stored,
    cos_row,
    keys_row,
    keys_token,
    GROUP: tl.constexpr,
    HALF: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    token = tl.program_id(1)
    head = (tl.program_id(2) * GROUP + tl.arange(0, GROUP))[:, None]
    half = tl.arange(0, HALF)[None, :]
    every = heads + 2 * stored
    source = qkv + ((row * tokens + token) * every + head) * (2 * HALF) + half
    first = tl.load(source, mask=head < every, other=0.0)
    second = tl.load(source + HALF, mask=head < every, other=0.0)
    kind = first.dtype
    angle = row * cos_row + token * (2 * HALF) + half
    low = (first.to(tl.float32) * tl.load(cos + angle).to(tl.float32)).to(kind).to(tl.float32)
    low_turn = (-second.to(tl.float32) * tl.load(sin + angle).to(tl.float32)).to(kind).to(tl.float32)
    high = (second.to(tl.float32) * tl.load(cos + angle + HALF).to(tl.float32)).to(kind).to(tl.float32)
    high_turn = (first.to(tl.float32) * tl.load(sin + angle + HALF).to(tl.float32)).to(kind).to(tl.float32)
    low, high = (low + low_turn).to(kind), (high + high_turn).to(kind)
    to_queries = queries + ((row * tokens + token) * heads + head) * (2 * HALF) + half
    tl.store(to_queries, low, mask=head < heads)
    tl.store(to_queries + HALF, high, mask=head < heads)
    place = row * keys_row + token * keys_token + half
    to_keys, is_key = keys + place + (head - heads) * (2 * HALF), (head >= heads) & (head < heads + stored)
    tl.store(to_keys, low, mask=is_key)
    tl.store(to_keys + HALF, high, mask=is_key)
    to_values, is_value = values + place + (head - heads - stored) * (2 * HALF), (head >= heads + stored) & (head < every)
    tl.store(to_values, first, mask=is_value)
    tl.store(to_values + HALF, second, mask=is_value)


@triton.jit
def _gated(gate_up, out, width, PIECE: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * PIECE + tl.arange(0, PIECE)
    inside = columns < width
    gate = tl.load(gate_up + row * 2 * width + columns, mask=inside, other=0.0)
    up = tl.load(gate_up + row * 2 * width + width + columns, mask=inside, other=0.0)
    wide = gate.to(tl.float32)
    active = (wide / (1.0 + tl.exp(-wide))).to(gate.dtype).to(tl.float32)
    tl.store(out + row * width + columns, (active * up.to(tl.float32)).to(gate.dtype), mask=inside)


@triton.jit
def _attend_part(
    queries,
    keys,
    values,
    mask,
    best,
    weight,
    total,
    columns,
    heads,
    shared,
    keys_row,
    keys_token,
    scale,
    SIZE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    part = tl.program_id(2)
    entry = tl.arange(0, SIZE)
    column = part * BLOCK + tl.arange(0, BLOCK)
    inside = column < columns
    place = row * keys_row + (head // shared) * SIZE + column[:, None] * keys_token + entry[None, :]
    key = tl.load(keys + place, mask=inside[:, None], other=0.0)
    value = tl.load(values + place, mask=inside[:, None], other=0.0)
    query = tl.load(queries + (row * heads + head) * SIZE + entry).to(tl.float32) * scale
    score = tl.sum(key.to(tl.float32) * query[None, :], axis=1)
    hidden = tl.load(mask + row * columns + column, mask=inside, other=0.0).to(tl.float32)
    score = tl.where(inside, score + hidden, -float("inf"))
    most = tl.max(score, axis=0)
    share = tl.exp(score - most)
    here = (row * heads + head) * tl.num_programs(2) + part
    tl.store(best + here, most)
    tl.store(weight + here, tl.sum(share, axis=0))
    tl.store(total + here * SIZE + entry, tl.sum(share[:, None] * value.to(tl.float32), axis=0))


@triton.jit
def _join_parts(best, weight, total, out, parts, SIZE: tl.constexpr, PARTS: tl.constexpr):
    here = tl.program_id(0).to(tl.int64)
    part = tl.arange(0, PARTS)
    entry = tl.arange(0, SIZE)
    there = part < parts
    most = tl.load(best + here * parts + part, mask=there, other=-float("inf"))
    factor = tl.exp(most - tl.max(most, axis=0))
    weights = tl.load(weight + here * parts + part, mask=there, other=0.0) * factor
    place = (here * parts + part[:, None]) * SIZE + entry[None, :]
    totals = tl.load(total + place, mask=there[:, None], other=0.0) * factor[:, None]
    joined = tl.sum(totals, axis=0) / tl.sum(weights, axis=0)
    tl.store(out + here * SIZE + entry, joined.to(out.dtype.element_ty))


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """See `llama.rms_norm`; [..., D], contiguous."""
    normed = torch.empty_like(x)
    width = x.shape[-1]
    block = triton.next_power_of_2(width)
    _add_rms_norm[(x.numel() // width,)](x, x, weight, x, normed, eps, width, False, block, **_WARPS_8)
    return normed


def add_rms_norm(x: torch.Tensor, delta: torch.Tensor, weight: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """See `llama.add_rms_norm`; [..., D], contiguous."""
    total, normed = torch.empty_like(x), torch.empty_like(x)
    width = x.shape[-1]
    block = triton.next_power_of_2(width)
    _add_rms_norm[(x.numel() // width,)](x, delta, weight, total, normed, eps, width, True, block, **_WARPS_8)
    return total, normed


def rotate_into(qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """See `llama.rotate_into`; `keys` and `values` are alike in their strides, and their last two axes contiguous."""
    batch, tokens, stored, size = keys.shape
    heads = qkv.shape[-1] // size - 2 * stored
    queries = qkv.new_empty(batch, tokens, heads, size)
    cos_row = cos.stride(0) if len(cos) == batch > 1 else 0
    _rotate_into[(batch, tokens, triton.cdiv(heads + 2 * stored, _HEADS))](
        qkv,
        cos,
        sin,
        queries,
        keys,
        values,
        tokens,
        heads,
        stored,
        cos_row,
        keys.stride(0),
        keys.stride(1),
        _HEADS,
        size // 2,
        **_WARPS_4,
    )
    return queries


def gated(gate_up: torch.Tensor) -> torch.Tensor:
    """See `llama.gated`; contiguous."""
    width = gate_up.shape[-1] // 2
    out = gate_up.new_empty(*gate_up.shape[:-1], width)
    _gated[(out.numel() // width, triton.cdiv(width, _PIECE))](gate_up, out, width, _PIECE, **_WARPS_4)
    return out


def attend_one(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Attention of one query per row: [B, 1, H, d] to [B, N, K, d] with a finite mask [B, 1, 1, N] -> [B, 1, H * d].

    Sums are in float32, over parts of the columns that are the same for every row, and then over the parts. The library's own
    kernels for this case are no choice: with cuDNN's a row's last bits depended on the other rows (torch 2.11, H200).
    """
    batch, _, heads, size = queries.shape
    columns, stored = keys.shape[1:3]
    parts = triton.cdiv(columns, _COLUMNS)
    out = queries.new_empty(batch, 1, heads * size)
    best, weight = (queries.new_empty((batch, heads, parts), dtype=torch.float32) for _ in range(2))
    total = queries.new_empty((batch, heads, parts, size), dtype=torch.float32)
    strides = keys.stride(0), keys.stride(1)
    _attend_part[(batch, heads, parts)](
        queries,
        keys,
        values,
        mask,
        best,
        weight,
        total,
        columns,
        heads,
        heads // stored,
        *strides,
        size**-0.5,
        size,
        _COLUMNS,
        **_WARPS_4,
    )
    _join_parts[(batch * heads,)](best, weight, total, out, parts, size, triton.next_power_of_2(parts), num_warps=1)
    return out
