"""The video of one episode, the same whether its frames are drawn while it runs or later from what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...episode import EpisodeResult, SubtaskResult
from .caption import Layout, layout_for, links_of, with_caption
from .video import VideoWriter, side_by_side

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

_HELD_S = 1.0  # how long the last frame stays: players that loop or stop at once would not let it be seen


class EpisodeVideo:
    """Cameras side by side with a caption above, the last frame with the outcome held for a second.

    Args:
        writer: Takes the frames.
        fps: Its frames per second.
        caption: Whether there is a caption.
    """

    def __init__(self, writer: VideoWriter, fps: float, caption: bool) -> None:
        self._writer, self._held, self._caption = writer, max(1, round(_HELD_S * fps)), caption
        self._layout: Layout | None = None

    def add(self, images: Sequence[Image], links: Sequence[SubtaskResult]) -> None:
        """Add a moment.

        Args:
            images: uint8[H, W, 3] of each camera.
            links: What is known of what the episode has asked for so far (see `vlagym.eval.record.caption`).
        """
        self._last = side_by_side(images)
        self._writer.add(self._captioned(links, None))

    def finish(self, result: EpisodeResult, name: str) -> Path:
        """Hold the last moment, now that it is known what came of the episode; returns the finished file.

        Raises:
            RunError: The video could not be written; nothing is left of it.
        """
        frame = self._captioned(links_of(result), bool(result.success))
        for _ in range(self._held):
            self._writer.add(frame)
        return self._writer.finish(name)

    def discard(self) -> None:
        """Stop and leave nothing behind."""
        self._writer.discard()

    def _captioned(self, links: Sequence[SubtaskResult], success: bool | None) -> Image:
        if not self._caption:
            return self._last
        if self._layout is None:
            self._layout = layout_for(self._last, links[-1].instruction)
        return with_caption(self._last, links, success, self._layout)
