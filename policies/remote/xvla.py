"""X-VLA's REST server (2toinf/X-VLA, models/modeling_xvla.py): ``POST /act`` with JSON in which each array is a JSON string.

An answer is 30 actions of 20 numbers, of which the first 10 are the first arm: position, six numbers of rotation, gripper.
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

ARM = 10  # numbers of one arm
_BOTH_ARMS = 2 * ARM


class XvlaWire(Wire):
    """Conversations with an X-VLA server."""

    one_at_a_time = True

    def open(self, channel: Channel) -> dict[str, Any]:
        return {}  # it says nothing of itself

    def ask(self, channel: Channel, questions: Sequence[Question]) -> list[Array]:
        (question,) = questions
        return [chunk(channel.exchange(dumps(request(question)).encode()))]


def request(question: Question) -> dict[str, Any]:
    """The request for an observation."""
    return {
        **{key: dumps(state) for key, state in question.state.items()},
        question.instruction_key: question.instruction,
        **{key: dumps(np.ascontiguousarray(image)) for key, image in question.images.items()},
        **question.fixed,
    }


def chunk(answer: bytes | str) -> Array:
    """The actions float64[T, 10] of the first arm in an answer.

    Raises:
        WireError: The server failed, or there are none.
    """
    reply = loads(answer)
    if not isinstance(reply, dict) or "action" not in reply:
        found = reply.get("error", reply) if isinstance(reply, dict) else reply
        raise WireError(f"the server failed: {in_short(found)}")
    rows = reply["action"]
    if not isinstance(rows, list) or not rows or not all(_is_row(row) for row in rows):
        raise WireError(f"actions of {_BOTH_ARMS} numbers were expected in the server's answer; got {in_short(rows, 200)}.")
    return chunk_of(np.array(rows, np.float64)[:, :ARM], "the server's answer")


def _is_row(row: object) -> bool:
    return (
        isinstance(row, list)
        and len(row) == _BOTH_ARMS
        and all(isinstance(number, int | float) and not isinstance(number, bool) and abs(number) < 1e300 for number in row)
    )
