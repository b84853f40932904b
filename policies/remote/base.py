"""The contract of a wire format, and of what carries its messages."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .arrays import Array
from .errors import WireError


@dataclass(frozen=True)
class Question:
    """One observation in the server's own terms, as the recipe's ``request`` lays it out.

    Attributes:
        images: uint8[H, W, 3] by the server's key, in the order in which they are sent.
        state: float[n] by the server's key.
        instruction: The sentence.
        instruction_key: The server's key for it.
        fixed: Further entries, the same in every request.
        episode_id: `EpisodeSpec.id`.
        step: Policy steps executed in the episode so far.
        pending: ``previous_actions`` (float[n, A], as the suite executes them) and ``delay_steps`` of a run with ``realtime`` (see
            `PolicyObservation`); empty where the world waits.
    """

    images: Mapping[str, Array]
    state: Mapping[str, Array]
    instruction: str
    instruction_key: str
    fixed: Mapping[str, Any]
    episode_id: str
    step: int
    pending: Mapping[str, Any] = field(default_factory=dict)

    def flat(self) -> dict[str, Any]:
        """All entries in one map: images, state, instruction and what is fixed, in this order."""
        return {**self.images, **self.state, self.instruction_key: self.instruction, **self.fixed}


class Channel(Protocol):
    """Carries messages to one server and back. Each method raises `LinkError` if it cannot, or not within the time limit."""

    def send(self, message: bytes) -> None:
        """Send a message that nobody answers."""

    def receive(self) -> bytes | str:
        """The next message: bytes, or the text of a text frame."""

    def exchange(self, message: bytes) -> bytes | str:
        """Send a message and take its answer."""

    def close(self) -> None:
        """Give up the connection; may be called from another thread, whose `receive` then fails."""


class Wire(ABC):
    """One wire format. It holds what the handshake taught; a new connection calls `open` again.

    Attributes:
        stateful: Whether the server keeps state of an episode for a connection: a connection then has one episode at a time, and
            what was asked is not asked again on another.
        batches: Whether a request holds any number of observations.
        one_at_a_time: Whether the server must never be asked two things at once.
        connections: How many suit a server that keeps no state.
    """

    stateful: bool = False
    batches: bool = False
    one_at_a_time: bool = False
    connections: int = 1

    @abstractmethod
    def open(self, channel: Channel) -> dict[str, Any]:
        """Make the acquaintance of a server.

        Returns:
            What it says of itself, as plain JSON values.

        Raises:
            WireError: It is not a server of this kind.
        """

    def begin(self, channel: Channel, question: Question) -> None:
        """An episode begins, or a new subtask of it."""

    def end(self, channel: Channel, episode_id: str) -> None:
        """An episode is over."""

    @abstractmethod
    def ask(self, channel: Channel, questions: Sequence[Question]) -> list[Array]:
        """One chunk of actions [T, D] per question; only one question unless `batches`.

        Raises:
            WireError: The server failed, or its answer is not what the protocol says.
        """


def chunk_of(value: object, what: str) -> Array:
    """An array of numbers as a chunk: [T, D], or one action [D].

    Raises:
        WireError: It is neither.
    """
    import numpy as np

    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise WireError(f"{what}: an array of numbers was expected; got {type(value).__name__}.")
    chunk = value[None] if value.ndim == 1 else value
    if chunk.ndim != 2 or 0 in chunk.shape:
        raise WireError(f"{what}: actions [T, D] were expected; got {value.dtype}{list(value.shape)}.")
    return chunk


def plain_json(value: object) -> Any:
    """What a server says of itself as plain JSON values: bytes and arrays are only described."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(entry) for entry in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return plain_json(value.tolist()) if hasattr(value, "tolist") and getattr(value, "size", 1) <= 64 else type(value).__name__
