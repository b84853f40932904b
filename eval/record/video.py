"""MP4 files of episodes: H.264 that browsers play, encoded by a background thread, complete or not there at all."""

from __future__ import annotations

import contextlib
import queue
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..._durable import put_in_place
from ...errors import RunError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

# yuv420p and the index in front are what browsers need; CRF 20 keeps text and gripper fingers readable at 256 pixels.
_CODEC_OPTIONS = ["-preset", "veryfast", "-crf", "20", "-movflags", "+faststart", "-threads", "1"]
_QUEUED_FRAMES = 64


def side_by_side(images: Sequence[Image]) -> Image:
    """Images of any size next to each other, top-aligned on black, with even height and width as H.264 needs.

    Args:
        images: uint8[H, W, 3] each.
    """
    height = max(image.shape[0] for image in images)
    width = sum(image.shape[1] for image in images)
    canvas = np.zeros((height + height % 2, width + width % 2, 3), np.uint8)
    left = 0
    for image in images:
        canvas[: image.shape[0], left : left + image.shape[1]] = image
        left += image.shape[1]
    return canvas


class VideoWriter:
    """Encodes frames in a background thread into ``.partial/NAME`` and moves the finished file to its place.

    Args:
        folder: Where finished videos go.
        part_name: Name of the unfinished file, unique among the videos being written.
        fps: Frames per second.
    """

    def __init__(self, folder: Path, part_name: str, fps: float) -> None:
        self._folder = folder
        self._part = folder / ".partial" / part_name
        self._fps = fps
        self._frames: queue.Queue[Image | None] = queue.Queue(_QUEUED_FRAMES)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._encode, name=f"video {part_name}", daemon=True)
        self._thread.start()

    def add(self, frame: Image) -> None:
        """Queue a frame uint8[H, W, 3]; waits if the encoder is far behind."""
        self._frames.put(frame)

    def finish(self, name: str) -> Path:
        """Wait for the encoder and give the file its final name; then it is on the disk.

        Raises:
            RunError: The video could not be written (full disk, encoder failure); nothing is left of it.
        """
        self._stop()
        try:
            if self._error is not None:
                raise self._error
            check_complete_mp4(self._part)
            final = self._folder / name
            put_in_place(self._part, final)
        except (OSError, RunError) as error:
            self._remove_part()
            raise RunError(
                f"the video {name} could not be written: {_one_line(error)}. The episode's result is kept; free some space and "
                "draw the video again from its trajectory."
            ) from error
        return final

    def discard(self) -> None:
        """Stop and leave nothing behind."""
        self._stop()
        self._remove_part()

    def _remove_part(self) -> None:
        with contextlib.suppress(OSError):  # there is none, as in a folder that could not be made; a video costs no episode
            self._part.unlink()

    def _stop(self) -> None:
        self._frames.put(None)
        self._thread.join()

    def _encode(self) -> None:
        import imageio.v2 as imageio

        writer = None
        while (frame := self._frames.get()) is not None:
            if self._error is not None:
                continue  # keep emptying the queue so that add() never blocks for good
            try:
                if writer is None:
                    self._part.parent.mkdir(parents=True, exist_ok=True)
                    writer = imageio.get_writer(
                        self._part,
                        format="FFMPEG",
                        fps=self._fps,
                        codec="libx264",
                        quality=None,
                        pixelformat="yuv420p",
                        macro_block_size=2,
                        ffmpeg_log_level="quiet",  # what goes wrong is said by finish()
                        output_params=_CODEC_OPTIONS,
                    )
                writer.append_data(frame)
            except Exception as error:  # whatever it is, it is reported by finish() in the caller's thread
                self._error = error
        if writer is not None:
            try:
                writer.close()
            except Exception as error:
                self._error = self._error or error


def check_complete_mp4(path: Path) -> None:
    """Walk the file's top-level boxes: ffmpeg leaves a cut file without an error when the disk is full at the end.

    Raises:
        RunError: The boxes do not fill the file or there is no index (``moov``).
    """
    size = path.stat().st_size
    kinds, position = set(), 0
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            length, kind = struct.unpack(">I4s", file.read(8))
            if length == 1:
                length = struct.unpack(">Q", file.read(8))[0]
            if length < 8:
                break
            kinds.add(kind)
            position += length
    if position != size or not {b"ftyp", b"moov", b"mdat"} <= kinds:
        raise RunError(f"the file is incomplete ({size} bytes)")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
