"""Every group by a course of moments that a reader can follow: the hand and the cube, step by step, in metres."""

from __future__ import annotations

import numpy as np
import pytest

from vlagym.envs.landmarks import Landmarks
from vlagym.eval.failures.questions import GROUPS, group_of

Place = tuple[float, float, float]
TABLE = (0.0, 0.0, 0.8)
FAR, ABOVE, AT = (0.0, 0.0, 1.2), (0.0, 0.0, 0.9), TABLE


def course(*steps: tuple[Place, Place], other: Place | None = None, fixture: bool = False) -> list[Landmarks]:
    """Moments of (hand, cube); another thing that goes from its place beside the cube to `other`."""
    beside = (0.3, 0.0, 0.8)
    moments = []
    for number, (hand, cube) in enumerate(steps):
        things = {"cube": np.array(cube)}
        if other is not None:
            things["plate"] = np.array(beside if number == 0 else other)
        moments.append(Landmarks(np.array(hand), things, ("cube",), frozenset(["cube"] if fixture else [])))
    return moments


COURSES = {
    "far": course((FAR, TABLE), (FAR, TABLE)),
    "near": course((FAR, TABLE), (AT, TABLE)),
    "other": course((FAR, TABLE), (AT, TABLE), other=(0.3, 0.1, 0.8)),
    "pushed": course((FAR, TABLE), (AT, TABLE), ((0.1, 0, 0.8), (0.1, 0, 0.8))),
    "held": course((FAR, TABLE), (AT, TABLE), (ABOVE, ABOVE)),
    "dropped": course((AT, TABLE), (ABOVE, ABOVE), (ABOVE, (0.05, 0, 0.8))),
    "placed": course((AT, TABLE), (ABOVE, ABOVE), ((0.2, 0, 0.84), (0.2, 0, 0.84)), (FAR, (0.2, 0, 0.8))),
    "part": course((FAR, TABLE), (AT, TABLE), (AT, (0.05, 0, 0.8)), fixture=True),
}


@pytest.mark.parametrize("group", COURSES)
def test_a_course_belongs_to_its_group(group: str) -> None:
    assert group_of(COURSES[group], solved_once=False) == group


def test_what_was_solved_once_is_undone_whatever_else() -> None:
    assert group_of(COURSES["dropped"], solved_once=True) == "undone"


def test_a_thing_that_is_brushed_against_is_not_moved_instead() -> None:
    assert group_of(course((FAR, TABLE), (AT, TABLE), other=(0.32, 0.0, 0.8)), solved_once=False) == "near"


def test_a_thing_that_falls_into_its_place_has_not_been_moved() -> None:
    falls = [(FAR, (0.0, 0.0, height)) for height in (0.87, 0.85, 0.8, 0.8, 0.8)]
    assert group_of(course(*falls), solved_once=False) == "far"
    assert group_of(course(*falls, (AT, TABLE), (ABOVE, ABOVE)), solved_once=False) == "held"


def test_a_fixture_is_near_from_further_away() -> None:
    beside = (0.2, 0.0, 0.8)
    assert group_of(course((FAR, TABLE), (beside, TABLE)), solved_once=False) == "far"
    assert group_of(course((FAR, TABLE), (beside, TABLE), fixture=True), solved_once=False) == "near"


def test_a_benchmark_that_does_not_say_where_things_are_cannot_be_asked() -> None:
    assert group_of([None, None], solved_once=False) == "unknown"
    assert {*COURSES, "undone", "unknown"} == set(GROUPS)
