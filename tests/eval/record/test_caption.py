"""The caption bar of chains: what it knows at each step, and that it shows it."""

from __future__ import annotations

import numpy as np
import pytest

from vlagym import SubtaskResult
from vlagym.eval.record.caption import known_at, with_caption

CHAIN = (
    SubtaskResult("open_drawer", "pull the drawer", True, 3, 3),
    SubtaskResult("lift_block", "lift the block", False, None, 4),
)
IMAGE = np.full((40, 120, 3), 77, np.uint8)


@pytest.mark.parametrize(
    ("step", "known"),
    [
        (0, [("open_drawer", False, 0)]),
        (2, [("open_drawer", False, 2)]),
        (3, [("open_drawer", True, 3), ("lift_block", False, 0)]),
        (7, [("open_drawer", True, 3), ("lift_block", False, 4)]),
    ],
)
def test_outcomes_are_known_when_a_subtask_has_ended(step: int, known: list[tuple[str, bool, int]]) -> None:
    assert [(s.name, s.success, s.steps) for s in known_at(CHAIN, step)] == known


def test_the_bar_shows_a_box_per_subtask_in_the_colour_of_its_outcome() -> None:
    captioned = with_caption(IMAGE, CHAIN, over=True)
    np.testing.assert_array_equal(captioned[:40], IMAGE)
    green, red = captioned[40 + 9, 9], captioned[40 + 9, 23]
    assert green[1] > green[0]
    assert red[0] > red[1]
    under_way = with_caption(IMAGE, CHAIN, over=False)[40 + 9, 23]
    assert len(set(under_way.tolist())) == 1
    assert captioned.shape[0] % 2 == 0


def test_an_episode_that_is_no_chain_has_no_bar() -> None:
    assert with_caption(IMAGE, (), over=True) is IMAGE
