"""Where a robot's hand and the things of its task are at a moment: what is read from an episode to say why it failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .spec import Float64Array


class Landmarks(NamedTuple):
    """One moment; positions are float64[3] in metres, all in the frame of the simulator's world.

    Attributes:
        hand: The point between the fingertips.
        things: Of what can be moved, by name: the middle of an object, the part of a fixture that moves (a lever, a drawer).
        asked: Those that the task, or the subtask under way, asks to be moved.
        fixtures: Those that cannot be lifted.
    """

    hand: Float64Array
    things: Mapping[str, Float64Array]
    asked: tuple[str, ...]
    fixtures: frozenset[str] = frozenset()
