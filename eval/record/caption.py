"""The bar above the pictures of an episode: what is asked for, at which step it is, and what came of it.

Of a chain it shows which subtask is under way, and what came of those before it. Below the pictures it would be hidden by the
controls that browsers lay over a video.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...episode import EpisodeResult, SubtaskResult

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Image = NDArray[np.uint8]

# Blue-green and vermillion of Okabe and Ito's palette, which people with any colour vision can tell apart.
SOLVED, FAILED = (0, 158, 115), (213, 94, 0)
_UNDER_WAY, _INK = (150, 150, 150), (255, 255, 255)
# Letters are that part of the picture's height, so that they are as readable at any size; below 10 pixels they are not.
_LETTERS_PER_HEIGHT, _SMALLEST = 18, 10
_LINES, _MOST_LINES = 2, 3


def links_of(result: EpisodeResult) -> tuple[SubtaskResult, ...]:
    """What an episode asked for, one thing after the other, with what came of it; one thing where it is no chain."""
    if result.subtasks:
        return result.subtasks
    return (SubtaskResult(result.spec.task, result.instruction, bool(result.success), result.first_success_step, result.steps),)


def known_at(result: EpisodeResult, step: int) -> tuple[SubtaskResult, ...]:
    """What was known of an episode after so many steps: what it had asked for by then, the outcome of what had ended."""
    if not result.subtasks:
        return (under_way(result.spec.task, result.instruction, step),)
    known: list[SubtaskResult] = []
    start = 0
    for subtask in result.subtasks:
        if start > step or (known and start == step and not known[-1].success):
            break
        ended = step >= start + subtask.steps
        known.append(subtask if ended else under_way(subtask.name, subtask.instruction, step - start))
        start += subtask.steps
    return tuple(known)


def under_way(name: str, instruction: str, steps: int) -> SubtaskResult:
    """Something asked for of which nothing has come so far."""
    return SubtaskResult(name, instruction, False, None, steps)


class Layout(NamedTuple):
    """Where things are in a bar, the same in all frames of a video.

    Attributes:
        width: Of the pictures, in pixels.
        letters: Size of the letters.
        lines: Of the sentence.
    """

    width: int
    letters: int
    lines: int

    @property
    def line_height(self) -> int:
        """From one line to the next."""
        return self.letters + self.letters // 4 + 1

    @property
    def margin(self) -> int:
        """On all four sides."""
        return self.letters // 3 + 1

    @property
    def height(self) -> int:
        """Of the bar; even, as H.264 needs."""
        height = (1 + self.lines) * self.line_height + 2 * self.margin
        return height + height % 2


def layout_for(image: Image, sentence: str) -> Layout:
    """The bar that goes above images uint8[H, W, 3] and holds a sentence, of two lines or three."""
    letters = max(_SMALLEST, image.shape[0] // _LETTERS_PER_HEIGHT)
    narrow = Layout(image.shape[1], letters, _LINES)
    needed = len(_broken(sentence, narrow.width - 2 * narrow.margin, letters))
    return narrow._replace(lines=min(max(needed, _LINES), _MOST_LINES))


def with_caption(image: Image, links: Sequence[SubtaskResult], success: bool | None, layout: Layout) -> Image:
    """The image with a bar above it.

    Args:
        image: uint8[H, W, 3].
        links: What the episode has asked for so far.
        success: What came of the episode; None while it goes on.
        layout: Of the bar.

    Returns:
        uint8[`layout.height` + H, W, 3]: a box for each link (blue-green solved, vermillion and crossed out failed, grey under
        way), the step or the outcome, and the sentence that holds.
    """
    captioned = np.empty((image.shape[0] + layout.height, layout.width, 3), np.uint8)
    captioned[layout.height :] = image
    bar = captioned[: layout.height]
    bar[:] = _sentence_bar(links[-1].instruction, layout)
    left = layout.margin
    for number, link in enumerate(links, 1):
        failed = success is not None and number == len(links) and not link.success
        left = _put(_box(SOLVED if link.success else FAILED if failed else _UNDER_WAY, layout), bar, left, layout)
    left += layout.letters // 4
    pieces = ("solved",) if success else ("step ", *str(links[-1].steps)) if success is None else ("failed",)
    for piece in pieces if len(links) == 1 else (f"{len(links)}: ", *pieces):  # few, so that each is drawn once
        left = _put(_letters(piece, layout), bar, left, layout)
    return captioned


def _put(piece: Image, bar: Image, left: int, layout: Layout) -> int:
    """Put a piece in the bar's first line, as far as there is room; returns where the next one goes."""
    place = bar[layout.margin : layout.margin + layout.line_height, left : left + piece.shape[1]]
    place[:] = piece[:, : place.shape[1]]
    return left + piece.shape[1]


@lru_cache(maxsize=16)
def _box(colour: tuple[int, int, int], layout: Layout) -> Image:
    """A box, crossed out if it stands for a failure, with the space behind it."""
    from PIL import Image as Picture
    from PIL import ImageDraw

    side = layout.letters - layout.letters // 4
    top = (layout.line_height - side) // 2
    box = Picture.new("RGB", (side + layout.letters // 3, layout.line_height))
    draw = ImageDraw.Draw(box)
    draw.rectangle((0, top, side - 1, top + side - 1), fill=colour)
    if colour == FAILED:
        draw.line((0, top, side - 1, top + side - 1), fill=_INK, width=1 + side // 10)
    return np.asarray(box)


@lru_cache(maxsize=256)
def _letters(text: str, layout: Layout) -> Image:
    from PIL import Image as Picture
    from PIL import ImageDraw

    piece = Picture.new("RGB", (round(_font(layout.letters).getlength(text)), layout.line_height))
    ImageDraw.Draw(piece).text((0, 0), text, fill=_INK, font=_font(layout.letters))
    return np.asarray(piece)


@lru_cache(maxsize=16)
def _sentence_bar(sentence: str, layout: Layout) -> Image:
    """A bar with nothing but a sentence, in letters as large as fit; what does not fit at all ends in dots."""
    from PIL import Image as Picture
    from PIL import ImageDraw

    room = layout.width - 2 * layout.margin
    letters = layout.letters
    while letters > _SMALLEST and len(_broken(sentence, room, letters)) > layout.lines:
        letters -= 1
    lines = _broken(sentence, room, letters)
    if len(lines) > layout.lines:
        lines = [*lines[: layout.lines - 1], _shortened(lines[layout.lines - 1] + " ...", room, letters)]
    bar = Picture.new("RGB", (layout.width, layout.height))
    draw = ImageDraw.Draw(bar)
    for number, line in enumerate(lines, 1):
        draw.text((layout.margin, layout.margin + number * layout.line_height), line, fill=_INK, font=_font(letters))
    return np.asarray(bar)


def _broken(sentence: str, room: int, letters: int) -> list[str]:
    """A sentence in lines that fit so many pixels; a word that does not fit by itself is cut."""
    lines: list[str] = []
    for word in sentence.split():
        if lines and _font(letters).getlength(f"{lines[-1]} {word}") <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return [_shortened(line, room, letters) for line in lines]


def _shortened(line: str, room: int, letters: int) -> str:
    if _font(letters).getlength(line) <= room:
        return line
    line = line.removesuffix(" ...")
    while line and _font(letters).getlength(f"{line}...") > room:
        line = line[:-1]
    return f"{line.rstrip()}..."


@lru_cache(maxsize=64)
def _font(letters: int) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size=letters)
