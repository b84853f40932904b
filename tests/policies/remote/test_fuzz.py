"""Whatever a server sends, a decoder gives values or our own error: nothing else comes out, and nothing is made room for."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlagym.policies.remote import groot, json_numpy, openpi, openvla_rest, starvla, vla_eval, xvla
from vlagym.policies.remote.arrays import npy_bytes
from vlagym.policies.remote.errors import WireError

# From a frame to what is done with it: the whole way to a chunk.
READERS: dict[str, Callable[[bytes], Any]] = {
    "openpi's metadata": lambda frame: openpi.OpenpiWire().open(_Said(frame)),
    "openpi": lambda frame: openpi.OpenpiWire().chunk(frame),
    "starVLA's metadata": lambda frame: starvla.StarvlaWire().open(_Said(frame)),
    "starVLA": lambda frame: starvla.chunks(frame, 1),
    "vla-eval's hello": lambda frame: vla_eval.VlaEvalWire(None).open(_Said(frame)),
    "vla-eval": vla_eval.decode,
    "GR00T's modalities": lambda frame: groot.GrootWire(["x"]).open(_Said(frame)),
    "GR00T": lambda frame: groot.GrootWire(["x"]).chunks(groot.decode(frame), 1),
    "OpenVLA": openvla_rest.chunk,
    "X-VLA": xvla.chunk,
}
CHUNK = np.arange(14, dtype=np.float32).reshape(2, 7)
VALID = [
    openpi.encode({"actions": CHUNK, "server_timing": {"infer_ms": 1.0}, "x": np.float64(2)}),
    openpi.encode({"action_chunk_size": 8, "available_unnorm_keys": ["a"]}),
    openpi.encode({"ok": True, "data": {"actions": CHUNK[None]}}),
    vla_eval.encode("hello", {"protocol_version": 1, "observation_params": {"seed": 0}}, 1, 0.5),
    vla_eval.encode("action", {"actions": CHUNK[0], "image": vla_eval.PngImage(np.zeros((2, 3, 3), np.uint8))}, 1, 0.5),
    groot.encode([{"action.x": CHUNK[None]}, {}], "npy"),
    groot.encode([{"action.x": CHUNK[None]}, {}], "msgpack-numpy"),
    groot.encode({part: {"__ModalityConfig__": True, "as_json": {}} for part in ("video", "state", "action", "language")}, "npy"),
    json_numpy.dumps(list(CHUNK)).encode(),
    json_numpy.dumps({"action": [[0.5] * 20] * 3}).encode(),
]
MARKS = (
    "__ndarray__",
    "__npgeneric__",
    "__image__",
    "__numpy__",
    "__ndarray_class__",
    "nd",
    "type",
    "kind",
    "data",
    "dtype",
    "shape",
)
KEYS = st.one_of(
    st.sampled_from(MARKS), st.sampled_from([mark.encode() for mark in MARKS]), st.text(max_size=5), st.binary(max_size=5)
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=16),
    st.sampled_from(["<f4", "|O", "|V8", "<U4", "(9,9)f4", "png", "actions", npy_bytes(CHUNK), npy_bytes(CHUNK)[:70]]),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=6)), max_leaves=12
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A frame that was right before some of it was overwritten, left out, cut or doubled."""
    frame = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(frame) - 1)))
        how = draw(st.sampled_from(["overwrite", "leave out", "insert", "cut", "double"]))
        if how == "overwrite" and frame:
            frame[at] = draw(st.integers(0, 255))
        elif how == "leave out":
            del frame[at : at + draw(st.integers(1, 8))]
        elif how == "insert":
            frame[at:at] = draw(st.binary(min_size=1, max_size=6))
        elif how == "cut":
            del frame[at:]
        else:
            frame += frame[at:]
    return bytes(frame)


FRAMES = st.one_of(st.binary(max_size=64), damaged(), damaged(), VALUES.map(lambda value: msgpack.packb(value, use_bin_type=True)))


class _Said:
    """A connection on which one frame comes, whatever is asked."""

    def __init__(self, frame: bytes) -> None:
        self._frame = frame

    def send(self, message: bytes) -> None:
        return None

    def receive(self) -> bytes | str:
        return self._frame

    def exchange(self, message: bytes) -> bytes | str:
        return self._frame

    def close(self) -> None:
        return None


def read_all(frame: bytes) -> Mapping[str, bool]:
    """Which readers took the frame; any other error than ours comes out."""
    taken = {}
    for name, read in READERS.items():
        try:
            read(frame)
        except WireError:
            taken[name] = False
        else:
            taken[name] = True
    return taken


def test_every_reader_takes_what_is_right() -> None:
    taken = [read_all(frame) for frame in VALID]
    assert all(any(reading[name] for reading in taken) for name in READERS)


@given(FRAMES)
@settings(max_examples=300, deadline=None)
def test_a_few_frames_give_values_or_our_own_error(frame: bytes) -> None:
    read_all(frame)


@pytest.mark.slow
@given(FRAMES)
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_ten_thousand_frames_give_values_or_our_own_error(frame: bytes) -> None:
    tracemalloc.start()
    try:
        read_all(frame)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20  # for frames of a few kilobytes
    finally:
        tracemalloc.stop()
