"""The caption above the pictures: what it knows at each step, and that it shows it at every size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vlagym import EpisodeResult, EpisodeSpec, SubtaskResult
from vlagym.eval.record.caption import FAILED, SOLVED, known_at, layout_for, links_of, under_way, with_caption

CHAIN = (
    SubtaskResult("open_drawer", "pull the drawer", True, 3, 3),
    SubtaskResult("lift_block", "lift the block", False, None, 4),
)
SINGLE = EpisodeResult(EpisodeSpec("s", "lift", 0), "lift the cube", True, True, True, 6, 7, "success", None, None)
IMAGE = np.full((40, 120, 3), 77, np.uint8)
LAYOUT = layout_for(IMAGE, "lift the block")


def colours(image: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(map(int, colour)) for colour in np.unique(image.reshape(-1, 3), axis=0)}


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
    chain = replace(SINGLE, success=False, subtasks=CHAIN)
    assert [(s.name, s.success, s.steps) for s in known_at(chain, step)] == known


def test_an_episode_that_is_no_chain_asks_for_one_thing_whose_outcome_is_known_in_the_end() -> None:
    assert known_at(SINGLE, 7) == (under_way("lift", "lift the cube", 7),)
    assert links_of(SINGLE) == (SubtaskResult("lift", "lift the cube", True, 6, 7),)
    assert links_of(replace(SINGLE, subtasks=CHAIN)) == CHAIN


def test_the_bar_shows_a_box_per_subtask_in_the_colour_of_its_outcome() -> None:
    captioned = with_caption(IMAGE, CHAIN, False, LAYOUT)
    np.testing.assert_array_equal(captioned[-40:], IMAGE)
    assert {SOLVED, FAILED} <= colours(captioned[:-40])
    assert not {FAILED} & colours(with_caption(IMAGE, CHAIN, None, LAYOUT)), "it is still under way"
    assert captioned.shape[0] % 2 == 0


def test_step_sentence_and_outcome_are_seen() -> None:
    bars = [with_caption(IMAGE, (under_way("lift", words, step),), None, LAYOUT) for words, step in (("a", 1), ("a", 2), ("b", 2))]
    bars += [with_caption(IMAGE, links_of(replace(SINGLE, success=came)), came, LAYOUT) for came in (True, False)]
    assert len({bar.tobytes() for bar in bars}) == len(bars)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (256, 256), (256, 512), (720, 1440), (480, 100)])
def test_letters_grow_with_the_picture_and_nothing_leaves_it(height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    sentence = "put the white mug on the left plate and put the yellow and white mug on the right plate"
    layout = layout_for(image, sentence)
    assert layout.letters == max(10, height // 18)
    bar = with_caption(image, (under_way("t", sentence, 137),), None, layout)[:-height]
    assert bar.shape == (layout.height, width, 3)
    assert bar[:, -2:].max() == 0, "the margin on the right is free"
    assert bar[-2:].max() == 0, "as is that below"
    later = with_caption(image, (under_way("t", "one word", 0),), None, layout)
    assert later.shape == (height + layout.height, width, 3), "frames of a video are of one size whatever is asked for later"


def test_what_does_not_fit_ends_in_dots() -> None:
    long = "a word " * 200
    layout = layout_for(IMAGE, long)
    shown = with_caption(IMAGE, (under_way("t", long, 0),), None, layout)
    longer = with_caption(IMAGE, (under_way("t", long + long, 0),), None, layout)
    np.testing.assert_array_equal(shown, longer)
    cut = with_caption(IMAGE, (under_way("t", "a word " * 3, 0),), None, layout)
    assert not np.array_equal(shown, cut)
