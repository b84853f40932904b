"""SimplerEnv's results: a folder of videos whose names say how each episode ended.

Source: simpler_env/evaluation/maniskill2_evaluator.py, ``run_maniskill2_eval_single_episode``:
CHECKPOINT/SCENE/CONTROL/ENVIRONMENT/rob_X_Y_rot_R_P_Y_rgb_overlay_NAME/success_obj_....mp4. Which suite an episode belongs to
follows from the overlay: the Google robot's episodes without one are those of the variant aggregation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ...edges.text import printable
from ...envs.simpler.upstream import task_of_folder
from ...errors import ConfigError
from .foreign import ForeignEpisode, ForeignResults

_VIDEO = re.compile(r"(success|failure)_obj_[^/]*\.mp4\Z")
_ROBOT = re.compile(r"rob_.*_rgb_overlay_(?P<overlay>.*)\Z")
_DEPTHS = ("*/*", "*/*/*", "*/*/*/*", "*/*/*/*/*", "*/*/*/*/*/*")


def is_simpler(path: Path) -> bool:
    """Whether a folder is one of SimplerEnv's results, and no run."""
    return path.is_dir() and not (path / "run.json").exists() and any(islice(_videos(path), 1))


def read_simpler(folder: Path) -> ForeignResults:
    """The episodes that the names of videos tell of; a task's trials are numbered in the order of the names.

    Raises:
        ConfigError: It has the results of several checkpoints, or none of the official evaluation.
    """
    episodes, skipped = [], 0
    trials: Counter[tuple[str, str]] = Counter()
    checkpoints: set[str] = set()
    for video in sorted(_videos(folder)):
        parts = video.relative_to(folder).parts
        checkpoints.add(parts[-6] if len(parts) > 5 else "")
        found = task_of_folder(video.absolute().parts[-3])
        if found is None:
            skipped += 1
            continue
        overlay = _ROBOT.fullmatch(video.parent.name)
        assert overlay is not None
        task, robot = found
        visual = "simpler_google_va" if overlay["overlay"] == "None" else "simpler_google_vm"
        suite = "simpler_widowx" if robot == "widowx" else visual
        episodes.append(ForeignEpisode(suite, task, trials[suite, task], video.name.startswith("success")))
        trials[suite, task] += 1
    if len(checkpoints) > 1:
        raise ConfigError(f"{folder} has the results of {', '.join(map(printable, sorted(checkpoints)))}; name the folder of one.")
    if not episodes:
        raise ConfigError(f"{folder} has {skipped} videos of SimplerEnv, and none is of its official evaluation.")
    notes = [f"{folder.name}: {skipped} videos are not of SimplerEnv's official evaluation and were left out."] if skipped else []
    return ForeignResults(f"{folder.name} (SimplerEnv)", episodes, ordered=False, notes=tuple(notes))


def _videos(folder: Path) -> Iterator[Path]:
    for depth in _DEPTHS:
        for path in folder.glob(depth):
            if _VIDEO.fullmatch(path.name) and _ROBOT.fullmatch(path.parent.name):
                yield path
