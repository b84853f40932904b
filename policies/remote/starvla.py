"""starVLA's websocket protocol: openpi's framing and codec, with a layer of messages of its own.

A request holds a list of examples, which are a true batch, and the answer un-normalised actions [B, T, D]. Source: starVLA/starVLA
0ed0aad (deployment/model_server/tools/websocket_policy_server.py and websocket_policy_client.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .arrays import Array
from .base import Channel, Question, Wire, chunk_of, plain_json
from .errors import WireError
from .openpi import decode, encode
from .packing import in_short


class StarvlaWire(Wire):
    """Conversations with a starVLA server."""

    batches = True

    def open(self, channel: Channel) -> dict[str, Any]:
        metadata = decode(channel.receive())
        if not isinstance(metadata, dict) or "action_chunk_size" not in metadata:
            raise WireError(f"a starVLA server says its action_chunk_size first; this one says {in_short(metadata, 200)}.")
        return {"metadata": plain_json(metadata)}

    def ask(self, channel: Channel, questions: Sequence[Question]) -> list[Array]:
        return chunks(channel.exchange(encode(request(questions))), len(questions))


def request(questions: Sequence[Question]) -> dict[str, Any]:
    """The request for observations. ``type`` beside ``examples`` would reach the model as an argument, so there is none."""
    examples = []
    for question in questions:
        example: dict[str, Any] = {"image": list(question.images.values()), "lang": question.instruction}
        if question.state:
            example["state"] = next(iter(question.state.values()))
        examples.append(example)
    return {"examples": examples, **questions[0].fixed}


def chunks(answer: bytes | str, count: int) -> list[Array]:
    """The chunks in an answer.

    Raises:
        WireError: The server failed, or there are not so many.
    """
    reply = decode(answer)
    if not isinstance(reply, dict) or not reply.get("ok"):
        error = reply.get("error") if isinstance(reply, dict) else reply
        raise WireError(f"the server failed: {in_short(error.get('message') if isinstance(error, dict) else error)}")
    data = reply.get("data")
    if isinstance(data, dict) and "normalized_actions" in data:
        raise WireError(
            "this server answers normalized actions and leaves it to its client to undo that; "
            "serve the checkpoint with starVLA's websocket_policy_server, which does it itself."
        )
    actions = data.get("actions") if isinstance(data, dict) else None
    if not isinstance(actions, np.ndarray) or actions.ndim != 3 or len(actions) != count:
        found = f"{actions.dtype}{list(actions.shape)}" if isinstance(actions, np.ndarray) else type(actions).__name__
        raise WireError(f"actions [{count}, T, D] were expected in the server's answer; got {found}.")
    return [chunk_of(chunk, "the server's answer") for chunk in actions]
