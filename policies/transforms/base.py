"""The kinds of transform: a function of an image, of the robot's state, or of a chunk of actions with its memory of the episode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...envs.spec import ActionSpec
from ...errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Chunk = NDArray[np.floating[Any]]
    Memory = dict[str, Any]
    State = NDArray[np.float64]
    Executed = NDArray[np.floating[Any]] | None


class ImageTransform(ABC):
    """A function of one image."""

    @abstractmethod
    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[H', W', 3]."""


class StateTransform(ABC):
    """A function of the robot's state."""

    @abstractmethod
    def __call__(self, state: State, executed: Executed) -> State:
        """float64[S] -> float64[S']; `executed` is the last action that was executed, as the network gave it, None at the start."""


class ActionTransform(ABC):
    """A function of a chunk of actions and of what happened before in the episode.

    Attributes:
        arms_alike: Whether it makes no difference between entries, so that it is for any number of arms; the others know one, whose
            gripper is the last entry.
    """

    arms_alike: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """A new chunk float[T, A]; `memory` is the transform's own, empty at the start of an episode or of a new instruction."""

    def begins(self, state: State, memory: Memory) -> None:
        """Told, before its first chunk of an episode or of a new instruction, the suite's state float64[S] that it begins in."""

    def spec(self, before: ActionSpec) -> ActionSpec:
        """Meaning of an action after the transform, given its meaning before."""
        return before

    def _need(self, found: object, expected: object, what: str) -> None:
        if found != expected:
            raise ConfigError(f"action transform {type(self).__name__} needs actions with {what} {expected!r}; got {found!r}.")
