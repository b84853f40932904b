"""The protocol of allenai/vla-evaluation-harness (PyPI vla-eval 0.8.0): one message per observation, one action per answer.

The server keeps the chunk of an episode for its connection and looks at an observation only when it has used the chunk up, so a
connection has one episode at a time, and one that broke has lost it. Sources: src/vla_eval/protocol/messages.py, numpy_codec.py,
image_codec.py and connection.py.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .arrays import Array, array_of, plain
from .base import Channel, Question, Wire, chunk_of, plain_json
from .errors import WireError
from .packing import in_short, pack, unpack

PROTOCOL_VERSION = 1
HARNESS_VERSION = "0.8.0"  # whose protocol this is
TYPES = ("hello", "observation", "action", "episode_start", "episode_end", "error")
_MAX_PIXELS = 4096 * 4096


def encode(kind: str, payload: Mapping[str, Any], seq: int, timestamp: float) -> bytes:
    """A message; arrays become maps, images of a `PngImage` PNG files."""
    return pack({"type": kind, "payload": payload, "seq": seq, "timestamp": timestamp}, _write)


def decode(frame: object) -> dict[str, Any]:
    """A message: ``type``, ``payload``, ``seq`` and ``timestamp``.

    Raises:
        WireError: It cannot be read, or is of no known type.
    """
    message = unpack(frame, _read)
    if not isinstance(message, dict) or not {"type", "payload", "seq", "timestamp"} <= set(message):
        raise WireError(f"a message with type, payload, seq and timestamp was expected; got {in_short(message, 200)}.")
    if message["type"] not in TYPES or not isinstance(message["payload"], dict):
        raise WireError(f"a message of type {in_short(message['type'], 50)} was received; known: {', '.join(TYPES)}.")
    return message


class PngImage:
    """An image uint8[H, W, 3] that is to be sent as a PNG file.

    Args:
        image: The pixels.
    """

    def __init__(self, image: Array) -> None:
        self.image = image


def _write(value: Any) -> Any:
    if isinstance(value, PngImage):
        return {"__image__": True, "format": "png", "data": _png(value.image), "shape": list(value.image.shape)}
    if isinstance(value, np.ndarray):
        array = plain(value)
        return {"__ndarray__": True, "data": array.data, "dtype": array.dtype.str, "shape": list(array.shape)}
    if isinstance(value, np.generic):
        return value.item()
    raise WireError(f"a {type(value).__name__} cannot be sent.")


def _read(found: dict[Any, Any]) -> Any:
    if "__ndarray__" in found:
        return array_of(found.get("data"), found.get("dtype"), found.get("shape"))
    if "__image__" in found:
        return _image(found.get("data"), found.get("format"), found.get("shape"))
    return found


def _png(image: Array) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, format="PNG", compress_level=1)
    return file.getvalue()


def _image(data: object, kind: object, shape: object) -> Array:
    from PIL import Image

    if kind not in ("png", "jpeg") or not isinstance(data, bytes):
        raise WireError(f"an image of format {in_short(kind, 50)} was received; png and jpeg are taken.")
    try:
        with Image.open(io.BytesIO(data), formats=(str(kind),)) as opened:
            if opened.width * opened.height > _MAX_PIXELS:
                raise WireError(f"an image of {opened.width} x {opened.height} pixels was received; that is too large.")
            pixels = np.asarray(opened.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, EOFError) as error:
        raise WireError(f"an image that was received cannot be read ({error}).") from error
    if list(pixels.shape) != (list(shape) if isinstance(shape, list | tuple) else shape):
        raise WireError(f"an image is said to be of shape {in_short(shape, 50)} and is of {list(pixels.shape)}.")
    return pixels


class VlaEvalWire(Wire):
    """Conversations with a vla-eval server.

    Args:
        benchmark: What the hello says is evaluated, in vla-eval's own terms.
        image_format: ``png`` or ``raw``.
    """

    stateful = True

    def __init__(self, benchmark: str | None, image_format: str = "png") -> None:
        self._benchmark = benchmark
        self._png = image_format == "png"
        self._seq = 0
        self._restart = False

    def open(self, channel: Channel) -> dict[str, Any]:
        self._seq = 0
        hello: dict[str, Any] = {"harness_version": HARNESS_VERSION, "protocol_version": PROTOCOL_VERSION}
        if self._benchmark:
            hello["benchmark"] = self._benchmark
        payload = self._answer(channel, "hello", hello, "hello")
        if payload.get("protocol_version") != PROTOCOL_VERSION:
            found = in_short(payload.get("protocol_version"), 50)
            raise WireError(f"the server speaks version {found} of vla-eval's protocol; this is version {PROTOCOL_VERSION}.")
        names = ("model_server", "harness_version", "protocol_version", "observation_params", "action_spec", "observation_spec")
        return {name: plain_json(payload[name]) for name in names if name in payload}

    def begin(self, channel: Channel, question: Question) -> None:
        if question.step:  # a new subtask of the same episode: the server drops what is left of its chunk
            self._restart = True
            return
        suite, task, trial, _ = question.episode_id.split("/")
        described = {"name": question.instruction, "suite": suite, "task": task, "episode_idx": int(trial)}
        channel.send(self._message("episode_start", {"task": described}))

    def end(self, channel: Channel, episode_id: str) -> None:
        channel.send(self._message("episode_end", {"metrics": {}, "steps": 0, "elapsed_sec": 0.0}))

    def ask(self, channel: Channel, questions: Sequence[Question]) -> list[Array]:
        (question,) = questions
        restart = {"episode_restart": True} if self._restart else {}
        self._restart = False
        payload = self._answer(channel, "observation", {**self.observation(question), **restart}, "action")
        return [chunk_of(payload.get("actions"), "the server's answer")]

    def observation(self, question: Question) -> dict[str, Any]:
        """The payload of an observation."""
        images = {key: PngImage(image) if self._png else image for key, image in question.images.items()}
        return {"images": images, question.instruction_key: question.instruction, **question.state, **question.fixed}

    def _message(self, kind: str, payload: Mapping[str, Any]) -> bytes:
        self._seq += 1
        return encode(kind, payload, self._seq, time.time())

    def _answer(self, channel: Channel, kind: str, payload: Mapping[str, Any], expected: str) -> dict[str, Any]:
        reply = decode(channel.exchange(self._message(kind, payload)))
        if reply["type"] == "error":
            raise WireError(f"the server failed: {in_short(reply['payload'].get('error'))}")
        if reply["type"] != expected or reply["seq"] != self._seq:
            raise WireError(
                f"the server answered message {self._seq} ({kind}) with {reply['type']} {in_short(reply['seq'], 50)}; "
                f"{expected} {self._seq} was expected."
            )
        return dict(reply["payload"])
