"""Every recorded message is understood, and written again is the same bytes; what is not a message is refused."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from PIL import Image

from vlagym.policies.remote import groot, json_numpy, openpi, openvla_rest, starvla, vla_eval, xvla
from vlagym.policies.remote.arrays import from_npy, npy_bytes
from vlagym.policies.remote.errors import WireError
from vlagym.policies.remote.packing import unpack

CODECS: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = {
    "openpi": (openpi.decode, openpi.encode),
    "roboarena": (openpi.decode, openpi.encode),
    "starvla": (openpi.decode, openpi.encode),
    "gr00t/n1.6": (groot.decode, lambda value: groot.encode(value, "npy")),
    "gr00t/n1.7": (groot.decode, lambda value: groot.encode(value, "msgpack-numpy")),
    "vla_eval": (
        lambda frame: unpack(frame, vla_eval._read),  # one recording is of a type that does not exist
        lambda m: vla_eval.encode(m["type"], m["payload"], m["seq"], m["timestamp"]),
    ),
}


@pytest.mark.parametrize("folder", CODECS)
def test_recorded_messages_are_understood_and_written_again_the_same(
    golden: Path, traffic: Callable[[str], bytes], folder: str
) -> None:
    decode, encode = CODECS[folder]
    files = sorted((golden / "remote" / folder).glob("*.msgpack*"))
    assert len(files) >= 5
    for file in files:
        recorded = traffic(f"{folder}/{file.name}")
        message = decode(recorded)
        if "png" not in file.name and "jpeg" not in file.name:  # other compressors write the same pixels in other bytes
            assert encode(message) == recorded, file.name


def test_images_are_sent_as_png_and_read_as_png_or_jpeg(traffic: Callable[[str], bytes], observed: dict[str, Any]) -> None:
    sent = vla_eval.decode(traffic("vla_eval/observation_png.client.msgpack"))["payload"]["images"]
    upstream = {"agentview": "libero.agentview_image", "wrist": "libero.robot0_eye_in_hand_image"}
    for name, stock in upstream.items():
        np.testing.assert_array_equal(sent[name], observed[stock][::-1, ::-1])
        again = vla_eval.encode("observation", {"image": vla_eval.PngImage(sent[name])}, 1, 0.0)
        np.testing.assert_array_equal(vla_eval.decode(again)["payload"]["image"], sent[name])
    jpeg = vla_eval.decode(traffic("vla_eval/observation_jpeg.client.msgpack"))["payload"]["images"]["agentview"]
    assert np.abs(jpeg.astype(int) - sent["agentview"]).mean() < 10  # a coarse one


def test_json_requests_are_written_as_the_recorded_ones(golden: Path, traffic: Callable[[str], bytes]) -> None:
    for file in sorted((golden / "remote" / "rest").glob("*.request.json*")):
        recorded = traffic(f"rest/{file.name}")
        assert json_numpy.dumps(json_numpy.loads(recorded)).encode() == recorded, file.name


def test_recorded_failures_are_errors_with_the_servers_own_words(traffic: Callable[[str], bytes]) -> None:
    openpi_wire, groot_wire = openpi.OpenpiWire(), groot.GrootWire(["x"])
    failures: list[tuple[Callable[[], Any], str]] = [
        (lambda: openpi_wire.chunk(traffic("openpi/error.server.txt").decode()), "KeyError: 'observation/image'"),
        (lambda: openpi_wire.chunk(traffic("roboarena/no_endpoint.server.txt").decode()), "KeyError: 'endpoint'"),
        (lambda: starvla.chunks(traffic("starvla/fail.server.msgpack"), 1), "not in \\['franka'\\]"),
        (lambda: starvla.chunks(traffic("starvla/badpayload.server.msgpack"), 1), "Payload must be a dict"),
        (lambda: openvla_rest.chunk(traffic("rest/openvla_error.reply.json")), 'says only "error"'),
        (lambda: openvla_rest.chunk(traffic("rest/openvla_bad_json_shape.reply.json")), "valid dictionary"),
        (lambda: xvla.chunk(traffic("xvla/error_no_image.reply.json")), "No valid images found"),
        (lambda: groot_wire._call(Recorded(traffic("gr00t/n1.7/error_token.server.msgpack")), "ping", {}), "Invalid API token"),
        (lambda: groot_wire._call(Recorded(b"ERROR"), "ping", {}), "does not say why"),
        (lambda: vla_eval.VlaEvalWire(None).open(Recorded(traffic("vla_eval/error.server.msgpack"))), "observation_failed"),
    ]
    for fails, words in failures:
        with pytest.raises(WireError, match=words):
            fails()


def test_recorded_answers_hold_the_servers_numbers(traffic: Callable[[str], bytes]) -> None:
    drawn = {shape: np.random.default_rng(11).uniform(-1, 1, shape) for shape in [(10, 7), (4, 8), (8, 7), (7,)]}
    np.testing.assert_array_equal(openpi.OpenpiWire().chunk(traffic("openpi/reply_libero.server.msgpack")), drawn[10, 7])
    np.testing.assert_array_equal(
        openpi.OpenpiWire().chunk(traffic("roboarena/infer.server.msgpack")), drawn[4, 8].astype(np.float32)
    )
    np.testing.assert_array_equal(openvla_rest.chunk(traffic("rest/openvla.reply.json"))[0], drawn[7,])
    double = openvla_rest.chunk(traffic("rest/openvla_double_encoded.reply.json"))
    np.testing.assert_array_equal(double[0], drawn[7,])
    np.testing.assert_array_equal(openvla_rest.chunk(traffic("rest/oft.reply.json")), drawn[8, 7].astype(np.float32))


class Recorded:
    """A connection on which one answer comes, whatever is asked."""

    def __init__(self, answer: bytes | str) -> None:
        self._answer = answer

    def send(self, message: bytes) -> None:
        raise AssertionError("nothing is to be sent")

    def receive(self) -> bytes | str:
        return self._answer

    def exchange(self, message: bytes) -> bytes | str:
        return self._answer

    def close(self) -> None:
        raise AssertionError("it is not for a wire to close")


def _openpi_array(**changed: Any) -> bytes:
    entries = {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "<f4", b"shape": [2]}
    return msgpack.packb(entries | {key.encode(): value for key, value in changed.items()})


def _npy_of_objects() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], object), allow_pickle=True)
    return file.getvalue()


HOSTILE: dict[str, tuple[Callable[[bytes], Any], bytes]] = {
    "an array of objects": (openpi.decode, _openpi_array(dtype="|O")),
    "a record": (openpi.decode, _openpi_array(dtype="[('a', '<f4')]")),
    "a string array": (openpi.decode, _openpi_array(dtype="<U2")),
    "a dtype that would be parsed": (openpi.decode, _openpi_array(dtype="(1000000,1000000)f4")),
    "too little data": (openpi.decode, _openpi_array(shape=[3])),
    "a negative size": (openpi.decode, _openpi_array(shape=[-1, -2])),
    "a fraction as size": (openpi.decode, _openpi_array(shape=[2.0])),
    "sizes whose product overflows": (openpi.decode, _openpi_array(shape=[2**32, 2**32, 2**32], data=b"")),
    "nothing": (openpi.decode, b""),
    "a truncated frame": (openpi.decode, _openpi_array()[:-3]),
    "two frames in one": (openpi.decode, _openpi_array() * 2),
    "a header of 2 GB": (openpi.decode, b"\xc6" + struct.pack(">I", 2**31) + b"abc"),
    "a list of 4 billion": (openpi.decode, b"\xdd\xff\xff\xff\xff"),
    "nested lists": (openpi.decode, b"\x91" * 100_000 + b"\x01"),
    "an extension type": (openpi.decode, msgpack.packb(msgpack.ExtType(42, b"abc"))),
    "a timestamp": (openpi.decode, b"\xd6\xff\x00\x00\x00\x01"),
    "a pickle": (openpi.decode, pickle.dumps([1, 2])),
    "text that is not UTF-8": (openpi.decode, b"\xa2\xff\xff"),
    "a number as a key": (openpi.decode, b"\x81\x01\x01"),
    "msgpack-numpy's pickled objects": (groot.decode, msgpack.packb({b"nd": True, b"kind": b"O", b"data": pickle.dumps([1])})),
    "msgpack-numpy's records": (groot.decode, msgpack.packb({b"nd": True, b"kind": b"V", b"type": [["a", "<f4"]], b"data": b""})),
    "NumPy's file of objects": (groot.decode, msgpack.packb({"__ndarray_class__": True, "as_npy": _npy_of_objects()})),
    "NumPy's file, cut": (groot.decode, msgpack.packb({"__ndarray_class__": True, "as_npy": npy_bytes(np.zeros(9))[:-1]})),
    "an image that is none": (
        lambda frame: unpack(frame, vla_eval._read),
        msgpack.packb({"__image__": True, "format": "png", "data": b"\x89PNG\r\n\x1a\n", "shape": [1, 1, 3]}),
    ),
    "an unknown message": (vla_eval.decode, msgpack.packb({"type": "x", "payload": {}, "seq": 1, "timestamp": 0.0})),
    "JSON, cut": (json_numpy.loads, b'{"action": [1, 2'),
    "nested JSON": (json_numpy.loads, b"[" * 100_000),
    "an array in JSON that is not base64": (json_numpy.loads, b'{"__numpy__": "!", "dtype": "<f4", "shape": [1]}'),
    "an array of objects in JSON": (json_numpy.loads, b'{"__numpy__": "AAAAAAAAAAA=", "dtype": "|O", "shape": [1]}'),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_refuses(what: str) -> None:
    decode, frame = HOSTILE[what]
    with pytest.raises(WireError):
        decode(frame)


def test_refuses_a_huge_image_before_it_is_unpacked() -> None:
    file = io.BytesIO()
    Image.new("L", (6_000, 6_000)).save(file, format="PNG")
    frame = msgpack.packb({"__image__": True, "format": "png", "data": file.getvalue(), "shape": [6_000, 6_000, 3]})
    with pytest.raises(WireError, match="too large|exceeds limit"):
        unpack(frame, vla_eval._read)


def test_numpys_file_format_is_written_and_read_as_numpy_does() -> None:
    for array in (np.arange(6, dtype=np.float32).reshape(1, 6, 1), np.zeros((0, 3)), np.array(2.5), np.arange(3, dtype=np.uint8)):
        file = io.BytesIO()
        np.save(file, array)
        assert npy_bytes(array) == file.getvalue()
        np.testing.assert_array_equal(from_npy(file.getvalue()), array)
    turned = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    file = io.BytesIO()
    np.save(file, turned)
    np.testing.assert_array_equal(from_npy(file.getvalue()), turned)
