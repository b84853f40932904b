"""GR00T's ZMQ protocol (NVIDIA/Isaac-GR00T, gr00t/policy/server_client.py), in both of its codecs.

Servers until April 2026 (N1.6, the first N1.7) put arrays into NumPy's file format, later ones write them as the msgpack-numpy
package does. Neither understands the other, so the server is first asked for its modality configuration, a request without arrays,
whose answer shows the codec and names all keys. With its wrapper for simulation a server takes flat keys, without it nested ones:
which, is learned from the first answer. One request is a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from .arrays import Array, array_of, from_npy, npy_bytes, plain
from .base import Channel, Question, Wire, chunk_of, plain_json
from .errors import WireError
from .packing import in_short, pack, unpack

Codec = Literal["npy", "msgpack-numpy"]

LANGUAGE_KEY = "annotation.human.action.task_description"
_MARKS: dict[str, Codec] = {"__ModalityConfig_class__": "npy", "__ModalityConfig__": "msgpack-numpy"}


def encode(value: Any, codec: Codec) -> bytes:
    """A message in one of the codecs."""
    return pack(value, _write_npy if codec == "npy" else _write_raw)


def decode(frame: object) -> Any:
    """A message in either codec; arrays are read-only, and objects of any kind are refused.

    Raises:
        WireError: It cannot be read.
    """
    return unpack(frame, _read)


def _write_npy(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"__ndarray_class__": True, "as_npy": npy_bytes(value)}
    raise WireError(f"a {type(value).__name__} cannot be sent.")


def _write_raw(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        array = plain(value)
        return {b"nd": True, b"type": array.dtype.str, b"kind": b"", b"shape": array.shape, b"data": array.data}
    raise WireError(f"a {type(value).__name__} cannot be sent.")


def _read(found: dict[Any, Any]) -> Any:
    if "__ndarray_class__" in found:
        return from_npy(found.get("as_npy"))
    if b"nd" in found:
        if found.get(b"kind") not in (b"", None):
            raise WireError("an array of objects or records was received; only plain numbers are taken.")
        data, dtype, shape = found.get(b"data"), found.get(b"type"), found.get(b"shape")
        if found[b"nd"] is not True:
            return array_of(data, dtype, [])[()]
        return array_of(data, dtype, shape)
    return found


class GrootWire(Wire):
    """Conversations with a GR00T server.

    Args:
        action_keys: The parts of an action, side by side in this order.
        api_token: Sent with each request.
    """

    batches = True

    def __init__(self, action_keys: Sequence[str], api_token: str | None = None) -> None:
        self._action_keys = list(action_keys)
        self._token = {} if api_token is None else {"api_token": api_token}
        self.codec: Codec = "msgpack-numpy"
        self.flat: bool | None = None  # None: not known yet

    def open(self, channel: Channel) -> dict[str, Any]:
        config = self._call(channel, "get_modality_config", {})
        parts = {"video", "state", "action", "language"}
        if not isinstance(config, dict) or not parts <= set(config):
            # starVLA's server in GR00T's manner answers a plain map and speaks the older codec.
            if not isinstance(config, dict):
                raise WireError(f"the server's modality configuration cannot be read: {in_short(config, 200)}.")
            self.codec = "npy"
            return {"codec": self.codec, "modalities": plain_json(config)}
        marks = {_MARKS[mark] for part in parts for mark in _MARKS if isinstance(config[part], dict) and mark in config[part]}
        if len(marks) > 1:
            raise WireError("the server's modality configuration is marked as of two codecs.")
        self.codec = marks.pop() if marks else "npy"
        modalities = {part: config[part].get("as_json", config[part]) for part in sorted(parts) if isinstance(config[part], dict)}
        return {"codec": self.codec, "modalities": plain_json(modalities)}

    def ask(self, channel: Channel, questions: Sequence[Question]) -> list[Array]:
        forms = [True, False] if self.flat is None else [self.flat]
        for flat in forms:
            try:
                found = self.chunks(self._call(channel, "get_action", request(questions, flat)), len(questions))
            except WireError as error:
                if flat is forms[-1] or not _about_keys(str(error)):
                    raise
            else:
                self.flat = flat
                return found
        raise AssertionError("the last form either answers or raises")

    def chunks(self, reply: object, count: int) -> list[Array]:
        """The chunks [T, D] in the answer to ``get_action``.

        Raises:
            WireError: A part is missing, or parts do not fit.
        """
        if not isinstance(reply, list) or not reply or not isinstance(reply[0], dict):
            raise WireError(f"the server's answer holds no actions: {in_short(reply, 200)}.")
        actions = {str(name).removeprefix("action."): part for name, part in reply[0].items()}
        missing = [name for name in self._action_keys if not isinstance(actions.get(name), np.ndarray)]
        if missing:
            raise WireError(f"the server's actions have no part {missing[0]!r}; they have {', '.join(actions) or 'none'}.")
        parts = [actions[name] for name in self._action_keys]
        if any(part.ndim != 3 or part.shape[:2] != (count, parts[0].shape[1]) for part in parts):
            found = {name: list(actions[name].shape) for name in self._action_keys}
            raise WireError(f"actions [{count}, T, d] were expected in each part of the server's answer; got {found}.")
        together = np.concatenate(parts, axis=2)
        return [chunk_of(chunk, "the server's answer") for chunk in together]

    def _call(self, channel: Channel, endpoint: str, data: Mapping[str, Any]) -> Any:
        message = {"endpoint": endpoint, **({"data": data} if data else {}), **self._token}
        reply = decode(_not_text(channel.exchange(encode(message, self.codec))))
        if isinstance(reply, dict) and set(reply) == {"error"}:
            raise WireError(f"the server failed: {in_short(reply['error'])}")
        return reply


def request(questions: Sequence[Question], flat: bool) -> dict[str, Any]:
    """What ``get_action`` is asked: arrays [B, 1, ...], keys in alphabetical order as the official environments give them."""
    first = questions[0]
    video = {key: np.stack([q.images[key] for q in questions])[:, None] for key in sorted(first.images)}
    state = {key: np.stack([q.state[key] for q in questions])[:, None] for key in sorted(first.state)}
    language = first.instruction_key
    if not flat:
        sentences = [[question.instruction] for question in questions]
        return {"observation": {"video": video, "state": state, "language": {language: sentences}}, "options": None}
    observation = {
        **{f"video.{key}": value for key, value in video.items()},
        **{f"state.{key}": value for key, value in state.items()},
        language: [question.instruction for question in questions],
    }
    return {"observation": dict(sorted(observation.items())), "options": None}


def _about_keys(error: str) -> bool:
    """Whether a server's error is about the keys of the observation: then the other form of request may suit it."""
    lowered = error.lower()
    return any(word in lowered for word in ("key", "must be in observation", "video", "state", "language"))


def _not_text(answer: bytes | str) -> bytes:
    if answer == b"ERROR":
        raise WireError("the server failed and does not say why (an old GR00T server); look at its own output.")
    if isinstance(answer, str):
        raise WireError(f"the server failed: {in_short(answer)}")
    return answer
