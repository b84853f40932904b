"""The questions, and the group that their answers put a failed episode into.

They are about distances alone, so that they mean the same on every benchmark: did the hand come near what it was to move, did that
move, was it lifted, and where was it in the end. The thresholds are in the table of docs/failures.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...envs.landmarks import Landmarks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Path3 = NDArray[np.float64]

# From the point between the fingertips to the middle of a thing; SimplerEnv's drawers have theirs 26 cm behind the handle.
NEAR_M, NEAR_FIXTURE_M = 0.10, 0.30
MOVED_M, MOVED_FIXTURE_M = 0.02, 0.01
OTHER_MOVED_M = 0.05  # of what was not asked for: things that are brushed against do not count
LIFTED_M = 0.03
FELL_M = 0.05  # below the height at which the hand last had it
SETTLING_STEPS, STILL_M = 20, 0.001  # how long a thing may take to fall into its first place; from one step to the next

# In the order in which they are asked: an episode belongs to the first that fits.
GROUPS = {
    "undone": "solved it, but it did not stay so",
    "other": "moved another thing instead",
    "far": "never came near it",
    "near": "came near it, but did not move it",
    "part": "moved it, but not far enough",
    "pushed": "moved it without lifting it",
    "held": "still held it in the end",
    "dropped": "lifted it and lost it",
    "placed": "put it down, but not as asked",
    "unknown": "cannot be told: this benchmark does not say where things are",
}


@dataclass(frozen=True)
class _Course:
    """What became of a thing over an episode.

    Attributes:
        near: How close the hand came to it, m.
        moved: How far it was at most from its first place, where it came to rest, m.
        lifted: The greatest height above its first place at which it was near the hand, m; 0 for a fixture.
        last_in_hand: Step at which it was last both lifted and near the hand; -1 if never.
        heights: float64[T], m, above its first place, from when it lay there.
        held: Whether it was lifted and near the hand at the end.
    """

    near: float
    moved: float
    lifted: float
    last_in_hand: int
    heights: NDArray[np.float64]

    @property
    def held(self) -> bool:
        return self.last_in_hand == len(self.heights) - 1


def group_of(moments: Sequence[Landmarks | None], solved_once: bool) -> str:
    """The group of a failed episode, one of `GROUPS`.

    Args:
        moments: Of the task, or of the subtask that was not done, from its beginning to the end; at least one.
        solved_once: Whether its success condition held at some moment.
    """
    known = [moment for moment in moments if moment is not None]
    if solved_once:
        return "undone"
    if len(known) < len(moments) or not known[-1].asked:
        return "unknown"
    last = known[-1]
    courses = {name: _course(known, name) for name in last.things}
    asked = {name: courses[name] for name in last.asked}
    moved = {name: course for name, course in asked.items() if course.moved > _of(name, last, MOVED_M, MOVED_FIXTURE_M)}
    if not moved:
        others = [course.moved for name, course in courses.items() if name not in asked]
        if max(others, default=0.0) > OTHER_MOVED_M:
            return "other"
        near = any(course.near < _of(name, last, NEAR_M, NEAR_FIXTURE_M) for name, course in asked.items())
        return "near" if near else "far"
    if all(name in last.fixtures for name in moved):
        return "part"
    return _after_moving(max((moved[name] for name in moved if name not in last.fixtures), key=lambda course: course.lifted))


def _after_moving(course: _Course) -> str:
    """The group of an object that was moved."""
    if course.lifted < LIFTED_M:
        return "pushed"
    if course.held:
        return "held"
    fell = course.heights[course.last_in_hand] - course.heights[-1]
    return "dropped" if fell > FELL_M else "placed"


def _course(moments: Sequence[Landmarks], name: str) -> _Course:
    hand: Path3 = np.array([moment.hand for moment in moments])
    path: Path3 = np.array([moment.things[name] for moment in moments])
    rest = _rest(path)
    hand, path = hand[rest:], path[rest:]
    distances = np.linalg.norm(hand - path, axis=1)
    heights = path[:, 2] - path[0, 2]
    fixture = name in moments[-1].fixtures
    in_hand = np.zeros(len(path), np.bool_) if fixture else (distances < NEAR_M) & (heights > LIFTED_M)
    steps = np.flatnonzero(in_hand)
    lifted = float(heights[in_hand].max()) if len(steps) else 0.0
    away = np.linalg.norm(path - path[0], axis=1)
    return _Course(float(distances.min()), float(away.max()), lifted, int(steps[-1]) if len(steps) else -1, heights)


def _rest(path: Path3) -> int:
    """The moment from which on a thing lies still at first: some benchmarks let things fall into their places."""
    still = np.flatnonzero(np.linalg.norm(np.diff(path[:SETTLING_STEPS], axis=0), axis=1) < STILL_M)
    return int(still[0]) if len(still) else 0


def _of(name: str, moment: Landmarks, thing: float, fixture: float) -> float:
    return fixture if name in moment.fixtures else thing
