"""What a server answers with: the contract, as small as it can be, and the smallest way to keep it (a function)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import PolicyError

Array = NDArray[Any]


@dataclass(frozen=True)
class Request:
    """One observation as it came.

    Attributes:
        episode: Which episode it belongs to; no two connections have the same at a time.
        step: Actions given in the episode before.
        observation: What the client sent, under its own keys; arrays are read-only.
    """

    episode: str
    step: int
    observation: Mapping[str, Any]


class Served(ABC):
    """Answers requests. All methods are called by one thread, one at a time.

    Attributes:
        name: What a client is told that it speaks with.
        metadata: What openpi's first frame says, and what of it vla-eval's hello has a place for (``observation_params``,
            ``action_spec``, ``observation_spec``); values that msgpack packs.
        max_batch: Most requests at once; None for any number.
    """

    name: str = "policy"
    metadata: Mapping[str, Any] = {}
    max_batch: int | None = None

    @abstractmethod
    def act(self, requests: Sequence[Request]) -> list[Array]:
        """One chunk of actions float[T, A] for each request."""

    def reset(self, episode: str) -> None:
        """An episode begins, or a new subtask of it."""

    def release(self, episode: str) -> None:
        """An episode is over."""

    def close(self) -> None:
        """The server ends."""


class ServedFunction(Served):
    """A function from an observation to actions, asked about one at a time.

    Args:
        function: Given the observation as the client sent it, returns actions [T, A], or one action [A].
        metadata: What openpi's first frame says.
    """

    max_batch = 1

    def __init__(self, function: Callable[[Mapping[str, Any]], Any], metadata: Mapping[str, Any]) -> None:
        self.name = getattr(function, "__name__", type(function).__name__)
        self.metadata = metadata
        self._function = function

    def act(self, requests: Sequence[Request]) -> list[Array]:
        return [np.atleast_2d(np.asarray(self._function(request.observation))) for request in requests]


def pending_of(sent: Mapping[str, Any], size: int | None = None) -> tuple[Array, int]:
    """What a client of ours says of its answer's way: ``previous_actions`` float[n, A] and ``delay_steps``.

    Raises:
        PolicyError: They are not that.
    """
    actions, delay = sent.get("previous_actions"), sent.get("delay_steps")
    if not isinstance(actions, np.ndarray):
        raise PolicyError(f"'previous_actions' must be actions float[n, {size or 'A'}]; got {type(actions).__name__}.")
    if actions.ndim != 2 or actions.dtype.kind != "f" or actions.shape[1] != (size or actions.shape[1]):
        raise PolicyError(f"'previous_actions' must be float[n, {size or 'A'}]; got {actions.dtype}{list(actions.shape)}.")
    if not np.isfinite(actions).all():
        raise PolicyError("'previous_actions' holds values that are not finite.")
    if not isinstance(delay, int) or isinstance(delay, bool) or delay < 0:
        raise PolicyError(f"'delay_steps' must be a whole number from 0; got {delay!r}.")
    return actions, delay


def checked(chunks: Sequence[Array], requests: Sequence[Request], name: str) -> list[Array]:
    """The chunks, if they are what was asked for: a server never sends what a client would have to refuse.

    Raises:
        PolicyError: A wrong number of chunks, a wrong shape or dtype, or a value that is not finite.
    """
    if len(chunks) != len(requests):
        raise PolicyError(f"{name} gave {len(chunks)} chunks for {len(requests)} observations; one each is expected.")
    arrays = [np.asarray(chunk) for chunk in chunks]
    for array in arrays:
        if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "fiu":
            raise PolicyError(f"{name} gave {array.dtype}{list(array.shape)}; actions float[T, A] are expected.")
        if not np.isfinite(array).all():
            raise PolicyError(f"{name} gave actions that are not finite.")
    return arrays
