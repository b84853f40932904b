"""OpenVLA's and OpenVLA-OFT's REST servers (vla-scripts/deploy.py of openvla/openvla c8f03f4 and moojink/openvla-oft 213c5ff).

``POST /act`` with JSON. OpenVLA answers one action, OFT a list of them. A failure has status 200 and is the JSON string "error".
The server answers in a pool of threads without a lock, so it is never asked two things at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .arrays import Array
from .base import Channel, Question, Wire, chunk_of
from .errors import WireError
from .json_numpy import dumps, loads
from .packing import in_short


class OpenvlaRestWire(Wire):
    """Conversations with a REST server of OpenVLA or OFT."""

    one_at_a_time = True

    def open(self, channel: Channel) -> dict[str, Any]:
        return {}  # it says nothing of itself

    def ask(self, channel: Channel, questions: Sequence[Question]) -> list[Array]:
        (question,) = questions
        return [chunk(channel.exchange(dumps(question.flat()).encode()))]


def chunk(answer: bytes | str) -> Array:
    """The actions [T, D] in an answer.

    Raises:
        WireError: The server failed, or there are none.
    """
    reply = loads(answer)
    if isinstance(reply, str) and reply == "error":
        raise WireError('the server failed and says only "error": its own output says why (often an unnorm_key it does not have).')
    if isinstance(reply, str):  # an answer that was encoded twice
        reply = loads(reply)
    if isinstance(reply, list) and reply and all(isinstance(row, np.ndarray) and row.shape == reply[0].shape for row in reply):
        reply = np.stack(reply)
    if not isinstance(reply, np.ndarray):
        raise WireError(f"the server's answer holds no actions: {in_short(answer, 300)}")
    return chunk_of(reply, "the server's answer")
