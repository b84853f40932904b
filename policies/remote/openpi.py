"""openpi's websocket protocol and its dialects (policy-websocket, RoboArena, vLLM-Omni, SGLang, ours), told by the first frame.

The server speaks first: a frame of metadata. Then each request is one msgpack map of an observation and each answer one of a whole
chunk. openpi keeps no state and has no reset. A failure is a TEXT frame with a traceback. Sources: Physical-Intelligence/openpi
15a9616 (src/openpi/serving/websocket_policy_server.py, packages/openpi-client), robo-arena/roboarena 6fa329f
(roboarena/policy_server.py), vllm-project/vllm-omni 1449081 (vllm_omni/entrypoints/openpi/connection.py), sgl-project/sglang
(runtime/entrypoints/action/openpi.py).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from .arrays import Array, array_of, plain
from .base import Channel, Question, Wire, chunk_of, plain_json
from .errors import WireError
from .packing import in_short, pack, unpack

Dialect = Literal["openpi", "roboarena", "vllm-omni", "sglang", "vlagym"]

_ROBOARENA_KEYS = {"image_resolution", "needs_wrist_camera", "n_external_cameras", "needs_session_id", "action_space"}
_VLLM_KEYS = {"action_horizon", "action_dim", "action_keys"}


def encode(value: Any) -> bytes:
    """A message of openpi's codec; arrays and NumPy scalars become maps with byte keys."""
    return pack(value, _write)


def decode(frame: object) -> Any:
    """Inverse of `encode`; arrays are read-only.

    Raises:
        WireError: It cannot be read.
    """
    return unpack(frame, _read)


def _write(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        array = plain(value)
        return {
            b"__ndarray__": True,
            b"data": array.data,
            b"dtype": array.dtype.str,
            b"shape": array.shape,
        }
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": plain(value).dtype.str}
    raise WireError(f"a {type(value).__name__} cannot be sent.")


def _read(found: dict[Any, Any]) -> Any:
    if b"__ndarray__" in found:
        return array_of(found.get(b"data"), found.get(b"dtype"), found.get(b"shape"))
    if b"__npgeneric__" in found:
        data = found.get(b"data")
        if not isinstance(data, bool | int | float):
            raise WireError(f"a scalar was expected; got {type(data).__name__}.")
        kind = array_of(b"", found.get(b"dtype"), [0]).dtype
        return np.asarray(data).astype(kind)[()]
    return found


class OpenpiWire(Wire):
    """Conversations with a server of openpi's kind.

    Args:
        sglang_keys: SGLang spells the keys of an observation as LeRobot does: from openpi's key to its.
    """

    connections = 2  # it answers one request at a time: the next one is to be there when it has answered

    def __init__(self, sglang_keys: Mapping[str, str] | None = None) -> None:
        self._sglang_keys = dict(sglang_keys or {})
        self.dialect: Dialect = "openpi"
        self._metadata: dict[Any, Any] = {}
        self._session = ""

    def open(self, channel: Channel) -> dict[str, Any]:
        metadata = decode(_not_text(channel.receive(), "instead of its metadata the server sent a text"))
        if not isinstance(metadata, dict):
            raise WireError(f"a server of openpi's kind begins with a map of metadata; this one sent {in_short(metadata, 100)}.")
        if metadata.get("type") == "error":
            raise WireError(f"the server refuses: {in_short(metadata.get('message'))}")
        if metadata.get("env") == "starvla_policy_server" or "action_chunk_size" in metadata:
            raise WireError("this is a starVLA server, whose messages are others than openpi's: use policy=starvla.")
        self._metadata = metadata
        self.dialect = _dialect(metadata)
        self.stateful = self.dialect in ("roboarena", "vllm-omni", "vlagym")
        return {"dialect": self.dialect, "metadata": plain_json(metadata)}

    def begin(self, channel: Channel, question: Question) -> None:
        if not self.stateful:
            return
        # A server of vlagym's draws an episode's randomness from its name.
        self._session = question.episode_id if self.dialect == "vlagym" else str(uuid.uuid4())
        answer = channel.exchange(encode({"session_id": self._session, "endpoint": "reset"}))
        if answer == "reset successful":
            return
        reply = decode(_not_text(answer, "the server answered the reset of an episode with"))
        if not isinstance(reply, dict) or reply.get("status") != "reset successful":
            raise WireError(f"the server did not reset: {in_short(reply)}")

    def ask(self, channel: Channel, questions: Sequence[Question]) -> list[Array]:
        (question,) = questions
        return [self.chunk(channel.exchange(encode(self.request(question))))]

    def request(self, question: Question) -> dict[str, Any]:
        """The request for an observation."""
        request = question.flat()
        if self.dialect == "sglang":
            return {self._sglang_keys.get(key, key): value for key, value in request.items()}
        if not self.stateful:
            return request
        request |= {"session_id": self._session, "endpoint": "infer"}
        if self.dialect == "vlagym":  # the others have no words for it
            request |= question.pending
        if self.dialect == "vllm-omni":  # it draws its noise from this
            digest = hashlib.sha256(f"{question.episode_id}|{question.step}".encode()).digest()
            request["seed"] = int.from_bytes(digest[:4], "little") >> 1
        return request

    def chunk(self, answer: bytes | str) -> Array:
        """The actions [T, D] in an answer.

        Raises:
            WireError: The server failed, or there are none.
        """
        reply = decode(_not_text(answer, "the server failed"))
        if isinstance(reply, dict) and "actions" not in reply:
            if reply.get("type") == "error" or "error" in reply:
                raise WireError(f"the server failed: {in_short(reply.get('message', reply.get('error')))}")
            return self._parts(reply)
        return chunk_of(reply["actions"] if isinstance(reply, dict) else reply, "the server's answer")

    def _parts(self, reply: Mapping[Any, Any]) -> Array:
        """vLLM-Omni's answer for models whose actions come in named parts [B, T, d]: side by side, in the order of its metadata."""
        names = self._metadata.get("action_keys")
        if not isinstance(names, list) or not all(isinstance(reply.get(name), np.ndarray) for name in names) or not names:
            raise WireError(f"the server's answer has no actions; it has {in_short(list(reply), 200)}.")
        parts = [reply[name] for name in names]
        if any(part.ndim != 3 or part.shape[:2] != (1, parts[0].shape[1]) for part in parts):
            raise WireError(f"the parts of the server's answer do not fit: {[list(part.shape) for part in parts]}.")
        return chunk_of(np.concatenate([part[0] for part in parts], axis=1), "the server's answer")


def _dialect(metadata: Mapping[Any, Any]) -> Dialect:
    if metadata.get("object") == "action.metadata":
        return "sglang"
    if metadata.get("server") == "vlagym":
        return "vlagym"
    if set(metadata) >= _ROBOARENA_KEYS:
        return "vllm-omni" if _VLLM_KEYS & set(metadata) else "roboarena"
    return "openpi"


def _not_text(answer: bytes | str, what: str) -> bytes:
    if isinstance(answer, str):
        raise WireError(f"{what}: {in_short(answer)}")
    return answer
