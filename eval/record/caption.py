"""The bar below the pictures of a chain: which subtask is under way, and what came of those before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...episode import SubtaskResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

_HEIGHT, _BOX, _MARGIN = 36, 10, 4
_UNDER_WAY, _SOLVED, _FAILED = (150, 150, 150), (46, 160, 67), (207, 34, 46)


def known_at(subtasks: Sequence[SubtaskResult], step: int) -> list[SubtaskResult]:
    """What was known of a chain's subtasks after so many steps: those begun by then, the outcome of those ended."""
    known: list[SubtaskResult] = []
    start = 0
    for subtask in subtasks:
        if start > step or (known and start == step and not known[-1].success):
            break
        ended = step >= start + subtask.steps
        known.append(subtask if ended else SubtaskResult(subtask.name, subtask.instruction, False, None, step - start))
        start += subtask.steps
    return known


def with_caption(image: Image, subtasks: Sequence[SubtaskResult], over: bool) -> Image:
    """The image with a bar below it; unchanged for an episode that is no chain.

    Args:
        image: uint8[H, W, 3].
        subtasks: Those begun so far, the last one under way unless `over`.
        over: The episode has ended: a last subtask without success has failed.

    Returns:
        uint8[H + 36, W, 3]: a box per subtask begun (green solved, red failed, grey under way) and the last one's sentence.
    """
    if not subtasks:
        return image
    from PIL import Image as Picture
    from PIL import ImageDraw, ImageFont

    bar = Picture.new("RGB", (image.shape[1], _HEIGHT), (0, 0, 0))
    draw = ImageDraw.Draw(bar)
    for number, subtask in enumerate(subtasks):
        failed = over and number == len(subtasks) - 1
        left = _MARGIN + number * (_BOX + _MARGIN)
        colour = _SOLVED if subtask.success else _FAILED if failed else _UNDER_WAY
        draw.rectangle((left, _MARGIN, left + _BOX, _MARGIN + _BOX), fill=colour)
    last = subtasks[-1]
    outcome = "solved" if last.success else "failed" if over else f"step {last.steps}"
    font = ImageFont.load_default(size=10)
    draw.text(
        (_MARGIN + len(subtasks) * (_BOX + _MARGIN) + _MARGIN, _MARGIN), f"{len(subtasks)}: {outcome}", fill="white", font=font
    )
    draw.text((_MARGIN, _HEIGHT // 2), last.instruction, fill="white", font=font)
    return np.concatenate([image, np.asarray(bar)])
