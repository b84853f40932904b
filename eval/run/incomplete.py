"""What an earlier session should have left and did not: trajectories to record again, videos to draw again.

A line is written when its files are on the disk, so this finds what a full disk kept from being drawn, and what was deleted or
damaged since. A file is judged by its own index (the end of an archive, the boxes of a video), without reading it whole.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...episode import EpisodeResult, EpisodeSpec
from ...errors import RunError
from ..plan.config import VideoChoice
from ..record.events import Subscriber
from ..record.video import check_complete_mp4
from .rollout import wants_video


@dataclass(frozen=True)
class Incomplete:
    """Results that lack a file, by episode.

    Attributes:
        unrecorded: Their trajectory is gone: the episode has to be run again.
        undrawn: Their trajectory is there, their video is not.
    """

    unrecorded: Mapping[EpisodeSpec, EpisodeResult]
    undrawn: Mapping[EpisodeSpec, EpisodeResult]

    def tell(self, subscriber: Subscriber) -> None:
        """Say what will be done."""
        if self.unrecorded:
            subscriber.noticed(f"{len(self.unrecorded)} episodes are run again: their trajectories are missing or damaged")
        if self.undrawn:
            subscriber.noticed(f"{len(self.undrawn)} videos are drawn again: they are missing or damaged")


def find_incomplete(run: Path, results: Iterable[EpisodeResult], video: VideoChoice) -> Incomplete:
    """Results without the files that a run keeps of them.

    Args:
        run: The run's folder.
        results: None of them an error.
        video: Which episodes are to have a video.
    """
    unrecorded, undrawn = {}, {}
    for result in results:
        trajectory = _inside(run, result.execution.get("trajectory"))
        if trajectory is None or not zipfile.is_zipfile(trajectory):
            unrecorded[result.spec] = result
        elif wants_video(video, result.spec, result.success) and not _is_video(_inside(run, result.execution.get("video"))):
            undrawn[result.spec] = result
    return Incomplete(unrecorded, undrawn)


def _inside(run: Path, name: str | None) -> Path | None:
    """The file of a run that a result names; never one outside its folder."""
    file = (run / name).resolve() if name else None
    return file if file is not None and file.is_relative_to(run.resolve()) else None


def _is_video(file: Path | None) -> bool:
    if file is None:
        return False
    try:
        check_complete_mp4(file)
    except (RunError, OSError):
        return False
    return True
