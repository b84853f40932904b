"""Makes the README's picture: a moment of one scripted episode of each of the default suite's tasks.

Run it again when the suite changes: ``python docs/make_pictures.py``
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import imageio.v3 as imageio
import numpy as np

import vlagym
from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import evaluate

PICTURE = Path(__file__).parent / "default_suite.png"
SHOWN_AT = 0.7  # of an episode: the object is in the gripper


def main() -> None:
    """Run the five episodes and write the picture, uint8[256, 5 * 256, 3]."""
    with tempfile.TemporaryDirectory() as folder:
        settings = ["episodes_per_task=1", "video_cameras=[primary]", "video_caption=false", f"run_dir={folder}/run"]
        run = vlagym.load_run(evaluate(load_config(settings)).folder)
        videos = [imageio.imread(run.path / result.execution["video"], plugin="FFMPEG") for result in run.results]
        moments = [int(SHOWN_AT * result.steps) for result in run.results]
    imageio.imwrite(PICTURE, np.concatenate([video[moment] for video, moment in zip(videos, moments, strict=True)], axis=1))


if __name__ == "__main__":
    main()
