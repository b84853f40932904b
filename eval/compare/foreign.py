"""Episodes as others' files tell of them, and the two things that the reference scripts leave behind: a log and a folder of videos.

Source: openvla/experiments/robot/libero/run_libero_eval.py and libero_utils.py (``save_rollout_video``), and OpenVLA-OFT's of the
same names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...edges.text import printable

CUT_AT = 50  # characters of a task that the reference scripts keep in a video's name

_VIDEO = re.compile(r"--episode=(?P<episode>[0-9]{1,9})--success=(?P<success>True|False)--task=(?P<task>.+)\.mp4\Z")
_LOG_LINE = re.compile(r"(?P<key>Task suite|Task|Success): *(?P<value>.*?) *$", re.MULTILINE)


@dataclass(frozen=True)
class ForeignEpisode:
    """One episode as a foreign file tells of it: task by name or number, links done where it was a chain, None for an error.

    Attributes:
        suite: What the file calls the suite; empty where it does not say.
    """

    suite: str
    task: str | int
    trial: int
    success: bool | None
    links_done: int | None = None


@dataclass(frozen=True)
class ForeignResults:
    """What a foreign file or folder tells of.

    Attributes:
        label: How to call it in outputs: its name, and whose it is.
        episodes: Its episodes.
        ordered: Whether the n-th episode of a task is that of a certain trial.
        notes: Sentences every output must carry.
    """

    label: str
    episodes: list[ForeignEpisode]
    ordered: bool = True
    notes: tuple[str, ...] = ()


def is_rollouts(path: Path) -> bool:
    """Whether a folder is one of videos of the reference scripts, and no run."""
    return path.is_dir() and not (path / "run.json").exists() and any(_videos(path))


def read_rollouts(folder: Path) -> list[ForeignEpisode]:
    """The episodes that the names of videos tell of, below a folder; a task's trials are numbered in their order."""
    found = sorted((int(match["episode"]), match["task"], match["success"] == "True") for match in _videos(folder))
    trials: Counter[str] = Counter()
    episodes = []
    for _, task, success in found:
        episodes.append(ForeignEpisode("", printable(task), trials[task], success))
        trials[task] += 1
    return episodes


def read_log(text: str) -> list[ForeignEpisode]:
    """The episodes of an ``EVAL-*.txt``; none if it is no such log."""
    suite, task = "", ""
    trials: Counter[str] = Counter()
    episodes = []
    for match in _LOG_LINE.finditer(text):
        key, value = match["key"], printable(match["value"])
        if key == "Task suite":
            suite = value
        elif key == "Task":
            task = value
        elif task and value in ("True", "False"):
            episodes.append(ForeignEpisode(suite, task, trials[task], value == "True"))
            trials[task] += 1
    return episodes


def _videos(folder: Path) -> Iterator[re.Match[str]]:
    """Names of videos in a folder and in those of its days."""
    for path in [*folder.glob("*.mp4"), *folder.glob("*/*.mp4")]:
        if match := _VIDEO.search(path.name):
            yield match
